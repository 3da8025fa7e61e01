/** The in-memory backend as the kit sees it: behaviours become scripts, and files are written where jobs would write them. */

import type { ClusterBackend, JobId, JobSpec } from '@orbweaver/core'
import {
  InMemoryBackend,
  InMemoryFiles,
  ManualClock,
  type InMemoryBackendOptions,
  type JobScript,
  type VirtualJob,
} from '@orbweaver/core/testing'
import type { BackendHarness, BackendLab, JobBehaviour } from '@orbweaver/conformance'

const PROGRAM = 'behave'
const MIB = 1024 ** 2

function behaviourOf({ command }: JobSpec): JobBehaviour | undefined {
  return command[0] === PROGRAM ? (JSON.parse(command[1] ?? '{}') as JobBehaviour) : undefined
}

function scriptOf(spec: JobSpec, files: InMemoryFiles): JobScript {
  const behaviour = behaviourOf(spec)
  if (behaviour === undefined) return { outcome: 'launch-failed', exitCode: 127 }
  const { waitFor, killSelf, exit = 0, allocateMb, grandchildren } = behaviour
  return {
    exitCode: exit,
    ...(killSelf !== undefined && { signal: killSelf }),
    ...(allocateMb !== undefined && { memoryBytes: (allocateMb + 10) * MIB }),
    ...(waitFor !== undefined
      ? { endsWhen: () => files.exists(waitFor) }
      : { runsForMs: grandchildren === undefined ? 1000 : 300_000 }),
  }
}

/** What a test of the kit may break. */
export interface MemoryLabOptions extends Omit<InMemoryBackendOptions, 'clock' | 'script'> {
  /** Put something wrong in front of the backend. */
  readonly wrap?: (backend: InMemoryBackend) => ClusterBackend
  readonly onCancelled?: (spec: JobSpec) => void
  /** Processes that a cancel leaves behind. */
  readonly orphans?: boolean
}

export function memoryBackendHarness(options: MemoryLabOptions = {}): BackendHarness {
  const { wrap = (backend) => backend, orphans = false, ...rest } = options
  return {
    async create(): Promise<BackendLab> {
      const clock = new ManualClock()
      const files = new InMemoryFiles()
      const owners = new Map<number, JobId>()
      let workspaces = 0
      let pids = 1000
      const append = async (path: string, text: string): Promise<void> => {
        const before = (await files.exists(path)) ? await files.read(path) : ''
        await files.writeAtomic(path, before + text)
      }
      const onStart = async (spec: JobSpec, { id }: VirtualJob): Promise<void> => {
        const behaviour = behaviourOf(spec)
        if (behaviour === undefined) return
        const { mark, print, printError, report, grandchildren } = behaviour
        const out: string[] = print === undefined ? [] : [print]
        if (report !== undefined) {
          const values = report.variables.map((name) => spec.environment?.[name] ?? '')
          out.push(...report.arguments, spec.directory, ...values)
        }
        await append(spec.stdoutPath, out.map((line) => `${line}\n`).join(''))
        await append(spec.stderrPath, printError === undefined ? '' : `${printError}\n`)
        if (mark !== undefined) await append(mark, 'run\n')
        if (grandchildren === undefined) return
        for (let relation = 0; relation < 3; relation++) {
          owners.set(++pids, id)
          await append(grandchildren, `${pids}\n`)
        }
      }
      const backend = new InMemoryBackend({
        cpus: 64,
        ...rest,
        clock,
        script: (spec) => scriptOf(spec, files),
        onStart: rest.onStart ?? onStart,
      })
      return {
        backend: wrap(backend),
        async workspace() {
          const folder = `/work/${++workspaces}`
          await files.mkdir(folder)
          return { transport: files, folder }
        },
        command: (behaviour) => [PROGRAM, JSON.stringify(behaviour), ...(behaviour.report?.arguments ?? [])],
        pause: () => clock.advance(500),
        async outage(away) {
          backend.outage(away)
        },
        async loseNextAnswer() {
          backend.loseNextAnswer()
        },
        async reopen() {
          return wrap(backend.reopen())
        },
        async alive(asked) {
          if (orphans) return asked
          await backend.settle()
          const ended = new Set(
            backend
              .jobs()
              .filter(({ phase }) => phase === 'finished')
              .map(({ id }) => id),
          )
          return asked.filter((pid) => !ended.has(owners.get(pid) as JobId))
        },
        async dispose() {
          await backend.close()
        },
      }
    },
  }
}
