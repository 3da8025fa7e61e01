import { expect } from 'chai'
import { jobId, NotSupportedError, systemClock, type CommandResult } from '@orbweaver/core'
import { InMemoryFiles } from '@orbweaver/core/testing'
import { createPbsBackend, type PbsConfig } from '@orbweaver/adapter-pbs'
import { shortName } from '#src/status.js'
import { spec } from './specs.js'

const SERVER =
  'Server: pbs01\n    default_queue = workq\n    pbs_version = 23.06.06\n    job_history_enable = True\n'
const ended = (id: string, more: readonly string[]): string =>
  ['Job Id: ' + id, 'job_state=F', 'run_count=1', 'exec_host=pbs01/0', ...more].join('\u001e') + '\n'

/** @param answers - what programs print, by the start of their command line; qsub accepts */
function backendOver(answers: Readonly<Record<string, string>>, config: Partial<PbsConfig> = {}) {
  const asked: string[] = []
  const run = async ({ argv }: { readonly argv: readonly string[] }): Promise<CommandResult> => {
    const line = argv.join(' ')
    asked.push(line)
    const found = Object.entries(answers).find(([start]) => line.startsWith(start))
    return { exitCode: 0, stdout: found?.[1] ?? '', stderr: '' }
  }
  const backend = createPbsBackend({
    config: { flavour: 'openpbs', user: 'alice', ...config },
    transport: { runner: { run }, files: new InMemoryFiles() },
    clock: systemClock,
    workRoot: '/data',
  })
  return { backend, asked }
}

describe('adapter-pbs: the backend', () => {
  it('holds single jobs of OpenPBS where none is in an array, and says so otherwise', async () => {
    const single = backendOver({ 'qstat -B': SERVER }, { arrays: false })
    await single.backend.hold([jobId('4.pbs01')])
    await single.backend.release([jobId('4.pbs01')])
    expect(single.asked.slice(-2)).to.deep.equal(['qhold -h u 4.pbs01', 'qrls -h u 4.pbs01'])
    expect(single.backend.capabilities.hold).to.equal(true)

    const arrays = backendOver({ 'qstat -B': SERVER })
    for (const act of ['hold', 'release'] as const) {
      const failure = await arrays.backend[act]([jobId('4[1].pbs01')]).catch((error: unknown) => error)
      expect(failure).to.be.instanceOf(NotSupportedError)
    }
    expect(arrays.backend.capabilities.hold).to.equal(false)
    expect(arrays.asked.join()).not.to.match(/qhold|qrls/)

    const torque = backendOver(
      { 'qstat -B': 'Server: pbs02\n    keep_completed = 300\n' },
      { flavour: 'torque' },
    )
    await torque.backend.hold([jobId('4[1].pbs02')])
    expect(torque.backend.capabilities.hold).to.equal(true)
  })

  it('calls a job cancelled that it was told to cancel and that a signal ended, whatever PBS says of it', async () => {
    // OpenPBS 23.06.06, of a job that was deleted in the moment in which it started.
    const killed = (id: string) =>
      ended(id, [
        'substate=93',
        'Exit_status=265',
        'comment=Job run at Wed Nov 25 at 10:35 on (pbs01) and failed',
      ])
    const running = (id: string) => `Job Id: ${id}\u001ejob_state=R\n`
    const [cancelled, other, failed] = [jobId('4.pbs01'), jobId('5.pbs01'), jobId('6.pbs01')]
    const answers: Record<string, string> = {
      'qstat -B': SERVER,
      'qstat -x': running('4.pbs01') + running('6.pbs01'),
    }
    const { backend } = backendOver(answers)
    await backend.cancel([cancelled, failed])
    answers['qstat -x'] =
      killed('4.pbs01') + killed('5.pbs01') + ended('6.pbs01', ['substate=93', 'Exit_status=3'])
    const statuses = await backend.query([cancelled, other, failed])
    expect(statuses.get(cancelled)).to.include({ outcome: 'cancelled', signal: 'SIGKILL' })
    expect(statuses.get(cancelled)?.evidence.at(-1)?.text).to.match(/cancelled from here/)
    expect(statuses.get(other)).to.include({ outcome: 'failed', signal: 'SIGKILL' })
    expect(statuses.get(failed)).to.include({ outcome: 'failed', exitCode: 3 })
  })

  it('tells elements of arrays by their own names', async () => {
    const answers: Record<string, string> = { 'qstat -B': SERVER, qsub: '7[].pbs01\n' }
    const { backend, asked } = backendOver(answers)
    await backend.submit(['ow-a', 'ow-b'].map((name) => spec(name, { groupKey: 'k' })))
    const array =
      /ORBWEAVER_JOB=(ow-arr-\S+)/.exec(asked.find((line) => line.startsWith('qsub')) ?? '')?.[1] ?? ''
    answers['qstat -x'] = [0, 1]
      .map((index) =>
        ended(`7[${index}].pbs01`, [
          `Job_Name=${shortName(array)}`,
          `Variable_List=PBS_O_HOME=/home/alice,ORBWEAVER_JOB=${array}`,
          'substate=92',
          'Exit_status=0',
        ]),
      )
      .join('')
    const statuses = await backend.query([jobId('7[0].pbs01'), jobId('7[1].pbs01')])
    expect([...statuses.values()].map(({ name }) => name)).to.deep.equal(['ow-a', 'ow-b'])
  })

  it('calls a job of Torque cancelled that was there and that Torque forgot when it was told to cancel it', async () => {
    const running = (id: string) => `<Job><Job_Id>${id}</Job_Id><job_state>R</job_state></Job>`
    const list = (...ids: readonly string[]) => `<Data>${ids.map(running).join('')}</Data>`
    const server = (keeps: number) => `Server: pbs02\n    keep_completed = ${keeps}\n`
    const [gone, never] = [jobId('4.pbs02'), jobId('5.pbs02')]
    for (const [keeps, outcome] of [
      [300, 'cancelled'],
      // Whoever ends is forgotten there, so that nothing follows from it.
      [0, undefined],
    ] as const) {
      const answers: Record<string, string> = {
        'qstat -B': server(keeps),
        'qstat -x': list('4.pbs02', '9.pbs02'),
      }
      const { backend } = backendOver(answers, { flavour: 'torque' })
      expect((await backend.query([gone, never])).get(gone)).to.include({ phase: 'running' })
      await backend.cancel([gone, never])
      answers['qstat -x'] = list('9.pbs02')
      for (const look of ['first', 'later'])
        expect((await backend.query([gone, never])).get(gone)?.outcome, look).to.equal(outcome)
      expect((await backend.query([never])).has(never), 'never seen').to.equal(false)
    }
  })

  it('names to one qdel of OpenPBS only what its server takes well', async () => {
    const record = (text: string) => {
      const [id = '', state = ''] = text.split(' ')
      return `Job Id: ${id}\u001ejob_state=${state}\u001equeue=workq\n`
    }
    const known = ['1.a Q', '2.a R', '3.a F', '5.a H', '6.a S']
    const arrays = ['7[0].a Q', '7[1].a R', '7[2].a F', '8[0].a Q', '8[1].a Q', '8[2].a R']
    const { backend, asked } = backendOver({
      'qstat -B': SERVER,
      'qstat -x': [...known, ...arrays].map(record).join(''),
    })
    const deleting = (): readonly string[] => asked.filter((line) => line.startsWith('qdel'))
    await backend.cancel(['1.a', '2.a', '3.a', '4.a', '5.a', '6.a'].map(jobId))
    // Of 7 all that go on, of 8 not.
    await backend.cancel(['7[0].a', '7[1].a', '8[1].a', '8[2].a'].map(jobId))
    expect(deleting()).to.deep.equal([
      'qdel 2.a 6.a',
      'qdel 1.a 5.a',
      'qdel 7[].a',
      'qdel 8[1].a',
      'qdel 8[2].a',
    ])
    await backend.cancel([jobId('3.a'), jobId('4.a')])
    expect(deleting()).to.have.length(5)
  })
})
