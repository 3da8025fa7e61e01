/** Options of the Slurm backend in a site file. */

import { parseDuration } from '@orbweaver/core'
import { z } from 'zod'

const duration = (what: string) =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      try {
        return parseDuration(value)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        context.addIssue({ code: 'custom', message: error.message })
        return z.NEVER
      }
    })
    .describe(what)

/** A word that is handed to a program as the value of an option. */
const word = (what: string) =>
  z
    .string()
    .regex(/^[^\s\p{Cc}][^\p{Cc}]*$/u, 'a word without line breaks, and not empty')
    .describe(what)

const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a name is letters, digits and _')

/** Words of `sbatch --mail-type`. */
const MAIL = [
  'NONE',
  'BEGIN',
  'END',
  'FAIL',
  'REQUEUE',
  'ALL',
  'INVALID_DEPEND',
  'STAGE_OUT',
  'TIME_LIMIT',
  'TIME_LIMIT_90',
  'TIME_LIMIT_80',
  'TIME_LIMIT_50',
  'ARRAY_TASKS',
] as const

/** Options that Orbweaver sets itself, and whose change would break what it promises. */
const OWN_OPTIONS =
  /^(?:-(?:[JaoeiDW]|M)|--(?:parsable|job-name|array|output|error|input|chdir|export|export-file|wrap|wait|test-only|clusters|cluster|open-mode|quiet|ignore-pbs|uid|gid|help|version|usage))(?:=|$)/

/** Why an option of sbatch cannot be given by hand, or undefined when it can. */
export function optionProblem(option: string): string | undefined {
  if (!option.startsWith('-')) return `${option} is no option: write it as --name=value, in one word`
  if (OWN_OPTIONS.test(option)) return `${option} is set by Orbweaver itself`
  return /\p{Cc}/u.test(option) ? 'an option holds no line breaks' : undefined
}

const nativeOption = z.string().superRefine((option, context) => {
  const problem = optionProblem(option)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

const options = z.strictObject({
  partition: word(
    'Partition of the jobs, or several with commas: the first that can start a job gets it. Default: the default partition of the cluster.',
  ).optional(),
  queue: word('The same as partition, in the word of other schedulers.').optional(),
  account: word('Account that is charged. Default: the default account of the user.').optional(),
  qos: word('Quality of service. Default: that of the account.').optional(),
  constraint: word('Features that the nodes must have, as "haswell&bigmem".').optional(),
  reservation: word('Reservation to run in.').optional(),
  licenses: word('Licences to take, as matlab:1.').optional(),
  gpuType: word('Type of the GPUs of a job that asks for some, as a100. Default: any.').optional(),
  nodes: z.int().min(1).default(1).describe('Nodes of a job. Its cpus and memory are asked for on each.'),
  exclusive: z.boolean().default(false).describe('Whole nodes: no other job beside ours.'),
  begin: word('Jobs do not start before this: now+1hour, 20:00, 2027-01-15T08:00.').optional(),
  mail: z
    .array(z.enum(MAIL))
    .default([])
    .describe('When Slurm sends mail: END, FAIL, and so on. Default: never.'),
  mailUser: word('Who gets the mail. Default: the user.').optional(),
  requeue: z
    .boolean()
    .default(false)
    .describe(
      'Let Slurm itself start a job again after a node failure or preemption. Default: no, Orbweaver does it as a new attempt in a clean workspace.',
    ),
  nice: z.int().min(0).optional().describe('Give way to other jobs: lowers the priority by this much.'),
  warn: duration(
    'Send the job SIGUSR1 this long before its walltime ends, as 5m. Default: not; jobs end themselves a little before the walltime anyway.',
  ).optional(),
  arrays: z
    .boolean()
    .default(true)
    .describe(
      'Submit jobs of one processor with the same requirements as job arrays: one command for hundreds.',
    ),
  arrayThrottle: z
    .int()
    .min(1)
    .optional()
    .describe('At most so many elements of one array run at once. Default: all that fit.'),
  environment: z
    .record(variableName, z.string())
    .default({})
    .describe(
      'Variables of every job, as FREESURFER_HOME. Nothing else reaches a job but a minimal environment and what Slurm itself sets.',
    ),
  sbatchOptions: z
    .array(nativeOption)
    .default([])
    .describe('Further options of sbatch as they are, each in one word: ["--comment=imaging", "--tmp=20G"].'),
  cluster: word(
    'Cluster of a multi-cluster site, for all commands (-M). Default: the one of the machine.',
  ).optional(),
  conf: word('Path of slurm.conf, where commands need it (SLURM_CONF).').optional(),
  bin: word('Folder of the programs sbatch, squeue, … Default: found on the PATH.').optional(),
  user: word('Account that owns the jobs. Default: the one that runs the commands.').optional(),
  accounting: z
    .enum(['auto', 'off'])
    .default('auto')
    .describe(
      'auto: ask sacct, and go on without it where the site has none. off: never ask; ends are known from the queue and the jobs themselves.',
    ),
  history: duration(
    'How far back jobs are looked for in the accounting when their age is not known, as 30d.',
  ).default(30 * 86_400),
  enforcesMemory: z
    .boolean()
    .default(true)
    .describe(
      'The site ends jobs that use more memory than they asked for. No: say so, and nobody relies on it.',
    ),
  commandTimeout: duration('Longest time of one command of Slurm, as 1m.').default(60),
})

export const slurmConfig = options.superRefine(({ partition, queue }, context) => {
  if (partition === undefined || queue === undefined) return
  context.addIssue({
    code: 'custom',
    path: ['queue'],
    message: 'queue and partition mean the same: say one of them',
  })
})
export type SlurmConfig = z.output<typeof slurmConfig>
