/** Options of an XNAT in a site file. Credentials are never among them. */

import { STATUS_VOCABULARIES, durationSchema } from '@orbweaver/core'
import { z } from 'zod'

export const xnatConfig = z.strictObject({
  url: z
    .string()
    .regex(/^https?:\/\/[^\s@]+$/, 'an address such as https://xnat.example.edu, without user or password')
    .describe('Address of the XNAT, with its context path if it has one.'),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe(
      'File with the certificates (PEM) to trust; relative to the site file. Default: those of the system.',
    ),
  words: z
    .enum(STATUS_VOCABULARIES)
    .default('dax')
    .describe('Which status words people see: those of DAX, or those of the notebook.'),
  requests: z.int().min(1).max(64).default(8).describe('Most requests under way at once.'),
  idleTimeout: durationSchema
    .default(300)
    .describe('Longest time in which no byte moves before a request counts as lost.'),
})
export type XnatConfig = z.output<typeof xnatConfig>
