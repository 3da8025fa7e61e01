import { expect } from 'chai'
import { listClaims } from '@orbweaver/conformance'
import { NotClaimed, claim, runChapters } from '#src/claims.js'
import { runClaims } from './doubles/failed-claims.js'

interface Lab {
  dispose(): Promise<void>
}

describe('claims', () => {
  it('have ids of their own, of their port and in order', () => {
    const letters = { backend: 'B', store: 'S', transport: 'T', journal: 'J' } as const
    const claims = listClaims()
    expect(new Set(claims.map(({ id }) => id)).size).to.equal(claims.length)
    let before = { chapter: '', number: 0 }
    for (const { id, port, chapter } of claims) {
      const [head = '', number = ''] = id.split('.')
      expect(head).to.match(new RegExp(`^${letters[port]}\\d+$`))
      expect(chapter.split(' ')[0], id).to.equal(head)
      expect(Number(number), `${id} follows the one before`).to.equal(
        chapter === before.chapter ? before.number + 1 : 1,
      )
      before = { chapter, number: Number(number) }
    }
  })

  it('read as sentences', () => {
    for (const { id, sentence } of listClaims()) {
      expect(sentence, id).to.match(/^[a-zS].*[^.]$/)
      expect(sentence.split(' ').length, id).to.be.above(4)
    }
  })

  it('get a fresh lab each, which is disposed of whatever happens', async () => {
    const events: string[] = []
    const chapters = [
      {
        port: 'backend' as const,
        title: 'X1 tried',
        claims: [
          claim<Lab>('X1.1', 'passes', async () => void events.push('check 1')),
          claim<Lab>('X1.2', 'fails', async () => {
            throw new Error('wrong')
          }),
          claim<Lab>(
            'X1.3',
            'is not claimed',
            async () => void events.push('check 3'),
            () => 'cannot',
          ),
          claim<Lab>('X1.4', 'is found not to apply on its way', async () => {
            throw new NotClaimed('forgotten')
          }),
        ],
      },
    ]
    const create = async (): Promise<Lab> => {
      events.push('create')
      return { dispose: async () => void events.push('dispose') }
    }
    const outcome = await runClaims((options) => runChapters('tried', chapters, { create }, options))
    expect(outcome).to.deep.equal({ passed: ['X1.1'], failed: ['X1.2'], pending: ['X1.3', 'X1.4'] })
    const made = ['create', 'dispose']
    expect(events).to.deep.equal(['create', 'check 1', 'dispose', ...made, ...made, ...made])
  })

  it('can be chosen by chapter or by id', async () => {
    const make = (id: string) => claim<Lab>(id, 'passes', async () => undefined)
    const chapters = [
      { port: 'store' as const, title: 'X1', claims: [make('X1.1'), make('X1.2'), make('X1.10')] },
      { port: 'store' as const, title: 'X10', claims: [make('X10.1')] },
    ]
    const create = async (): Promise<Lab> => ({ dispose: async () => undefined })
    const { passed } = await runClaims((options) =>
      runChapters('tried', chapters, { create }, { ...options, only: ['X1.1', 'X10'] }),
    )
    expect(passed).to.deep.equal(['X1.1', 'X10.1'])
  })
})
