/** Before a run on another machine: can the work root be used there? Nothing that is begun could go on without. */

import { ConfigError, PipelineError, type LoadedSite, type Transport } from '@orbweaver/core'
import { randomBytes } from 'node:crypto'

/** Of these a person must mend something. Whatever else there is passes, and the work waits for it. */
const LASTING: ReadonlySet<string> = new Set(['ACCESS_DENIED', 'INPUT_INVALID', 'NOT_FOUND'])

/** @throws ConfigError it cannot be made, or nothing can be written into it */
export async function checkWorkRoot(
  { site, transport }: { readonly site: LoadedSite; readonly transport: Transport },
  signal: AbortSignal,
): Promise<void> {
  // Of a folder on this machine the site file's own check has told.
  if (site.transport.descriptor === undefined) return
  const { workRoot } = site
  const probe = `${workRoot.replace(/\/+$/, '')}/.orbweaver-probe-${randomBytes(6).toString('hex')}`
  try {
    await transport.files.mkdir(workRoot, { signal })
    await transport.files.writeAtomic(probe, '', { signal })
    await transport.files.remove(probe, { signal })
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    if (!LASTING.has(error.code) || isRefusedLogin(error)) return
    const { host } = site.transport.config
    const where = typeof host === 'string' ? host : site.transport.use
    throw new ConfigError(
      [
        {
          file: site.file,
          path: 'workRoot',
          message: `${workRoot} cannot be used on ${where}. ${error.message}`,
          hint: `name a folder that your account on ${where} may make and write, and that its compute nodes see`,
        },
      ],
      { cause: error },
    )
  }
}

/** The run tells of that in its own words. */
function isRefusedLogin({ details }: PipelineError): boolean {
  return !('path' in details)
}
