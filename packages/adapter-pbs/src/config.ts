/** Options of the PBS backend in a site file. */

import { parseDuration } from '@orbweaver/core'
import { z } from 'zod'

/** Seconds of a text as `2h`, or a number. */
const seconds = z.union([z.number(), z.string()]).transform((given, context) => {
  try {
    return parseDuration(given)
  } catch (problem) {
    if (problem instanceof TypeError) context.addIssue({ code: 'custom', message: problem.message })
    else throw problem
    return z.NEVER
  }
})
const text = z.string().regex(/^[^\s\p{Cc}-][^\s\p{Cc}]*$/u, 'one word without blanks that starts with no -')

/** Options of qsub whose change would break what Orbweaver promises: names, arrays, outputs, environment, ways to wait. */
const TAKEN = /^-(?:[NJtoejvVzIXSCkfhru]|Wblock|Wumask|-)/

/** Why an option of qsub cannot be given by hand, or undefined when it can. */
export function qsubOptionProblem(option: string): string | undefined {
  if (!/^-[A-Za-z]/.test(option)) return `${option} is no option: write it in one word, as -lplace=excl`
  if (TAKEN.test(option)) return `${option} is set by Orbweaver itself`
  return /\p{Cc}/u.test(option) ? `${option} holds a control character` : undefined
}

const qsubOption = z.string().check(({ value, issues }) => {
  const message = qsubOptionProblem(value)
  if (message !== undefined) issues.push({ code: 'custom', message, input: value })
})

export const pbsConfig = z.strictObject({
  flavour: z
    .enum(['auto', 'openpbs', 'torque'])
    .default('auto')
    .describe(
      'Which PBS this is. auto: `qsub --version` is asked once. openpbs: OpenPBS and PBS Professional. torque: Torque.',
    ),
  queue: text.describe('Queue of the jobs (-q). Default: the one of the server.').optional(),
  account: text.describe('Accounting string (-A).').optional(),
  project: text.describe('Project (-P). OpenPBS and PBS Professional only.').optional(),
  place: text
    .describe('How chunks are placed, as excl (-l place). OpenPBS and PBS Professional only. Default: pack.')
    .optional(),
  select: z
    .record(z.string().regex(/^[A-Za-z]\w*$/, 'the name of a resource'), text)
    .default({})
    .describe('Further resources of the chunk, as { scratch: 20gb }. OpenPBS and PBS Professional only.'),
  nodeProperties: z
    .array(text)
    .default([])
    .describe('Properties the node must have, as [bigmem]. Torque only.'),
  mail: z
    .string()
    .regex(/^(?:n|[abej]+)$/, 'n, or letters of a, b, e, j')
    .default('n')
    .describe('When PBS writes mails (-m): a abort, b begin, e end, n never.'),
  mailUser: text.describe('Who gets them (-M).').optional(),
  hold: z.boolean().default(false).describe('Jobs are submitted held (-h), to be released by hand.'),
  rerunnable: z
    .boolean()
    .default(false)
    .describe('PBS may run a job again by itself (-r y). Arrays of OpenPBS always are.'),
  warn: seconds
    .describe(
      'A job is sent SIGUSR1 this long before its walltime ends, as 5m. Default: not; jobs end themselves a little before the walltime anyway.',
    )
    .optional(),
  environment: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/, 'a name is letters, digits and _'), z.string())
    .default({})
    .describe('Variables of every job. Beside a minimal environment nothing else reaches a job.'),
  qsubOptions: z
    .array(qsubOption)
    .default([])
    .describe('Further options of qsub as they are, each in one word: [-lsoftware=fsl, -p10].'),
  arrays: z.boolean().default(true).describe('Alike jobs are submitted as one array.'),
  arrayThrottle: z
    .int()
    .positive()
    .describe(
      'Jobs of one array that run at the same time. Needs Torque, or OpenPBS or PBS Professional 2022 and later.',
    )
    .optional(),
  messages: z
    .boolean()
    .default(false)
    .describe(
      "What PBS itself prints for a job is kept in a file beside the job's stderr (of elements of arrays on OpenPBS: below the work root). Each job waits at its end until PBS has copied that file.",
    ),
  server: text.describe('Server to talk to (PBS_DEFAULT). Default: the one of the machine.').optional(),
  bin: text.describe('Folder of the programs qsub, qstat, … Default: found on the PATH.').optional(),
  user: text.describe('Account that owns the jobs. Default: the one that runs the commands.').optional(),
  enforcesMemory: z
    .boolean()
    .default(false)
    .describe('The site ends jobs that use more memory than they asked for.'),
  commandTimeout: seconds.default(60).describe('Longest time of one command of PBS, as 1m.'),
})
export type PbsConfig = z.output<typeof pbsConfig>
export type Flavour = 'openpbs' | 'torque'
