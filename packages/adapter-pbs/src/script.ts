/** What qsub is given on its standard input: enters the job's folder, cleans the environment, becomes the command. */

import { shellProgram, shellQuote, type JobSpec } from '@orbweaver/core'

const START = '#!/bin/sh\n# A job of Orbweaver. What it runs is in its workspace.\numask 077\n'

/**
 * PBS hands jobs what its daemons have in their environment; a job gets these of it, and nothing else. Exit code 75: the node
 * does not see the job's folder, worth another try; without `command` a shell would end there with a code of its own.
 *
 * PBS sends no signal ahead of the end, so the script does: from a process of its own, to the command that this shell becomes,
 * and only while that is still its parent. PBS ends that process with the job.
 */
const FINISH = shellProgram`
command exec >>"$ow_out" 2>>"$ow_err" </dev/null || exit 75
cd "$ow_dir" || exit 75
if [ -n "$ow_warn" ]; then
  (
    exec </dev/null >/dev/null 2>&1
    sleep "$ow_warn"
    read -r _ _ _ ow_parent _ </proc/self/stat
    [ "$ow_parent" = $$ ] && kill -USR1 $$
  ) &
fi
for ow_key in HOME USER LOGNAME SHELL TMPDIR KRB5CCNAME NCPUS OMP_NUM_THREADS \
  CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES GPU_DEVICE_ORDINAL ROCR_VISIBLE_DEVICES ZE_AFFINITY_MASK \
  PBS_JOBID PBS_JOBNAME PBS_QUEUE PBS_NODEFILE PBS_GPUFILE PBS_ENVIRONMENT PBS_JOBDIR PBS_JOBCOOKIE \
  PBS_ARRAY_ID PBS_ARRAY_INDEX PBS_ARRAYID PBS_NODENUM PBS_TASKNUM PBS_MOMPORT PBS_NUM_PPN PBS_NUM_NODES \
  PBS_NP PBS_SERVER PBS_DEFAULT PBS_VERSION PBS_WALLTIME; do
  eval "ow_value=\@{$ow_key-}"
  [ -z "$ow_value" ] || set -- "$ow_key=$ow_value" "$@"
done
exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin LANG=C.UTF-8 "$@"
`

/** What jobs of a site have in common. */
export interface ScriptOptions {
  /** Variables of every job. */
  readonly environment: Readonly<Record<string, string>>
  /** Seconds before the end at which a job is told, where its spec does not say. */
  readonly warn?: number | undefined
}

function settings(spec: JobSpec, { environment, warn }: ScriptOptions): string {
  const variables = Object.entries({ ...environment, ...spec.environment }).map((pair) => pair.join('='))
  // env takes a program with = in its name for a variable.
  const wrapped = spec.command[0]?.includes('=') === true ? ['/bin/sh', '-c', 'exec "$@"', 'sh'] : []
  const words = [...variables, ...wrapped, ...spec.command].map(shellQuote).join(' ')
  const [out, err, dir] = [spec.stdoutPath, spec.stderrPath, spec.directory].map(shellQuote)
  const warnSeconds = spec.warnSeconds ?? warn
  const after =
    warnSeconds === undefined ? '' : Math.max(0, Math.floor(spec.requirements.walltimeSeconds - warnSeconds))
  return `ow_out=${out}\now_err=${err}\now_dir=${dir}\now_warn=${after}\nset -- ${words}\n`
}

export const jobScript = (spec: JobSpec, options: ScriptOptions): string =>
  START + settings(spec, options) + FINISH

/** Of all elements of an array; which one it is tells a file that does not go through PBS. */
export const arrayScript = (path: string): string =>
  `${START}ow_index=\${PBS_ARRAY_INDEX-\${PBS_ARRAYID-}}\ncommand . ${shellQuote(path)} || exit 75\n${FINISH}`

export function arrayTable(specs: readonly JobSpec[], options: ScriptOptions): string {
  const cases = specs.map((spec, index) => `${index})\n${settings(spec, options)};;\n`)
  return `case $ow_index in\n${cases.join('')}*) exit 75 ;;\nesac\n`
}
