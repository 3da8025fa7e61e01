/** A backend lab with the verbs that claims are written in. */

import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import {
  DEFAULT_REQUIREMENTS,
  jobId,
  type ClusterBackend,
  type FileTransfer,
  type JobId,
  type JobSpec,
  type JobStatus,
  type Transport,
} from '@orbweaver/core'
import { NotClaimed } from '../claims.js'
import type { BackendHarness, BackendLab, JobBehaviour } from '../harness.js'
import { shellCommand } from './behaviour.js'

let serial = 0

/** A job handed to the backend by a claim. */
export interface GivenJob {
  readonly id: JobId
  readonly spec: JobSpec
}

export class BackendContext {
  backend: ClusterBackend
  readonly #lab: BackendLab
  readonly #harness: BackendHarness
  #place: Promise<{ readonly transport: Transport; readonly folder: string }> | undefined
  readonly #run = randomBytes(4).toString('hex')
  readonly #reopened: ClusterBackend[] = []

  constructor(lab: BackendLab, harness: BackendHarness) {
    this.#lab = lab
    this.#harness = harness
    this.backend = lab.backend
  }

  get capabilities(): ClusterBackend['capabilities'] {
    return this.backend.capabilities
  }
  get manyJobs(): number {
    return this.#harness.manyJobs ?? 60
  }
  get shortestWalltimeSeconds(): number {
    return this.#harness.shortestWalltimeSeconds ?? 1
  }
  get memory(): { readonly limitMb: number; readonly allocateMb: number } {
    return this.#harness.memory ?? { limitMb: 256, allocateMb: 640 }
  }
  get unknownId(): JobId {
    return jobId(this.#harness.unknownId ?? '2147480000')
  }
  get canTakeAway(): true | string {
    return this.#lab.outage !== undefined || 'the lab cannot take the scheduler away'
  }
  get canReopen(): true | string {
    return this.#lab.reopen !== undefined || 'the lab cannot reopen the backend'
  }
  get canLoseAnswers(): true | string {
    return this.#lab.loseNextAnswer !== undefined || 'the lab cannot lose an answer'
  }

  async files(): Promise<FileTransfer> {
    return (await this.#workspace()).transport.files
  }

  /** A path in the claim's own folder. */
  async path(...parts: readonly string[]): Promise<string> {
    return [(await this.#workspace()).folder, ...parts].join('/')
  }

  /** A spec with a name and a folder of its own, which is made. */
  async spec(behaviour: JobBehaviour, change: Partial<JobSpec> = {}): Promise<JobSpec> {
    const name = change.name ?? `ow-conf-${this.#run}-${++serial}`
    const directory = change.directory ?? (await this.path(name))
    await (await this.files()).mkdir(directory)
    return {
      name,
      command: this.#lab.command?.(behaviour) ?? shellCommand(behaviour),
      directory,
      stdoutPath: `${directory}/stdout.txt`,
      stderrPath: `${directory}/stderr.txt`,
      requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 256 * 1024 ** 2, walltimeSeconds: 600 },
      ...change,
    }
  }

  /** Submit one job that must be accepted. */
  async submit(behaviour: JobBehaviour, change: Partial<JobSpec> = {}): Promise<GivenJob> {
    const spec = await this.spec(behaviour, change)
    const [id] = await this.submitAll([spec])
    return { id: id as JobId, spec }
  }

  /** Submit a batch that must be accepted whole. */
  async submitAll(specs: readonly JobSpec[]): Promise<readonly JobId[]> {
    const outcomes = await this.backend.submit(specs)
    expect(outcomes, 'one outcome per spec').to.have.length(specs.length)
    return outcomes.map((outcome) => {
      if (outcome.kind !== 'accepted') {
        const why = outcome.kind === 'refused' ? outcome.error.message : outcome.reason
        expect.fail(`the job was not accepted but ${outcome.kind}: ${why}`)
      }
      return outcome.id
    })
  }

  async status(id: JobId): Promise<JobStatus | undefined> {
    return (await this.backend.query([id])).get(id)
  }

  /** What the backend knows of a job that it must know. */
  async known(id: JobId): Promise<JobStatus> {
    const status = await this.status(id)
    if (status === undefined) expect.fail(`the backend does not know job ${id}`)
    return status
  }

  /** Wait for a condition, looking again and again. Fails when the deadline has passed. */
  async until<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
    const deadline = Date.now() + (this.#harness.deadlineMs ?? 30_000)
    for (let looks = 1; ; looks++) {
      const found = await look()
      if (found !== undefined && found !== false) return found
      // A lab with a clock of its own is quick: it gets its share of looks, however slow the machine is.
      if (Date.now() > deadline && looks >= 20) expect.fail(`waited in vain until ${what}`)
      if (this.#lab.pause !== undefined && looks > 2000) expect.fail(`waited in vain until ${what}`)
      await this.#pause()
    }
  }

  /** Wait until a job has the phase `running`. */
  async running(id: JobId): Promise<JobStatus> {
    return await this.until(`job ${id} runs`, async () => {
      const status = await this.status(id)
      if (status?.phase === 'finished')
        expect.fail(`job ${id} ended before it was seen to run: ${shown(status)}`)
      return status?.phase === 'running' && status
    })
  }

  /** Wait until a job has ended. Where ended jobs are forgotten, what is claimed of its end cannot be checked. */
  async finished(id: JobId): Promise<JobStatus> {
    return await this.until(`job ${id} has ended`, async () => {
      const status = await this.status(id)
      if (status === undefined || status.outcome === 'unknown') this.#mayBeForgotten()
      return status?.phase === 'finished' && status
    })
  }

  /** Wait until all these have ended; asks for all of them at once. */
  async allFinished(ids: readonly JobId[]): Promise<ReadonlyMap<JobId, JobStatus>> {
    return await this.until(`${ids.length} jobs have ended`, async () => {
      const statuses = await this.backend.query(ids)
      const isForgotten = (id: JobId): boolean => !statuses.has(id) || statuses.get(id)?.outcome === 'unknown'
      if (ids.some(isForgotten)) this.#mayBeForgotten()
      return ids.every((id) => statuses.get(id)?.phase === 'finished') && statuses
    })
  }

  #mayBeForgotten(): void {
    if (!this.capabilities.history) throw new NotClaimed('ended jobs are forgotten')
  }

  /** Make a file that a job waits for. */
  async release(path: string): Promise<void> {
    await (await this.files()).writeAtomic(path, 'go\n')
  }

  /** Wait for a file that a job writes, with at least so many lines. */
  async lines(path: string, atLeast: number): Promise<readonly string[]> {
    const files = await this.files()
    return await this.until(`${path} has ${atLeast} lines`, async () => {
      const text = (await files.readMany([path])).get(path) ?? ''
      const lines = text.split('\n').slice(0, -1)
      return lines.length >= atLeast && lines
    })
  }

  /** Wait until none of these processes lives. */
  async gone(pids: readonly number[]): Promise<void> {
    const { transport } = await this.#workspace()
    const alive =
      this.#lab.alive?.bind(this.#lab) ?? ((ids: readonly number[]) => livingProcesses(transport, ids))
    await this.until(
      `the processes ${pids.join(', ')} are gone`,
      async () => (await alive(pids)).length === 0,
    )
  }

  async canOccupy(): Promise<true | string> {
    if (this.#lab.occupy !== undefined) return true
    return (await this.backend.limits()).maxCpus !== undefined || 'the lab cannot fill the machine'
  }

  /** Take all room; the function given back makes room again. */
  async occupy(): Promise<() => Promise<void>> {
    if (this.#lab.occupy !== undefined) return await this.#lab.occupy()
    const { maxCpus } = await this.backend.limits()
    if (maxCpus === undefined) expect.fail('the lab cannot fill the machine')
    const gate = await this.path(`room-${++serial}`)
    const blocker = await this.submit(
      { waitFor: gate },
      {
        requirements: {
          ...DEFAULT_REQUIREMENTS,
          memoryBytes: 64 * 1024 ** 2,
          cpus: maxCpus,
          walltimeSeconds: 600,
        },
      },
    )
    await this.running(blocker.id)
    return () => this.release(gate)
  }

  async outage(away: boolean): Promise<void> {
    await this.#lab.outage?.(away)
  }

  async loseNextAnswer(): Promise<void> {
    await this.#lab.loseNextAnswer?.()
  }

  /** From here on `backend` is a new instance over the same state. */
  async reopen(): Promise<void> {
    const again = await this.#lab.reopen?.()
    if (again === undefined) expect.fail('the lab cannot reopen the backend')
    this.#reopened.push(again)
    this.backend = again
  }

  async dispose(): Promise<void> {
    for (const backend of this.#reopened) await backend.close()
    await this.#lab.dispose()
  }

  async #pause(): Promise<void> {
    if (this.#lab.pause !== undefined) await this.#lab.pause()
    else if (this.backend.changes !== undefined) await this.backend.changes(200)
    else await new Promise((resolve) => setTimeout(resolve, 100))
  }

  async #workspace(): Promise<{ readonly transport: Transport; readonly folder: string }> {
    return await (this.#place ??= this.#lab.workspace())
  }
}

/** A status for a message. */
export function shown(status: JobStatus): string {
  const { phase, outcome, exitCode, signal, native } = status
  return JSON.stringify({ phase, outcome, exitCode, signal, native })
}

/** Zombies count as gone: they have ended, and only their parent's inattention keeps them listed. */
const ALIVE = String.raw`
for pid in "$@"; do
  kill -0 "$pid" 2>/dev/null || continue
  state=$(sed 's/.*) \(.\) .*/\1/' "/proc/$pid/stat" 2>/dev/null)
  [ "$state" = Z ] || echo "$pid"
done
`

async function livingProcesses(transport: Transport, pids: readonly number[]): Promise<readonly number[]> {
  const { stdout } = await transport.runner.run({
    argv: ['/bin/sh', '-c', ALIVE, 'alive', ...pids.map(String)],
  })
  return stdout.split('\n').filter(Boolean).map(Number)
}
