/** A site in a scratch folder, as `orbweaver` itself would open it. */

import fs from 'node:fs'
import path from 'node:path'
import { buildContainer, openSite } from '@orbweaver/cli'
import type { Services } from '@orbweaver/cli'

export const PROJECT = 'P'

/** Four processors of the usual kinds: one scan, another, one task a run, one with an optional input. */
export const PROCESSORS = [
  { name: 't1-check', input: 'image', types: ['T1w'], each: false },
  { name: 't2-check', input: 'image', types: ['T2w'], each: false },
  { name: 'bold-check', input: 'image', types: ['BOLD'], each: true },
  { name: 'dti-check', input: 'image', types: ['DTI'], each: false },
] as const

export interface SiteText {
  readonly folder: string
  readonly processors: Readonly<Record<string, string>>
  readonly limits?: string
}

/** Writes the site file and its processors. @returns path of the site file */
export function writeSite({ folder, processors, limits = '' }: SiteText): string {
  fs.mkdirSync(folder, { recursive: true })
  for (const [name, text] of Object.entries(processors))
    fs.writeFileSync(path.join(folder, `${name}.yaml`), text)
  const names = Object.keys(processors).map((name) => `./${name}.yaml`)
  const file = path.join(folder, 'orbweaver.yaml')
  fs.writeFileSync(
    file,
    `site: bench
store: { use: folder, path: ./archive }
cluster: { use: local }
workRoot: ./work
${limits}projects: [{ id: ${PROJECT}, processors: [${names.join(', ')}] }]
`,
  )
  return file
}

export function processorText({ name, input, types, each }: (typeof PROCESSORS)[number]): string {
  return `name: ${name}
version: 1.0.0
level: session
inputs:
  ${input}: { scan: { type: [${types.join(', ')}] }, resource: NIFTI${each ? ', each: true' : ''} }
command: [cp, "{inputs.${input}}", "{outputs}"]
outputs:
  DATA: { path: "*", required: true }
`
}

export async function openServices(file: string): Promise<Services> {
  return buildContainer(await openSite(file, undefined), { logger: { log: () => undefined } })
}
