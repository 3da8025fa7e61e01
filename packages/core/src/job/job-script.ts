/** `job.sh`: what a scheduler is given to run. Usable alone, for any command. */

import { z } from 'zod'
import { InputError } from '../errors.js'
import { interpreterFor as knownInterpreter } from '../domain/resolve-processor.js'
import { printable } from '../domain/labels.js'
import type { ExitRecord, StartRecord } from '../domain/job.js'
import { SCRIPT_BODY, SCRIPT_START, STEPS_PROGRAM } from './job-script-program.js'
import { shellQuote, variableNameProblem } from './shell-words.js'
import { pathsOf, type WorkspacePaths } from './workspace.js'

/** One argument list, or several that run in order until one fails. Run without a shell. */
export type JobCommands = readonly string[] | readonly (readonly string[])[]

export type ContainerRuntime = 'apptainer' | 'singularity' | 'podman' | 'docker'

/** Run the commands in a container. They see the workspace at {@link containerPaths} and nothing else of the node. */
export interface JobContainer {
  /** `docker://…`, a registry name, or the path of an image file or unpacked folder on the node. */
  readonly image: string
  /** Default: the first of apptainer, singularity, podman, docker that the node has. */
  readonly runtime?: ContainerRuntime
  /** Let it reach the network. Default `false`. */
  readonly network?: boolean
  /** Extra read-only mounts, `HOST:CONTAINER`. */
  readonly binds?: readonly string[]
  /** Let it see the GPUs that the job was given. Default `false`. */
  readonly gpus?: boolean
}

export interface JobScriptOptions {
  /** Goes into the records; with a container also its name, and then `[a-z0-9-]`. */
  readonly name: string
  /** Absolute path on the node; the folders of {@link pathsOf} below it exist before the job starts. */
  readonly workspace: string
  /** Variables of the commands, beside `ORBWEAVER_TASK`, `_INPUTS`, `_OUTPUTS`, `_TMP` and `TMPDIR`, which they may override. */
  readonly environment?: Readonly<Record<string, string>>
  /** Sets `OMP_NUM_THREADS` and its like, unless the node or `environment` does. */
  readonly cpus?: number
  /** For podman and docker, whose containers are outside the job's own limit. */
  readonly memoryBytes?: number
  /** The job ends itself `marginSeconds` before this. Absent: no timer of its own. */
  readonly walltimeSeconds?: number
  /** Default: a twentieth of the walltime, at least 1 and at most 60. */
  readonly marginSeconds?: number
  /** Between SIGTERM and SIGKILL when the time is up. Default: half the margin, at least 1 and at most 30. */
  readonly graceSeconds?: number
  readonly container?: JobContainer
  /** Bring `exit.json` to the disk before it is renamed. Default `true`; costs a few ms. */
  readonly fsync?: boolean
}

/** Where a command in a container finds its workspace. `root` is read-only. */
export const containerPaths = {
  root: '/WORKSPACE',
  task: '/WORKSPACE/task.json',
  inputs: '/INPUTS',
  outputs: '/OUTPUTS',
  tmp: '/tmp',
} as const satisfies Partial<WorkspacePaths>

/** Programs read the number of threads from these. */
const THREAD_VARIABLES = [
  'OMP_NUM_THREADS',
  'OPENBLAS_NUM_THREADS',
  'MKL_NUM_THREADS',
  'NUMEXPR_NUM_THREADS',
  'ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS',
]

/**
 * A POSIX shell script that runs commands and tells how they ended.
 *
 * It writes `started.json`, runs the commands in the workspace in a process group of their own, hands SIGTERM, SIGINT,
 * SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU on to the group, ends them (SIGTERM, then SIGKILL) shortly before the walltime,
 * ends what they left in the group, writes `exit.json`, both whole or not at all, and exits with their exit code. Needs
 * nothing on the node but a POSIX shell and its usual programs. The script is a fixed program; what varies stands at its
 * top, each piece one quoted word.
 *
 * Its own exit codes: 127 the command or the container runtime is not there, 126 the command cannot be run, 75 the
 * workspace cannot be entered.
 *
 * @throws TypeError an empty command, a NUL character, a relative workspace, an impossible variable name or number
 */
export function renderJobScript(commands: JobCommands, options: JobScriptOptions): string {
  const steps = stepsOf(commands)
  const { name, workspace, container } = options
  if (!workspace.startsWith('/'))
    throw new TypeError(`workspace ${printable(workspace)} is not an absolute path`)
  const { seconds, grace } = secondsOf(options)
  const assignments: Readonly<Record<string, string>> = {
    ow_name: name,
    ow_name_json: JSON.stringify(name),
    ow_workspace: workspace.replace(/(?<=.)\/+$/, ''),
    ow_seconds: String(seconds),
    ow_grace: String(grace),
    ow_fsync: options.fsync === false ? '0' : '1',
    ow_steps: String(steps.length),
    ow_steps_program: steps.length > 1 ? STEPS_PROGRAM : '',
    ow_image: container?.image ?? '',
    ...(container !== undefined && containerAssignments(container, options)),
  }
  const variables = environmentOf(options)
  const lines = steps.map((step) => step.map(shellQuote).join(' '))
  return [
    SCRIPT_START,
    ...Object.entries(assignments).map(([key, value]) => `${key}=${shellQuote(value)}`),
    `ow_names=${shellQuote([...variables.keys()].join(' '))}`,
    // Called in the command's own subshell, or with a prefix that carries the variables into a container.
    'ow_export() {',
    ...[...variables].map(([variable, word]) => `  export "$ow_prefix"${shellQuote(`${variable}=`)}${word}`),
    '}',
    ...(steps.length === 1
      ? [`set -- ${lines[0] ?? ''}`]
      : ['set --', ...lines.map((line, index) => `set -- "$@" ${String(steps[index]?.length)} ${line}`)]),
    SCRIPT_BODY,
  ].join('\n')
}

function stepsOf(commands: JobCommands): readonly (readonly string[])[] {
  const steps = (typeof commands[0] === 'string' ? [commands] : commands) as readonly (readonly string[])[]
  if (steps.length === 0 || steps.some((step) => step[0] === undefined || step[0] === '')) {
    throw new TypeError('a job needs at least one command, and a command its program as the first word')
  }
  return steps
}

function secondsOf(options: JobScriptOptions): { readonly seconds: number; readonly grace: number } {
  const { walltimeSeconds = 0 } = options
  const margin = options.marginSeconds ?? Math.min(60, Math.max(1, Math.floor(walltimeSeconds / 20)))
  const grace = options.graceSeconds ?? Math.min(30, Math.max(1, Math.floor(margin / 2)))
  for (const [what, value] of Object.entries({
    walltimeSeconds,
    marginSeconds: margin,
    graceSeconds: grace,
  })) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new TypeError(`${what}: ${value} is not a whole number of seconds`)
  }
  return { seconds: walltimeSeconds === 0 ? 0 : Math.max(1, walltimeSeconds - margin), grace }
}

/** Variable → shell word for its value. */
function environmentOf(options: JobScriptOptions): ReadonlyMap<string, string> {
  const { container, cpus, environment = {} } = options
  const seen = container === undefined ? pathsOf(options.workspace.replace(/(?<=.)\/+$/, '')) : containerPaths
  const own: Readonly<Record<string, string>> = {
    ORBWEAVER_TASK: seen.task,
    ORBWEAVER_INPUTS: seen.inputs,
    ORBWEAVER_OUTPUTS: seen.outputs,
    ORBWEAVER_TMP: seen.tmp,
    TMPDIR: seen.tmp,
  }
  const variables = new Map<string, string>()
  for (const [name, value] of Object.entries(own)) variables.set(name, shellQuote(value))
  if (cpus !== undefined) {
    if (!Number.isSafeInteger(cpus) || cpus < 1)
      throw new TypeError(`cpus: ${cpus} is not a whole number of at least 1`)
    for (const name of THREAD_VARIABLES) variables.set(name, `"\${${name}:-${cpus}}"`)
  }
  for (const [name, value] of Object.entries(environment)) {
    const problem = variableNameProblem(name)
    if (problem !== undefined) throw new TypeError(`variable ${printable(name)} cannot be set: ${problem}`)
    variables.set(name, shellQuote(value))
  }
  return variables
}

function containerAssignments(
  container: JobContainer,
  { name, workspace, memoryBytes }: JobScriptOptions,
): Record<string, string> {
  const { image, runtime, network = false, gpus = false, binds = [] } = container
  if (image === '' || image.startsWith('-'))
    throw new TypeError(`container image ${printable(image)} cannot be used`)
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name))
    throw new TypeError(`name ${printable(name)} cannot be that of a container`)
  if (/[:\n]/.test(workspace)) {
    throw new TypeError(
      `workspace ${printable(workspace)} cannot be mounted into a container: its path holds a colon or line break`,
    )
  }
  for (const bind of binds) {
    if (!/^[^:,\n]+:\/[^:,\n]*$/.test(bind))
      throw new TypeError(`bind ${printable(bind)} is not of the form HOST:/CONTAINER`)
  }
  return {
    ow_wanted_runtime: runtime ?? '',
    ow_network: network ? '1' : '0',
    ow_gpus: gpus ? '1' : '0',
    ow_memory: memoryBytes === undefined ? '' : String(memoryBytes),
    ow_newline: '\n',
    // In reverse, each with its line end: the script puts one after the other before the rest.
    ow_binds: [...binds]
      .reverse()
      .map((bind) => `${bind}\n`)
      .join(''),
  }
}

/**
 * Words before the path of a script, by its extension.
 *
 * @throws InputError there is no rule for it
 */
export function interpreterFor(path: string): readonly string[] {
  const words = knownInterpreter(path)
  if (words === undefined) {
    throw new InputError(
      `Script ${printable(path)} cannot be run: nothing is known to run it by its extension.`,
      {
        hint: 'Say it with `interpreter`, as `interpreter: [python3]`.',
      },
    )
  }
  return words
}

// ---------------------------------------------------------------- records

const seconds = z.number().nonnegative()
const common = { schema: z.literal(1), name: z.string(), host: z.string(), startedAt: seconds }
const startRecord = z.object({ ...common, pid: z.int().positive(), schedulerJobId: z.string().optional() })
const exitRecord = z.object({
  ...common,
  exitCode: z.int().min(0).max(255),
  signal: z.string().optional(),
  timedOut: z.boolean().optional(),
  received: z.string().optional(),
  endedAt: seconds,
  peakMemoryBytes: z.int().nonnegative().optional(),
  cpuSeconds: seconds.optional(),
})

/** What `started.json` says; undefined for anything that is no such record. Unknown keys are left out. */
export function parseStartRecord(text: string): StartRecord | undefined {
  return parseRecord(startRecord, text)
}

/** What `exit.json` says; undefined for anything that is no such record. Unknown keys are left out. */
export function parseExitRecord(text: string): ExitRecord | undefined {
  return parseRecord(exitRecord, text)
}

function parseRecord<Schema extends typeof startRecord | typeof exitRecord>(
  schema: Schema,
  text: string,
): Exact<z.output<Schema>> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined // a record is whole or absent; this is something else
  }
  const parsed = schema.safeParse(value)
  return parsed.success ? (parsed.data as Exact<z.output<Schema>>) : undefined
}

/** zod gives an absent key no value, but types it as one that may be `undefined`. */
type Exact<T> = { [Key in keyof T]: Exclude<T[Key], undefined> }
