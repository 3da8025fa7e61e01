/** Which PBS answers here. */

import {
  BackendProtocolError,
  BackendUnavailableError,
  InputError,
  NotFoundError,
  type Transport,
} from '@orbweaver/core'
import type { Reply } from '@orbweaver/core/command-line'
import { brief, failure } from './complaints.js'
import type { Flavour, PbsConfig } from './config.js'
import { environmentOf, programOf } from './dialect.js'
import type { Site } from './ends.js'
import { readRecords } from './records.js'
import { keepsEnded } from './site.js'

/**
 * `qsub --version`: `pbs_version = 23.06.06` (OpenPBS, PBS Professional), `Version: 6.1.3` and `Commit: …` on stderr (Torque).
 * Slurm's Perl commands of the same names do not know the option, and print their usage.
 */
export function flavourOf({
  stdout,
  stderr,
}: Pick<Reply, 'stdout' | 'stderr'>): Flavour | 'slurm' | undefined {
  const text = `${stdout}\n${stderr}`
  if (/^pbs_version = \S/m.test(text)) return 'openpbs'
  if (/^Version: \S/im.test(text)) return 'torque'
  return /^Unknown option: version/m.test(text) && /\[-P wckey\]|-pe shm/.test(text) ? 'slurm' : undefined
}

/**
 * Two commands: which programs these are, and whether the server keeps ended jobs.
 *
 * @param environment - more variables of these commands
 * @throws InputError they are Slurm's wrappers: those tell no exit status, no history and no array elements
 * @throws BackendUnavailableError the server does not answer now
 * @throws BackendProtocolError no PBS that we know
 */
export async function lookAtSite(
  config: PbsConfig,
  { runner }: Pick<Transport, 'runner'>,
  environment: Readonly<Record<string, string>> = {},
): Promise<Site> {
  const ask = async (name: string, ...words: readonly string[]): Promise<Reply> => {
    try {
      const argv = [programOf(config, name), ...words]
      const timeoutMs = config.commandTimeout * 1000
      return await runner.run({ argv, environment: { ...environmentOf(config), ...environment }, timeoutMs })
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      throw new BackendUnavailableError(`there is no program ${name}`, {
        cause: error,
        hint: 'Run Orbweaver where qsub works, name the folder of the programs with `cluster.bin`, or reach a login node with `cluster.transport`.',
      })
    }
  }
  const flavour = config.flavour === 'auto' ? detect(await ask('qsub', '--version')) : config.flavour
  const reply = await ask('qstat', '-B', '-f')
  const failed = failure(reply)
  if (failed !== undefined) throw silent(failed.message, reply)
  const [server] = readRecords(reply.stdout, 'server')
  if (server === undefined) throw unknownPbs(reply)
  const version = /^(\d+)\./.exec(server.fields.get('pbs_version') ?? '')?.[1]
  const ended = keepsEnded(server.fields, flavour)
  const elements = flavour === 'openpbs' && ended && Number(version ?? 0) >= 19
  return { flavour, ended, elements, server: server.id }
}

function detect(reply: Reply): Flavour {
  const flavour = flavourOf(reply)
  if (flavour === 'slurm')
    throw new InputError("qsub is Slurm's own, which tells no exit status and no ended jobs", {
      hint: 'use: slurm',
    })
  if (flavour !== undefined) return flavour
  // Programs of a site's own may ask the server even for that.
  const failed = failure(reply)
  throw failed?.kind === 'unavailable' ? silent(failed.message, reply) : unknownPbs(reply)
}

const silent = (message: string, { stderr }: Reply): BackendUnavailableError =>
  new BackendUnavailableError(`the PBS server does not answer: ${message}`, { details: { raw: stderr } })

const unknownPbs = ({ stdout, stderr }: Reply): BackendProtocolError =>
  new BackendProtocolError(`no PBS that we know: ${brief(`${stdout}\n${stderr}`).slice(0, 200)}`, {
    details: { raw: `${stdout}\n${stderr}` },
    hint: 'Set `cluster.flavour` to openpbs or torque.',
  })
