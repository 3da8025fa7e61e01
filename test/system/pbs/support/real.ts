/** A real PBS behind programs of our own, so that it can be away and lose an answer for us alone. */

import fs from 'node:fs'
import path from 'node:path'
import type { FakePbs, Fault, Flavour } from '../../../../packages/adapter-pbs/dist-test/fake/start.js'
import { livePbs, type Account } from '../../../../packages/adapter-pbs/dist-test/live-site.js'
import { scratchFolder, write } from '../../support/folders.js'
import { call } from './call.js'

export interface RealPbs extends Pick<FakePbs, 'flavour' | 'bin' | 'environment' | 'faults'> {
  /** Whose the jobs are, where it is not who runs the tests. */
  readonly account: Account | undefined
  /** Who runs the tests may do what only operators may. */
  readonly hasOperator: boolean
  readonly enforcesMemory: boolean
  readonly queue: string | undefined
}

/** What can be made to happen without touching a server that others use. */
export const REAL_FAULTS: readonly Fault[] = ['server-down', 'lose-answer']

const PROGRAMS = ['qsub', 'qstat', 'qdel', 'qselect', 'qhold', 'qrls', 'qrerun', 'pbsnodes']

export async function realPbs(): Promise<RealPbs> {
  const { bin, environment, account, queue, enforcesMemory } = livePbs()
  const folder = scratchFolder('real-pbs')
  const faults = path.join(folder, 'faults')
  fs.mkdirSync(faults)
  if (account !== undefined) for (const each of [folder, faults]) fs.chownSync(each, account.uid, account.gid)
  fs.chmodSync(folder, 0o755)
  const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`
  const variables = Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}\n`)
  for (const program of PROGRAMS)
    write(
      path.join(folder, program),
      `#!/bin/sh
${variables.join('')}faults=${quoted(faults)}
real=${quoted(path.join(bin, program))}
[ "$*" != --version ] || exec "$real" --version
if [ -e "$faults/server-down" ]; then
  echo 'Connection refused' >&2
  echo '${program}: cannot connect to server pbs (errno=15010)' >&2
  exit 255
fi
if [ '${program}' = qsub ] && rm "$faults/lose-answer" 2>/dev/null; then
  "$real" "$@" >/dev/null && exit 255
fi
exec "$real" "$@"
`,
      0o755,
    )
  const { stdout } = await call({ bin: folder, account }, undefined, ['qsub', '--version'])
  const flavour: Flavour = /^pbs_version = /m.test(stdout) ? 'openpbs' : 'torque'
  return {
    flavour,
    bin: folder,
    environment: { PATH: `${folder}:${process.env['PATH'] ?? '/usr/bin:/bin'}` },
    account,
    queue,
    enforcesMemory,
    hasOperator: account !== undefined,
    faults: {
      set: (fault, on) => {
        if (!REAL_FAULTS.includes(fault)) throw new Error(`${fault} cannot be made on a real PBS`)
        if (on) write(path.join(faults, fault), '', 0o666)
        else fs.rmSync(path.join(faults, fault), { force: true })
      },
    },
  }
}
