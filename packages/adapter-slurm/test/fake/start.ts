/** A Slurm of one's own: programs in a folder, and a process behind them that runs the jobs. */

import { fork } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_SITE, FAULTS, type FakeSite, type Fault } from './model.js'
import { PROGRAMS } from './programs.js'

export type { FakeAccount, FakeNode, FakePartition, FakeQos, FakeSite, Fault } from './model.js'

export interface FakeSlurmOptions {
  /** Everything the fake keeps: programs, spool, switches. Made if need be; below a temporary folder. */
  readonly folder: string
  /** What is left out is as in `DEFAULT_SITE`. */
  readonly site?: Partial<FakeSite>
}

export interface FakeSlurm {
  /** Folder of the programs: `bin` of the adapter's configuration, or first on a PATH. */
  readonly bin: string
  /** The same for a child process: a PATH with the programs first. */
  readonly environment: Readonly<Record<string, string>>
  readonly pid: number
  /** Make something go wrong, or right again. */
  setFault(fault: Fault, on: boolean): void
  /** Whether a switch is on; those that work once go off when they did. */
  hasFault(fault: Fault): boolean
  /** Ends all jobs and the process. The folder stays. */
  stop(): Promise<void>
}

/**
 * The client of every program: hands its words to the process behind it and prints what comes back. A shell, since many of them
 * run; three small programs each. FAKE_SLURM_UID and FAKE_SLURM_USER play somebody else.
 */
const CLIENT = String.raw`#!/bin/sh
program=${'$'}{0##*/}
spool=SPOOL
r=$spool/requests/$$
away() {
  [ "$program" = sbatch ] && printf '%s' 'sbatch: error: Batch job submission failed: ' >&2 || printf '%s' 'slurm_load_jobs error: ' >&2
  echo 'Unable to contact slurm controller (connect failure)' >&2
  exit 1
}
{ read -r daemon < "$spool/pid"; } 2>/dev/null && kill -0 "$daemon" 2>/dev/null || away
mkfifo -m 600 "$r.reply" 2>/dev/null || { rm -f "$r".*; mkfifo -m 600 "$r.reply"; } || exit 70
# Only of a submit that hands its environment on
case "$program $*" in
  *--export=NONE*) ;;
  sbatch*) env -0 > "$r.env" ;;
esac
printf '%s\0' "$$" "$#" "$PWD" "$FAKE_SLURM_UID" "$FAKE_SLURM_USER" "$SLURM_TIME_FORMAT" "$program" "$@" > "$r.req"
# The writer of the line before may still hold the pipe open: then there is an end, and no line.
hear() { until read -r code out err < "$r.reply"; do :; done; }
hear
if [ "$code" = stdin ]; then
  cat > "$r.in"
  : > "$r.fed"
  hear
fi
[ "$out" = 1 ] && cat "$r.out"
[ "$err" = 1 ] && cat "$r.err" >&2
rm -f "$r".*
exit "$code"
`

export async function startFakeSlurm({ folder, site = {} }: FakeSlurmOptions): Promise<FakeSlurm> {
  const bin = join(folder, 'bin')
  for (const name of ['bin', 'requests', 'faults', 'jobs']) mkdirSync(join(folder, name), { recursive: true })
  const quoted = `'${folder.replaceAll("'", String.raw`'\''`)}'`
  for (const name of PROGRAMS) {
    writeFileSync(
      join(bin, name),
      CLIENT.replace('SPOOL', () => quoted),
    )
    chmodSync(join(bin, name), 0o755)
  }
  const whole: FakeSite = { ...DEFAULT_SITE, ...site }
  const daemon = fork(join(import.meta.dirname, 'daemon.js'), [folder, JSON.stringify(whole)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
    detached: true,
  })
  const { pid } = daemon
  if (pid === undefined) throw new Error('the process of the fake Slurm could not be started')
  const gone = new Promise<void>((resolve) =>
    daemon.once('exit', () => {
      resolve()
    }),
  )
  await Promise.race([
    new Promise<void>((resolve) =>
      daemon.once('message', () => {
        resolve()
      }),
    ),
    gone.then(() => {
      throw new Error('the process of the fake Slurm ended at once')
    }),
  ])
  const file = (fault: Fault): string => join(folder, 'faults', fault)
  return {
    bin,
    environment: { PATH: `${bin}:${process.env['PATH'] ?? '/usr/bin:/bin'}` },
    pid,
    setFault: (fault, on) => {
      if (!FAULTS.includes(fault)) throw new TypeError(`there is no switch ${fault}`)
      if (on) writeFileSync(file(fault), '')
      else rmSync(file(fault), { force: true })
    },
    hasFault: (fault) => existsSync(file(fault)),
    stop: async () => {
      if (daemon.connected) daemon.disconnect()
      await gone
    },
  }
}
