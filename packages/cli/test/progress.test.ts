import { expect } from 'chai'
import { Rate, progressLine } from '#src/commands/xnat/progress.js'

describe('the line of a transfer', () => {
  const MIB = 1024 ** 2

  it('says bytes, rate and what is at work', () => {
    expect(progressLine({ bytes: 5 * MIB, totalBytes: 10 * MIB }, 2 * MIB)).to.equal(
      `${'█'.repeat(10)}${'░'.repeat(10)} 5 MiB of 10 MiB, 2 MiB/s`,
    )
    expect(progressLine({ bytes: 5 * MIB, files: 1, at: 'scans/\u001b[2J4, 1 of 3' }, 0)).to.equal(
      '5 MiB, 1 file, 0 B/s, scans/4, 1 of 3',
    )
  })

  it('tells the rate of the last seconds, not that of the whole time', () => {
    const rate = new Rate()
    expect(rate.at(0, 0)).to.equal(0)
    expect(rate.at(1000, 100)).to.equal(100)
    for (let second = 2; second <= 20; second += 1) rate.at(second * 1000, 100)
    expect(rate.at(21_000, 100)).to.equal(0)
    expect(rate.at(22_000, 700)).to.equal(120)
  })
})
