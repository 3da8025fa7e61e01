import { expect } from 'chai'
import { Progress } from '#src/store/progress.js'

describe('progress of a transfer', () => {
  it('only grows, whatever is sent twice', () => {
    const told: number[] = []
    const progress = new Progress((bytes) => told.push(bytes))
    progress.begin('a')
    progress.moved('a', 60)
    progress.begin('b')
    progress.moved('b', 10)
    progress.begin('a')
    progress.moved('a', 50)
    progress.moved('a', 50)
    progress.finish('a', 100)
    progress.finish('b', 20)
    expect(told).to.deep.equal([60, 70, 110, 120])
  })

  it('counts an archive and its files once', () => {
    const told: number[] = []
    const progress = new Progress((bytes) => told.push(bytes))
    progress.ahead(50)
    progress.ahead(100)
    progress.begin('a')
    progress.moved('a', 40)
    progress.finish('a', 40)
    progress.finish('b', 80)
    expect(told).to.deep.equal([50, 100, 120])
  })
})
