/** A PBS server of one's own: programs in a folder, and a process behind them that runs the jobs. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_SITE, type FakeSite, type Fault, type Flavour } from './model.js'
import { PROGRAMS } from './programs.js'

export type { FakeQueue, FakeSite, Fault, Flavour } from './model.js'

export interface FakePbsOptions {
  readonly flavour: Flavour
  /** Everything lies here: programs, spool, switches. Made if need be. */
  readonly folder: string
  /** What is left out is as in `DEFAULT_SITE`. */
  readonly site?: Partial<FakeSite>
}

export interface FakePbs {
  readonly flavour: Flavour
  /** Folder of the programs: `bin` of the configuration. */
  readonly bin: string
  /** For a child process: a PATH with the programs first. */
  readonly environment: Readonly<Record<string, string>>
  readonly pid: number
  readonly faults: {
    set(fault: Fault, on: boolean): void
  }
  /** Ends the jobs and the process. The folder stays. */
  stop(): Promise<void>
}

/**
 * One program for all of them, as a shell script, because a kit runs many hundreds: its words go into a file, the exit status
 * comes back through a pipe. FAKE_PBS_USER plays somebody else; `root` may do what only operators may.
 */
const PROGRAM = String.raw`#!/bin/sh
umask 077
program=${'$'}{0##*/}
calls=FOLDER/calls
me=$calls/$$
reads() {
  [ "$program" = qsub ] || return 1
  while [ $# -gt 0 ]; do
    case $1 in
      --version) return 1 ;;
      -[hIVXzxfn]) shift ;;
      -?) shift 2 || return 1 ;;
      -*) shift ;;
      *) return 1 ;;
    esac
  done
}
{ read -r server < FOLDER/pid && kill -0 "$server"; } 2>/dev/null || {
  echo 'Connection refused' >&2
  echo "$program: cannot connect to server (errno=15010)" >&2
  exit 255
}
rm -f "$me".*
mkfifo "$me.pipe" || exit 70
if reads "$@"; then cat > "$me.in"; fi
printf '%s\0' "$$" "$PWD" "$FAKE_PBS_USER" "$HOME" "$PATH" "$program" "$@" > "$me.new"
mv "$me.new" "$me.call"
until read -r status < "$me.pipe"; do :; done
[ -s "$me.out" ] && cat "$me.out"
[ -s "$me.err" ] && cat "$me.err" >&2
rm -f "$me".*
exit "$status"
`

export async function startFakePbs({ flavour, folder, site = {} }: FakePbsOptions): Promise<FakePbs> {
  const bin = join(folder, 'bin')
  for (const name of ['bin', 'calls', 'faults'])
    mkdirSync(join(folder, name), { recursive: true, mode: 0o700 })
  const quoted = `'${folder.replaceAll("'", String.raw`'\''`)}'`
  for (const name of PROGRAMS)
    writeFileSync(
      join(bin, name),
      PROGRAM.replaceAll('FOLDER', () => quoted),
      { mode: 0o755 },
    )
  const server = fork(
    join(import.meta.dirname, 'daemon.js'),
    [flavour, folder, JSON.stringify({ ...DEFAULT_SITE, ...site })],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [], detached: true },
  )
  const gone = once(server, 'exit')
  const { pid } = server
  await Promise.race([
    once(server, 'message'),
    gone.then(() => {
      throw new Error('the fake server ended at once')
    }),
  ])
  if (pid === undefined) throw new Error('the fake server could not be started')
  const path = (fault: Fault): string => join(folder, 'faults', fault)
  return {
    flavour,
    bin,
    environment: { PATH: `${bin}:${process.env['PATH'] ?? '/usr/bin:/bin'}` },
    pid,
    faults: {
      set: (fault, on) => {
        if (on) writeFileSync(path(fault), '')
        else rmSync(path(fault), { force: true })
      },
    },
    stop: async () => {
      if (server.connected) server.disconnect()
      await gone
    },
  }
}
