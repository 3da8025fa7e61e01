import { expect } from 'chai'
import {
  isAbort,
  jobId,
  type ClusterBackend,
  type JobId,
  type JobSpec,
  type JobStatus,
} from '@orbweaver/core'
import { InMemoryBackend } from '@orbweaver/core/testing'
import { clusterBackendSuite, listClaims, type BackendHarness } from '@orbweaver/conformance'
import { runClaims } from './doubles/failed-claims.js'
import { memoryBackendHarness, type MemoryLabOptions } from './doubles/memory-backend.js'
import { override } from './doubles/override.js'

const finished = (id: JobId): JobStatus => ({
  id,
  phase: 'finished',
  outcome: 'succeeded',
  exitCode: 0,
  restarts: 0,
  native: { state: 'GONE' },
  evidence: [{ source: 'queue', text: 'not in the queue', atMs: 0 }],
})

type Wrap = (backend: InMemoryBackend) => ClusterBackend

function wrapped(wrap: Wrap, options: MemoryLabOptions = {}): BackendHarness {
  return memoryBackendHarness({ ...options, wrap })
}

/** Change each status of a query. */
function told(change: (status: JobStatus) => JobStatus): Wrap {
  return (backend) =>
    override<ClusterBackend>(backend, {
      async query(ids, options) {
        const found = await backend.query(ids, options)
        return new Map([...found].map(([id, status]) => [id, change(status)]))
      },
    })
}

const wrong: readonly {
  readonly name: string
  readonly harness: BackendHarness
  readonly fails: readonly string[]
}[] = [
  {
    name: 'calls a job finished that the scheduler does not know',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async query(ids, options) {
          const found = await backend.query(ids, options)
          return new Map(ids.map((id) => [id, found.get(id) ?? finished(id)]))
        },
      }),
    ),
    fails: ['B5.2', 'B5.3'],
  },
  {
    name: 'throws for a query of unknown ids',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async query(ids, options) {
          const found = await backend.query(ids, options)
          if (found.size < ids.length) throw new Error('unknown job id')
          return found
        },
      }),
    ),
    fails: ['B5.2', 'B5.3'],
  },
  {
    name: 'throws for a cancel of a finished job',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async cancel(ids, options) {
          const found = await backend.query(ids, options)
          if ([...found.values()].some(({ phase }) => phase === 'finished'))
            throw new Error('job has finished')
          await backend.cancel(ids, options)
        },
      }),
    ),
    fails: ['B4.4', 'B4.7'],
  },
  {
    name: 'throws for a cancel of an unknown job',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async cancel(ids, options) {
          const found = await backend.query(ids, options)
          if (found.size < new Set(ids).size) throw new Error('unknown job id')
          await backend.cancel(ids, options)
        },
      }),
    ),
    fails: ['B4.5'],
  },
  {
    name: 'calls every job finished while the scheduler is away',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async query(ids, options) {
          try {
            return await backend.query(ids, options)
          } catch (error) {
            if (isAbort(error) || options?.signal?.aborted === true) throw error
            return new Map(ids.map((id) => [id, finished(id)]))
          }
        },
      }),
    ),
    fails: ['B8.1'],
  },
  {
    name: 'takes every end for a success',
    harness: wrapped(
      told((status) => (status.phase === 'finished' ? { ...status, outcome: 'succeeded' } : status)),
    ),
    fails: [
      'B3.2',
      'B3.3',
      'B3.4',
      'B3.5',
      'B3.7',
      'B4.1',
      'B4.2',
      'B4.3',
      'B4.5',
      'B4.6',
      'B4.7',
      'B5.4',
      'B7.4',
      'B8.3',
      'B10.1',
      'B10.2',
      'B10.4',
      'B10.5',
      'B10.6',
    ],
  },
  {
    name: 'loses exit codes',
    harness: wrapped(told(({ exitCode: _lost, ...status }) => status)),
    fails: ['B1.4', 'B1.5', 'B3.1', 'B3.2', 'B4.4', 'B5.1', 'B5.4', 'B8.3', 'B10.1', 'B10.2', 'B10.5'],
  },
  {
    name: 'tells an outcome of running jobs',
    harness: wrapped(
      told((status) => (status.phase === 'running' ? { ...status, outcome: 'unknown' } : status)),
    ),
    fails: ['B2.1', 'B2.2'],
  },
  {
    name: 'finds nothing by name',
    harness: wrapped((backend) => override<ClusterBackend>(backend, { find: async () => new Map() })),
    fails: ['B6.5', 'B7.1', 'B8.1', 'B9.1', 'B9.3', 'B9.4', 'B9.5', 'B9.6', 'B10.3'],
  },
  {
    name: 'finds jobs by the beginning of their names',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async find(names, options) {
          await backend.find([], options)
          const found = new Map<string, JobId>()
          for (const { spec, id } of backend.jobs()) {
            const name = names.find((one) => spec.name.startsWith(one))
            if (name !== undefined) found.set(name, id)
          }
          return found
        },
      }),
    ),
    fails: ['B9.2'],
  },
  {
    name: 'gives the outcomes of a batch in another order',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        submit: async (specs, options) => [...(await backend.submit(specs, options))].reverse(),
      }),
    ),
    fails: ['B1.5', 'B3.2', 'B5.1', 'B5.4'],
  },
  {
    name: 'submits again by itself when an answer is lost',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        submit: (specs, options) =>
          backend.submit(specs, options).catch(() => backend.submit(specs, options)),
      }),
    ),
    fails: ['B9.3'],
  },
  {
    name: 'does not listen to abort signals',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        submit: (specs) => backend.submit(specs),
        query: (ids) => backend.query(ids),
        find: (names) => backend.find(names),
        cancel: (ids) => backend.cancel(ids),
      }),
    ),
    fails: ['B7.1', 'B7.2'],
  },
  {
    name: 'leaves the processes of a cancelled job behind',
    harness: memoryBackendHarness({ orphans: true }),
    fails: ['B3.4', 'B4.2', 'B10.4'],
  },
  {
    name: 'takes a hold for granted that it cannot do',
    harness: wrapped(
      (backend) =>
        override<ClusterBackend>(backend, { hold: async () => undefined, release: async () => undefined }),
      { capabilities: { hold: false } },
    ),
    fails: ['B2.7'],
  },
  {
    name: 'says that it enforces limits and does not',
    harness: wrapped(
      (backend) =>
        override<ClusterBackend>(backend, {
          capabilities: { ...backend.capabilities, enforcesWalltime: true, enforcesMemory: true },
        }),
      { capabilities: { enforcesWalltime: false, enforcesMemory: false } },
    ),
    fails: ['B3.4', 'B3.5', 'B10.6'],
  },
  {
    name: 'splits arguments at blanks and reads quotes, as a shell does',
    harness: wrapped((backend) =>
      shellMinded(backend, ({ command, ...spec }) => ({ ...spec, command: unquoted(command) })),
    ),
    fails: ['B6.1'],
  },
  {
    name: 'leaves blanks and dollars out of paths',
    harness: wrapped((backend) =>
      shellMinded(backend, (spec) => ({ ...spec, stdoutPath: spec.stdoutPath.replace(/[ $]/g, '') })),
    ),
    fails: ['B6.3'],
  },
  {
    name: "gives the job the submitter's environment",
    harness: wrapped((backend) =>
      shellMinded(backend, (spec) => ({
        ...spec,
        environment: { ...(process.env as Record<string, string>), ...spec.environment },
      })),
    ),
    fails: ['B1.7'],
  },
  {
    name: 'knows only the jobs of its own instance',
    harness: forgetfulHarness(),
    fails: ['B10.1', 'B10.2', 'B10.3', 'B10.4', 'B10.5', 'B10.6', 'B10.7'],
  },
  {
    name: 'uses one id for a whole batch',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async submit(specs, options) {
          const outcomes = await backend.submit(specs, options)
          return outcomes.map(() => outcomes[0] ?? { kind: 'later', reason: 'none' })
        },
      }),
    ),
    fails: ['B1.1', 'B1.5', 'B3.2', 'B3.8', 'B4.6', 'B5.1', 'B5.4'],
  },
  {
    name: 'runs cancelled jobs that were still in the queue',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async cancel(ids, options) {
          const found = await backend.query(ids, options)
          await backend.cancel(
            ids.filter((id) => found.get(id)?.phase !== 'queued'),
            options,
          )
        },
      }),
    ),
    fails: ['B4.3'],
  },
  {
    name: 'writes the output of jobs to places of its own',
    harness: wrapped((backend) =>
      shellMinded(backend, (spec) => ({ ...spec, stderrPath: `${spec.directory}/job.err` })),
    ),
    fails: ['B1.2', 'B6.3'],
  },
  {
    name: 'takes a job that runs for one that is finished',
    harness: wrapped(
      told((status) => (status.phase === 'running' ? { ...finished(status.id), startedAtMs: 1 } : status)),
    ),
    fails: [
      'B1.3',
      'B1.5',
      'B2.1',
      'B2.3',
      'B2.4',
      'B2.5',
      'B2.6',
      'B3.2',
      'B3.3',
      'B3.4',
      'B3.6',
      'B4.1',
      'B4.3',
      'B4.4',
      'B4.7',
      'B5.1',
      'B5.4',
      'B7.4',
      'B8.1',
      'B8.3',
      'B10.1',
      'B10.2',
      'B10.5',
      'B10.6',
      'B10.7',
    ],
  },
  {
    name: 'chokes on an empty batch',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        async submit(specs, options) {
          if (specs.length === 0) throw new Error('no jobs given')
          return await backend.submit(specs, options)
        },
      }),
    ),
    fails: ['B1.6'],
  },
  {
    name: 'does not say where limits come from',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        limits: async () => ({ ...(await backend.limits()), source: {} }),
      }),
    ),
    fails: ['B1.8'],
  },
  {
    name: 'sees problems where there are none, and none where there are',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        diagnose: async () =>
          (await backend.diagnose()).map((one) => ({
            ...one,
            status: one.status === 'ok' ? 'problem' : 'ok',
          })),
      }),
    ),
    fails: ['B1.9', 'B8.4'],
  },
  {
    name: 'tells times in seconds',
    harness: wrapped(
      told((status) => ({
        ...status,
        ...(status.endedAtMs !== undefined && { endedAtMs: Math.floor(status.endedAtMs / 1000) }),
      })),
    ),
    fails: ['B2.3', 'B10.2'],
  },
  {
    name: 'keeps no evidence',
    harness: wrapped(told((status) => ({ ...status, evidence: [] }))),
    fails: ['B2.4'],
  },
  {
    name: 'lets jobs run without room',
    harness: wrapped(
      (backend) =>
        override<ClusterBackend>(backend, {
          limits: async () => ({ maxCpus: 64, source: { maxCpus: 'a wish' } }),
        }),
      { cpus: Infinity },
    ),
    fails: ['B2.5', 'B2.6', 'B3.8', 'B4.3', 'B10.5'],
  },
  {
    name: 'does not hold what it says that it holds',
    harness: wrapped((backend) => override<ClusterBackend>(backend, { hold: async () => undefined })),
    fails: ['B2.6'],
  },
  {
    name: 'claims to tell the peak memory and does not',
    harness: wrapped(told(({ usage: _lost, ...status }) => status)),
    fails: ['B3.6'],
  },
  {
    name: 'writes variables into a shell line',
    harness: wrapped((backend) =>
      shellMinded(backend, (spec) => ({
        ...spec,
        environment: Object.fromEntries(
          Object.entries(spec.environment ?? {}).map(([name, value]) => [name, value.replace(/\$\w+/g, '')]),
        ),
      })),
    ),
    fails: ['B6.2'],
  },
  {
    name: 'cuts long paths',
    harness: wrapped((backend) =>
      shellMinded(backend, (spec) => ({ ...spec, stdoutPath: spec.stdoutPath.slice(0, 255) })),
    ),
    fails: ['B6.4'],
  },
  {
    name: 'makes an error of its own out of an abort',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        query: (ids, options) =>
          backend.query(ids, options).catch((error: unknown) => {
            throw options?.signal?.aborted === true ? new Error('the request failed') : error
          }),
      }),
    ),
    fails: ['B7.1', 'B7.3'],
  },
  {
    name: 'says that a job is accepted while the scheduler is away',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        submit: (specs, options) =>
          backend.submit(specs, options).catch((error: unknown) => {
            if (options?.signal?.aborted === true) throw error
            return specs.map((_, index) => ({ kind: 'accepted', id: jobId(`pending-${index}`) }))
          }),
      }),
    ),
    fails: ['B8.2', 'B9.3'],
  },
  {
    name: 'forgets how a job ended when it is asked again',
    harness: wrapped((backend) => {
      const asked = new Set<JobId>()
      return told((status) => {
        if (status.phase !== 'finished') return status
        if (!asked.has(status.id)) {
          asked.add(status.id)
          return status
        }
        return { ...status, outcome: 'unknown' }
      })(backend)
    }),
    fails: ['B1.4', 'B4.4'],
  },
  {
    name: 'ends its jobs when it is closed',
    harness: wrapped((backend) =>
      override<ClusterBackend>(backend, {
        close: async () => backend.cancel(backend.jobs().map(({ id }) => id)),
      }),
    ),
    fails: ['B10.7'],
  },
]

function shellMinded(backend: InMemoryBackend, change: (spec: JobSpec) => JobSpec): ClusterBackend {
  return override<ClusterBackend>(backend, {
    submit: (specs, options) => backend.submit(specs.map(change), options),
  })
}

/** Arguments of the behaviour as a shell would hand them on. */
function unquoted(command: readonly string[]): readonly string[] {
  const [program = '', json = '{}'] = command
  if (program !== 'behave') return command
  const behaviour = JSON.parse(json) as { report?: { arguments: string[] } }
  if (behaviour.report !== undefined) {
    behaviour.report.arguments = behaviour.report.arguments.flatMap((word) =>
      word
        .replace(/['"\\]/g, '')
        .split(' ')
        .filter(Boolean),
    )
  }
  return [program, JSON.stringify(behaviour)]
}

function forgetfulHarness(): BackendHarness {
  const harness = memoryBackendHarness()
  return {
    ...harness,
    async create() {
      const lab = await harness.create()
      return {
        ...lab,
        reopen: async () => new InMemoryBackend({ script: () => ({ runsForMs: 1 }) }),
      }
    },
  }
}

describe('the kit on backends', () => {
  for (const { name, harness, fails } of wrong) {
    it(`sees that a backend is wrong that ${name}`, async function () {
      this.timeout(60_000)
      const { failed } = await runClaims((options) =>
        clusterBackendSuite(
          { ...harness, deadlineMs: 200, manyJobs: 15 },
          { ...options, claimTimeoutMs: 10_000 },
        ),
      )
      expect(failed).to.deep.equal(fails)
    })
  }

  it('has seen every one of its claims fail', () => {
    const seen = new Set(wrong.flatMap(({ fails }) => fails))
    const all = listClaims().filter(({ port }) => port === 'backend')
    expect(all.map(({ id }) => id).filter((id) => !seen.has(id))).to.deep.equal([])
  })

  it('finds nothing wrong with a right one', async () => {
    const { failed, passed } = await runClaims((options) =>
      clusterBackendSuite(memoryBackendHarness(), options),
    )
    expect(failed).to.deep.equal([])
    expect(passed.length).to.be.above(50)
  })
})
