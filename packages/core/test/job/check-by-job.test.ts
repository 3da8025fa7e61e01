import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  checkByJob,
  createLocalTransport,
  type ClusterBackend,
  type JobSpec,
  type JobStatus,
} from '@orbweaver/core'
import { ManualClock } from '@orbweaver/core/testing'

/** A scheduler of one job, which it runs when it is asked for it. */
function oneJob(
  transport: ReturnType<typeof createLocalTransport>,
  change: (spec: JobSpec) => JobSpec = (spec) => spec,
  last: Partial<JobStatus> = {},
): { readonly backend: ClusterBackend; readonly cancelled: string[] } {
  const cancelled: string[] = []
  let spec: JobSpec | undefined
  const backend = {
    submit: async ([first]: readonly JobSpec[]) => {
      spec = first
      return [{ kind: 'accepted', id: '7' }]
    },
    query: async () => {
      if (spec !== undefined) await transport.runner.run({ argv: change(spec).command })
      return new Map([
        [
          '7',
          {
            id: '7',
            phase: 'finished',
            outcome: 'succeeded',
            restarts: 0,
            native: { state: 'done' },
            evidence: [],
            ...last,
          },
        ],
      ])
    },
    cancel: async (ids: readonly string[]) => {
      cancelled.push(...ids)
    },
  } as unknown as ClusterBackend
  return { backend, cancelled }
}

describe('checkByJob', () => {
  let folder: string
  const transport = createLocalTransport()
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ow-check-'))
  })
  afterEach(() => {
    expect(readdirSync(folder), 'left behind').to.deep.equal([])
    rmSync(folder, { recursive: true })
  })
  const check = (backend: ClusterBackend, startMs = Date.now()) =>
    checkByJob({
      backend,
      files: transport.files,
      clock: new ManualClock({ automatic: true, startMs }),
      workRoot: folder,
    })
  const words = (found: Awaited<ReturnType<typeof check>>) =>
    found.map((line) => `${line.check}: ${line.status}`)

  it('finds that a node sees the work root and has our time', async () => {
    const { backend, cancelled } = oneJob(transport)
    expect(words(await check(backend))).to.deep.equal([
      'job: ok',
      'work root on a node: ok',
      'clock of a node: ok',
    ])
    expect(cancelled).to.deep.equal([])
  })

  it('finds that a node writes elsewhere', async () => {
    const { backend } = oneJob(transport, (spec) => ({ ...spec, command: ['true'] }))
    expect(words(await check(backend))).to.deep.equal(['job: ok', 'work root on a node: problem'])
  })

  it('finds that the clock of a node is off', async () => {
    const { backend } = oneJob(transport)
    expect(words(await check(backend, Date.now() - 3_600_000)).at(-1)).to.equal('clock of a node: warning')
  })

  it('gives up a job that does not start, and cancels it', async () => {
    const { backend, cancelled } = oneJob(transport, undefined, {
      phase: 'queued',
      native: { state: 'waits', reason: 'no room' },
    })
    const [line] = await check(backend)
    expect(line).to.include({ status: 'problem' })
    expect(line?.found).to.contain('no room')
    expect(cancelled).to.deep.equal(['7'])
  })
})
