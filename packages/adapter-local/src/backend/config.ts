/** Options of the local-process backend in a site file. */

import { parseDuration, parseMemory } from '@orbweaver/core'
import { z } from 'zod'

const amount = (parse: (text: string | number) => number, what: string) =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      try {
        return parse(value)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error
        context.addIssue({ code: 'custom', message: error.message })
        return z.NEVER
      }
    })
    .describe(what)

export const localConfig = z.strictObject({
  cpus: z
    .int()
    .min(1)
    .optional()
    .describe('Cpus that jobs may take together. Default: as many as this machine has for us.'),
  memory: amount(
    parseMemory,
    'Memory that jobs may take together, as 8 GiB. Default: nine tenths of what this machine has.',
  ).optional(),
  gpus: z
    .int()
    .min(0)
    .default(0)
    .describe('GPUs that jobs may take together. Jobs see theirs in CUDA_VISIBLE_DEVICES.'),
  maxWalltime: amount(parseDuration, 'Longest walltime of a job, as 12h. Default: no limit.').optional(),
  enforceMemory: z
    .enum(['auto', 'cgroup', 'watch', 'off'])
    .default('auto')
    .describe(
      'How the memory of a job is limited: by a cgroup of its own, by watching its processes, not at all. auto: a cgroup where this user may make one, else by watching.',
    ),
  killGrace: amount(
    parseDuration,
    'Time between SIGTERM and SIGKILL when a job is ended, as 10s. Default: 10s.',
  ).default(10),
  environment: z
    .record(z.string(), z.string())
    .default({})
    .describe(
      'Variables of every job, as FREESURFER_HOME. Nothing else of the environment of Orbweaver reaches a job.',
    ),
})
export type LocalConfig = z.output<typeof localConfig>
