/** A scheduler that nobody has: `put` takes jobs, `now` lists the queue, `past` the accounting, `end` cancels. */

import {
  BackendUnavailableError,
  DEFAULT_REQUIREMENTS,
  NotFoundError,
  TransportUnavailableError,
  jobId,
  type CommandResult,
  type CommandSpec,
  type JobId,
  type JobSpec,
  type JobStatus,
} from '@orbweaver/core'
import {
  CommandLineBackend,
  answer,
  defineDialect,
  type CommandLineBackendOptions,
  type Dialect,
  type Reading,
  type ReadingFailure,
  type Reply,
} from '@orbweaver/core/command-line'
import { InMemoryFiles, ManualClock, RecordingLogger } from '@orbweaver/core/testing'

const MEANING: Readonly<Record<string, Pick<JobStatus, 'phase' | 'outcome'>>> = {
  waits: { phase: 'queued' },
  runs: { phase: 'running' },
  good: { phase: 'finished', outcome: 'succeeded' },
  bad: { phase: 'finished', outcome: 'failed' },
}

const failure = ({ exitCode, stderr }: Reply): ReadingFailure | undefined => {
  if (/away/.test(stderr)) return { kind: 'unavailable', message: 'away' }
  if (/no books/.test(stderr)) return { kind: 'absent', message: 'no books are kept' }
  if (/no such form/.test(stderr)) return { kind: 'unsupported', message: 'no such form' }
  if (/not yours/.test(stderr)) return { kind: 'denied', message: 'not yours' }
  return exitCode === 0 ? undefined : { kind: 'unreadable', message: stderr }
}

/** Rows `id state name;`. A row that does not end so is cut. */
function rows(reply: Reply): Reading<readonly (readonly string[])[]> {
  const wrong = failure(reply)
  if (wrong !== undefined) return wrong
  const lines = reply.stdout.split('\n').filter((line) => line !== '')
  const cut = lines.find((line) => !/^\S+ \S+ \S+;$/.test(line))
  if (cut !== undefined) return { kind: 'unreadable', message: `cut: ${cut}` }
  return answer(lines.map((line) => line.slice(0, -1).split(' ')))
}

const statuses =
  (source: 'queue' | 'accounting') =>
  (reply: Reply, { nowMs }: { readonly nowMs: number }): Reading<ReadonlyMap<JobId, JobStatus>> => {
    const read = rows(reply)
    if (read.kind !== 'answer') return read
    return answer(
      new Map(
        read.value.map(([id = '', state = '', name = '']) => [
          jobId(id),
          {
            id: jobId(id),
            name,
            ...(MEANING[state] ?? { phase: 'unknown' }),
            restarts: 0,
            native: { state },
            evidence: [{ source, text: `${id} ${state}`, atMs: nowMs }],
            ...(source === 'accounting' && { usage: { peakMemoryBytes: 7 } }),
          },
        ]),
      ),
    )
  }

const found = (reply: Reply) => {
  const read = rows(reply)
  if (read.kind !== 'answer') return read
  return answer(read.value.map(([id = '', , name = '']) => ({ name, id: jobId(id.replace(/\..*/, '')) })))
}

export const invented: Dialect = defineDialect({
  name: 'invented',
  title: 'Invented',
  capabilities: {
    history: true,
    findsFinished: true,
    arrays: true,
    hold: true,
    enforcesWalltime: true,
    enforcesMemory: true,
    gpus: false,
    peakMemory: true,
  },
  environment: { INVENTED: 'yes' },
  isId: (id) => /^\d+(\.\d+)?$/.test(id),
  elementId: (array, index) => jobId(`${array}.${index}`),
  indexOf: (id) => (/\.(\d+)$/.test(id) ? Number(id.replace(/^.*\./, '')) : undefined),
  group: (specs, { arraySize, token, stateFolder }) => {
    const submissions = []
    for (let at = 0; at < specs.length; at += arraySize) {
      const members = specs.slice(at, at + arraySize)
      const array = members.length > 1
      const name = array ? `many-${token}${at}` : (members[0]?.name ?? '')
      submissions.push({
        name,
        members,
        array,
        files: array
          ? [{ path: `${stateFolder}/${name}.tasks`, text: members.map((spec) => spec.name).join(' ') }]
          : [],
        command: { argv: ['put', name, String(members.length)], stdin: 'run it' },
      })
    }
    return submissions
  },
  readSubmit: (reply, { members, array }) => {
    const { exitCode, stderr, stdout } = reply
    if (/away/.test(stderr)) return { kind: 'unavailable', message: 'away' }
    if (/full/.test(stderr)) return { kind: 'later', reason: 'full' }
    if (/too many/.test(stderr)) return { kind: 'too-large', reason: 'too many' }
    if (/never/.test(stderr)) return { kind: 'refused', rule: 'taste', message: stderr }
    const id = /^id (\d+)$/m.exec(stdout)?.[1]
    if (exitCode !== 0 || id === undefined) return { kind: 'unreadable', message: 'no id' }
    return { kind: 'accepted', ids: array ? members.map((_, index) => jobId(`${id}.${index}`)) : [jobId(id)] }
  },
  refusal: ({ requirements }, limits) =>
    requirements.cpus > (limits.maxCpus ?? Infinity)
      ? { rule: limits.source['maxCpus'] ?? '', message: `${requirements.cpus} cpus` }
      : undefined,
  querySteps: [
    {
      name: 'now',
      source: 'queue',
      optional: false,
      command: ({ user }) => ({ argv: ['now', user] }),
      read: statuses('queue'),
    },
    {
      name: 'past',
      source: 'accounting',
      optional: true,
      chunk: { count: 3, bytes: 100 },
      forms: 2,
      wants: ({ phase }) => phase === 'finished',
      command: ({ ids, form }) => ({ argv: ['past', `form${form}`, ...ids] }),
      read: statuses('accounting'),
    },
  ],
  merge: (queue, account) => ({ ...account, ...queue, evidence: [...queue.evidence, ...account.evidence] }),
  settleMs: 5000,
  findSteps: [
    {
      name: 'now',
      source: 'queue',
      optional: false,
      command: ({ user }) => ({ argv: ['now', user] }),
      read: found,
    },
    {
      name: 'past',
      source: 'accounting',
      optional: true,
      chunk: { count: 100, bytes: 1000 },
      command: ({ names }) => ({ argv: ['past', 'names', ...names] }),
      read: found,
    },
  ],
  control: (action, ids) => ({ argv: [action === 'cancel' ? 'end' : action, ...ids] }),
  controlChunk: { count: 2, bytes: 1000 },
  readControl: (reply) => failure(reply) ?? answer(undefined),
  limitProbes: [{ name: 'size', optional: false, command: () => ({ argv: ['size'] }) }],
  readLimits: (replies) => {
    const reply = replies.get('size')
    if (reply === undefined || 'failure' in reply) return { kind: 'unavailable', message: 'away' }
    const wrong = failure(reply)
    if (wrong !== undefined) return wrong
    const [maxArraySize, maxCpus] = reply.stdout.split(' ').map(Number)
    return answer({
      ...(maxArraySize !== undefined && { maxArraySize }),
      ...(maxCpus !== undefined && { maxCpus }),
      source: { maxArraySize: 'size', maxCpus: 'size' },
    })
  },
  doctorProbes: [{ name: 'size', optional: true, command: () => ({ argv: ['size'] }) }],
  readDoctor: (replies) => {
    const reply = replies.get('size')
    const good = reply !== undefined && 'exitCode' in reply && reply.exitCode === 0
    return [
      { check: 'invented: size', status: good ? 'ok' : 'problem', found: good ? reply.stdout : 'no answer' },
    ]
  },
})

/** What one program says: a text for stdout, a whole result, or an error to throw. */
export type Says = string | Partial<CommandResult> | Error
type Script = Readonly<Record<string, Says | ((words: readonly string[]) => Says)>>

/** A backend over a scripted runner, and everything that was run. */
export function scripted(
  script: Script,
  options: Partial<CommandLineBackendOptions> = {},
): {
  readonly backend: CommandLineBackend
  readonly clock: ManualClock
  readonly logger: RecordingLogger
  readonly files: InMemoryFiles
  readonly ran: readonly CommandSpec[]
  /** Words of all runs of one program. */
  readonly runs: (program: string) => readonly (readonly string[])[]
  readonly say: (more: Script) => void
} {
  const clock = new ManualClock({ automatic: true })
  const logger = new RecordingLogger()
  const files = new InMemoryFiles()
  const ran: CommandSpec[] = []
  let answers: Script = { size: '4 8', id: 'me\n', now: '', past: '', end: '', ...script }
  const backend = new CommandLineBackend({
    dialect: invented,
    transport: {
      files,
      runner: {
        async run(command, { signal } = {}) {
          signal?.throwIfAborted()
          ran.push(command)
          const [program = '', ...words] = command.argv
          const says = answers[program]
          if (says === undefined) throw new NotFoundError(`there is no ${program}`)
          const said = typeof says === 'function' ? says(words) : says
          if (said instanceof Error) throw said
          const result = typeof said === 'string' ? { stdout: said } : said
          return { exitCode: 0, stdout: '', stderr: '', ...result }
        },
      },
    },
    clock,
    logger,
    stateFolder: '/state',
    random: () => 0,
    ...options,
  })
  return {
    backend,
    clock,
    logger,
    files,
    ran,
    runs: (program) => ran.filter(({ argv }) => argv[0] === program).map(({ argv }) => argv.slice(1)),
    say: (more) => {
      answers = { ...answers, ...more }
    },
  }
}

export const AWAY: Says = { exitCode: 1, stderr: 'away' }
export const TIMED_OUT = new TransportUnavailableError('did not end within 60 s', {
  details: { timeoutMs: 60_000 },
})
export const unavailable = (error: unknown): boolean => error instanceof BackendUnavailableError

export function spec(name: string, more: Partial<JobSpec> = {}): JobSpec {
  return {
    name,
    command: ['true'],
    directory: `/work/${name}`,
    stdoutPath: `/work/${name}/out`,
    stderrPath: `/work/${name}/err`,
    requirements: DEFAULT_REQUIREMENTS,
    ...more,
  }
}
export const specs = (count: number): readonly JobSpec[] =>
  Array.from({ length: count }, (_, index) => spec(`job-${index}`))
