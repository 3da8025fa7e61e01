/** The script that Slurm is given: enters the job's folder, cleans the environment, becomes the command. */

import { shellProgram, shellQuote, type JobSpec } from '@orbweaver/core'

/** Where programs are looked for in a job. */
export const JOB_PATH = '/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin'

/**
 * Of what sbatch was given, and prologs and plug-ins of the site add, a job gets HOME, USER, LOGNAME, SHELL, TMPDIR and
 * KRB5CCNAME, and what Slurm says about the job. SLURM_EXPORT_ENV as it may come would make every `srun` in the job start
 * from nothing.
 */
const CLEAN = shellProgram`
[ -n "$USER" ] || USER=$SLURM_JOB_USER
[ -n "$USER" ] || USER=$(id -un)
[ -n "$LOGNAME" ] || LOGNAME=$USER
[ -n "$SHELL" ] || SHELL=/bin/sh
export USER LOGNAME SHELL
for ow_name in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
  case $ow_name in
    SLURM_EXPORT_ENV | SLURM_GET_USER_ENV | SLURM_TIME_FORMAT | SLURM_BITSTR_LEN) continue ;;
    SLURM_* | SLURMD_*) ;;
    CUDA_VISIBLE_DEVICES | NVIDIA_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ROCR_VISIBLE_DEVICES | ZE_AFFINITY_MASK) ;;
    HOME | USER | LOGNAME | SHELL | TMPDIR | KRB5CCNAME) ;;
    *) continue ;;
  esac
  eval "set -- \"$ow_name=\$$ow_name\" \"\$@\""
done
`

const HEAD = `#!/bin/sh
# Written by Orbweaver. The command's own script is in its workspace.
umask 077
`
/**
 * The output goes where the spec says. Messages of Slurm itself go to the file of --output, which may be the same. Exit code
 * 75: the node does not see the job's folder; without `command` most shells would end there with a code of their own.
 */
const ENTER = shellProgram`
command exec >>"$ow_stdout" 2>>"$ow_stderr" || exit 75
cd "$ow_directory" || exit 75
`

const become = (): string =>
  `exec env -i PATH=${shellQuote(JOB_PATH)} LANG=C.UTF-8 SLURM_EXPORT_ENV=ALL "$@"\n`

/** Assignments, then the command: the arguments of `env`, in the shell's own list. */
function job(spec: JobSpec, environment: Readonly<Record<string, string>>): string {
  const [program = ''] = spec.command
  // A program whose name holds = would be taken for an assignment.
  const command = program.includes('=') ? ['/bin/sh', '-c', 'exec "$@"', 'sh', ...spec.command] : spec.command
  const variables = Object.entries({ ...environment, ...spec.environment }).map(
    ([name, value]) => `${name}=${value}`,
  )
  return [
    `ow_stdout=${shellQuote(spec.stdoutPath)} ow_stderr=${shellQuote(spec.stderrPath)} ow_directory=${shellQuote(spec.directory)}`,
    `set -- ${[...variables, ...command].map(shellQuote).join(' ')}`,
  ].join('\n')
}

/** @param environment - of every job of the site */
export function renderScript(spec: JobSpec, environment: Readonly<Record<string, string>>): string {
  return [HEAD, job(spec, environment), '\n', ENTER, CLEAN, become()].join('')
}

/** The script of all elements of an array. @param tasksPath - where {@link renderTasks} lies */
export function renderArrayScript(tasksPath: string): string {
  return [HEAD, `command . ${shellQuote(tasksPath)} || exit 75\n`, ENTER, CLEAN, become()].join('')
}

/** What each element of an array is, by its index. Read by the array's script on the node. */
export function renderTasks(
  specs: readonly JobSpec[],
  environment: Readonly<Record<string, string>>,
): string {
  return [
    'case $SLURM_ARRAY_TASK_ID in',
    ...specs.map((spec, index) => `${index})\n${job(spec, environment)}\n;;`),
    '*)',
    'echo "no task of this index: $SLURM_ARRAY_TASK_ID" >&2',
    'exit 75',
    ';;',
    'esac',
    '',
  ].join('\n')
}
