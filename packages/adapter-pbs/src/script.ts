/** What qsub is given on its standard input: enters the job's folder, cleans the environment, becomes the command. */

import { shellProgram, shellQuote, type JobSpec } from '@orbweaver/core'

const START = '#!/bin/sh\n# A job of Orbweaver. What it runs is in its workspace.\numask 077\n'

/** PBS hands jobs what its daemons have in their environment; a job gets these of it, and nothing else. */
const FINISH = shellProgram`
exec >>"$ow_out" 2>>"$ow_err" </dev/null || exit 75
cd "$ow_dir" || exit 75
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

function settings(spec: JobSpec, site: Readonly<Record<string, string>>): string {
  const variables = Object.entries({ ...site, ...spec.environment }).map((pair) => pair.join('='))
  // env takes a program with = in its name for a variable.
  const wrapped = spec.command[0]?.includes('=') === true ? ['/bin/sh', '-c', 'exec "$@"', 'sh'] : []
  const words = [...variables, ...wrapped, ...spec.command].map(shellQuote).join(' ')
  const [out, err, dir] = [spec.stdoutPath, spec.stderrPath, spec.directory].map(shellQuote)
  return `ow_out=${out}\now_err=${err}\now_dir=${dir}\nset -- ${words}\n`
}

/** @param site - variables of every job of the site */
export const jobScript = (spec: JobSpec, site: Readonly<Record<string, string>>): string =>
  START + settings(spec, site) + FINISH

/** Of all elements of an array; which one it is tells a file that does not go through PBS. */
export const arrayScript = (path: string): string =>
  `${START}ow_index=\${PBS_ARRAY_INDEX-\${PBS_ARRAYID-}}\n. ${shellQuote(path)} || exit 75\n${FINISH}`

export function arrayTable(specs: readonly JobSpec[], site: Readonly<Record<string, string>>): string {
  const cases = specs.map((spec, index) => `${index})\n${settings(spec, site)};;\n`)
  return `case $ow_index in\n${cases.join('')}*) exit 75 ;;\nesac\n`
}
