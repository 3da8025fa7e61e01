import { expect } from 'chai'
import { jobId } from '@orbweaver/core'
import { endOf } from '#src/ends.js'
import { readStatuses, toStatus } from '#src/status.js'
import { replyOf } from './specs.js'

const record = (id: string, fields: Readonly<Record<string, string>>) => ({
  id,
  fields: new Map(Object.entries(fields)),
  contradictory: false,
})
const openpbs = { flavour: 'openpbs', ended: true, elements: true, server: 'a' } as const
const torque = { flavour: 'torque', ended: true, elements: false, server: 'a' } as const
const onOpenPbs = (fields: Readonly<Record<string, string>>, id = '1.a', site = openpbs) =>
  endOf(record(id, { job_state: 'F', ...fields }), site)
const onTorque = (fields: Readonly<Record<string, string>>) =>
  endOf(record('1.a', { job_state: 'C', ...fields }), torque)
const RAN = { exec_host: 'n1/0', run_count: '1', stime: 'x', 'resources_used.walltime': '00:00:10' }

describe('adapter-pbs: ends', () => {
  it('are successes where all that is told agrees, hosts or not', () => {
    const success = { outcome: 'succeeded', exitCode: 0 }
    expect(onOpenPbs({ ...RAN, substate: '92', Exit_status: '0' })).to.deep.equal(success)
    expect(onOpenPbs({ substate: '92', Exit_status: '0', stime: 'x' })).to.deep.equal(success)
    expect(onTorque({ exit_status: '0', start_time: 'x' })).to.deep.equal(success)
    for (const substate of ['93', '91', '70', '20'])
      expect(onOpenPbs({ ...RAN, substate, Exit_status: '0' }).outcome, substate).not.to.equal('succeeded')
    expect(onTorque({ exit_status: '0' })).to.deep.equal({ outcome: 'unknown' })
    for (const code of ['', ' ', '0x0', '00 0', '0.0', '1e0', '-', 'None'])
      expect(onOpenPbs({ ...RAN, substate: '92', Exit_status: code }).outcome, code).to.equal('unknown')
  })

  it('have different tables for one number', () => {
    const of = (code: string) => [
      onOpenPbs({ ...RAN, Exit_status: code }).outcome,
      onTorque({ start_time: 'x', exit_status: code }).outcome,
    ]
    expect(of('-10')).to.deep.equal(['launch-failed', 'out-of-memory'])
    expect(of('-11')).to.deep.equal(['preempted', 'timeout'])
    expect(of('-29')).to.deep.equal(['timeout', 'failed'])
    expect(of('-27')).to.deep.equal(['out-of-memory', 'failed'])
    expect(of('-99')).to.deep.equal(['failed', 'failed'])
  })

  it('tell limits from qdel where both send signal 15', () => {
    const limits = { 'Resource_List.walltime': '00:01:00', 'Resource_List.mem': '100mb' }
    const killed = { ...RAN, ...limits, Exit_status: '271', substate: '91' }
    expect(onOpenPbs(killed)).to.deep.equal({ outcome: 'cancelled', signal: 'SIGTERM' })
    expect(onOpenPbs({ ...killed, 'resources_used.walltime': '00:01:02' }).outcome).to.equal('timeout')
    expect(onOpenPbs({ ...killed, 'resources_used.mem': '102500kb' }).outcome).to.equal('out-of-memory')
    expect(
      onTorque({ ...RAN, ...limits, exit_status: '271', 'resources_used.walltime': '00:01:02' }).outcome,
    ).to.equal('timeout')
    expect(onTorque({ ...RAN, exit_status: '265' })).to.deep.equal({ outcome: 'failed', signal: 'SIGKILL' })
  })

  // As seen on OpenPBS 23.06: substate, Exit_status and stime are those of the array at that moment.
  it('of elements that never began are not the end of their array', () => {
    for (const fields of [
      { substate: '70', Exit_status: '0', stime: 'x' },
      { substate: '70', Exit_status: '1', stime: 'x' },
      { substate: '20' },
      { substate: '91' },
    ]) {
      const comment = 'Subjob finished'
      expect(onOpenPbs({ ...fields, comment }, '1[4].a')).to.deep.equal({ outcome: 'cancelled' })
      // Before 19 the same words may mean that it ran to its end.
      expect(
        onOpenPbs({ ...fields, comment }, '1[4].a', { ...openpbs, elements: false } as never),
      ).to.deep.equal({
        outcome: 'unknown',
      })
      expect(onOpenPbs({ ...fields, comment: 'Subjob failed' }, '1[4].a')).to.deep.equal({
        outcome: 'failed',
      })
      expect(onOpenPbs(fields, '1[4].a').outcome).to.equal('unknown')
    }
    expect(onOpenPbs({ ...RAN, substate: '92', Exit_status: '0' }, '1[4].a').outcome).to.equal('succeeded')
    const { evidence } = toStatus(
      record('1[4].a', { job_state: 'X', Exit_status: '1', substate: '70' }),
      openpbs,
      0,
    )
    expect(evidence[0]?.text).not.to.match(/Exit_status|substate/)
  })

  it('of what a failed job let fall', () => {
    expect(onOpenPbs({ substate: '92', depend: 'afterok:0.a@a' })).to.deep.equal({
      outcome: 'dependency-failed',
    })
    const comment = 'Job deleted as result of dependency on job 20.pbs02'
    expect(onTorque({ exit_status: '271', comment })).to.deep.equal({ outcome: 'dependency-failed' })
  })

  it('without an exit status are a deletion in the queue only when the whole record says so', () => {
    const whole = { ctime: 'x', mtime: 'x', job_radix: '0', submit_host: 'h' }
    expect(onTorque(whole)).to.deep.equal({ outcome: 'cancelled' })
    expect(onTorque({})).to.deep.equal({ outcome: 'unknown' })
    expect(onTorque({ ...whole, start_time: 'x' })).to.deep.equal({ outcome: 'unknown' })
    expect(onTorque({ ...whole, comp_time: 'x' })).to.deep.equal({ outcome: 'unknown' })
    expect(onOpenPbs({ substate: '91' })).to.deep.equal({ outcome: 'cancelled' })
  })
})

describe('adapter-pbs: jobs that wait', () => {
  const waits = (
    fields: Readonly<Record<string, string>>,
    id = '1.a',
    site: typeof openpbs | typeof torque = openpbs,
  ) => {
    const { phase, waitingOn, heldBy, willNeverRun } = toStatus(record(id, fields), site, 0)
    return [phase, waitingOn, heldBy, willNeverRun].filter((word) => word !== undefined).join(' ')
  }

  it('are held when someone must let them go, and queued when they wait for something', () => {
    expect(waits({ job_state: 'H', Hold_Types: 'u' })).to.equal('held user')
    expect(waits({ job_state: 'H', Hold_Types: 'us' })).to.equal('held admin')
    expect(waits({ job_state: 'H', Hold_Types: 's', depend: 'afterok:0.a@a' })).to.equal('queued dependency')
    expect(waits({ job_state: 'W' })).to.equal('queued begin-time')
    expect(waits({ job_state: 'H', Hold_Types: 'n' }, '1[5].a', torque)).to.equal('queued array-throttle')
    expect(
      waits({ job_state: 'Q', comment: 'Can Never Run: Insufficient amount of resource: ncpus' }),
    ).to.equal('queued limit true')
  })

  it('as elements of a held array are held with it, although their letter is Q', () => {
    expect(waits({ job_state: 'Q', Hold_Types: 'u' }, '1[5].a')).to.equal('held user')
    expect(waits({ job_state: 'Q', Hold_Types: 's', depend: 'afterok:0.a@a' }, '1[5].a')).to.equal(
      'queued dependency',
    )
    expect(waits({ job_state: 'Q', Hold_Types: 'n' }, '1[5].a')).to.equal('queued')
  })
})

describe('adapter-pbs: replies to a question', () => {
  const read = (reply: Parameters<typeof replyOf>[0], ids: readonly string[]) =>
    readStatuses(replyOf(reply), ids.map(jobId), openpbs, 0)

  it('are about the ids that were asked for, in their own spelling', () => {
    const stdout =
      'Job Id: 7.pbs01.cluster.example\n    job_state = R\n\nJob Id: 8.pbs01\n    job_state = R\n'
    const reading = read({ stdout }, ['7.pbs01'])
    expect(reading.kind === 'answer' ? [...reading.value.keys()] : []).to.deep.equal(['7.pbs01'])
  })

  it('say nothing about ids that are missing, and are no answer when all is missing without a word', () => {
    const unknown = { exitCode: 153, stderr: 'qstat: Unknown Job Id 9.pbs01\n' }
    const reading = read({ ...unknown, stdout: 'Job Id: 7.pbs01\n    job_state = R\n' }, [
      '7.pbs01',
      '9.pbs01',
    ])
    expect(reading.kind === 'answer' ? [...reading.value.keys()] : []).to.deep.equal(['7.pbs01'])
    expect(read(unknown, ['9.pbs01']).kind).to.equal('answer')
    expect(read({}, ['9.pbs01']).kind).to.equal('unreadable')
    expect(read({ stdout: 'Welcome\n' }, ['9.pbs01']).kind).to.equal('unreadable')
  })

  it('without history, with exit code 0, ask for another form of the question', () => {
    const stderr = 'qstat: PBS is not configured to maintain job history 43.pbs01\n'
    expect(read({ stderr }, ['43.pbs01']).kind).to.equal('unsupported')
  })

  it('with the server away are no evidence, whatever is on stdout', () => {
    const stderr = 'Connection refused\nqstat: cannot connect to server pbs01 (errno=15010)\n'
    expect(read({ exitCode: 255, stderr, stdout: '' }, ['1.a']).kind).to.equal('unavailable')
  })
})
