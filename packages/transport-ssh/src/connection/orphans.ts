/**
 * Programs that a connection left behind. A server that loses a connection does not end what it had started: a submit may
 * still be on its way to the scheduler, a removal may still remove. Whoever asks over the next connection how things stand
 * would get an answer that is not final. So the next connection first sees them end.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { randomBytes } from 'node:crypto'
import type { ClientChannel } from 'ssh2'
import { shellProgram, shellQuote } from '@orbweaver/core'
import { endWords } from './remote-line.js'
import type { Started } from './marker.js'

export interface Orphan extends Started {
  /** Epoch milliseconds: so long it may go on by itself. Then it is ended. */
  readonly untilMs: number
}

/** Opens a channel that runs a command. */
type OpenChannel = (command: string) => Promise<ClientChannel>

/** Where a program cannot be looked after (another login node has answered), it is given this long. */
const UNSEEN_MS = 20_000
/** Between the polite signal and the last one. */
const GRACE_MS = 1_000

/** `ow_settle PID GROUP START BOOT TOKEN TENTHS`: says `TOKEN over PID`, or `TOKEN elsewhere PID`. */
const SETTLE_FUNCTION =
  shellProgram`
ow_alive() {
  kill -s 0 -- "-$2" 2>/dev/null || return 1
  ow_s=
  read -r ow_s 2>/dev/null </proc/$1/stat || return 0
  ow_w=$3
  set -f
  set -- @{ow_s##*) }
  [ "$1" != Z ] && [ "@{20}" = "$ow_w" ]
}
` +
  `
ow_settle() {
  ow_b=
  read -r ow_b 2>/dev/null </proc/sys/kernel/random/boot_id
  if [ -z "$ow_b" ] || [ "$ow_b" != "$4" ]; then echo "$5 elsewhere $1"; return; fi
  ow_j=0
  while ow_alive "$1" "$2" "$3" && [ $ow_j -lt "$6" ]; do sleep 0.1; ow_j=$((ow_j+1)); done
  if ow_alive "$1" "$2" "$3"; then ${endWords('"-$2"', GRACE_MS)}; fi
  echo "$5 over $1"
}
`

export class Orphans {
  readonly #open = new Map<number, Orphan>()

  /** Some may still go on by themselves. */
  get areAwaited(): boolean {
    return [...this.#open.values()].some(isAwaited)
  }

  add(orphan: Orphan): void {
    // Without a group and the time of its start, another process might be taken for it.
    if (orphan.group > 0) this.#open.set(orphan.pid, orphan)
  }

  /**
   * End those that nobody waits for; with `all`, wait until the others have ended too, and end those whose time is over.
   *
   * @throws the connection broke meanwhile; they are kept for the next one
   */
  async settle(open: OpenChannel, signal: AbortSignal, all: boolean): Promise<void> {
    const waiting = [...this.#open.values()].filter((orphan) => all || !isAwaited(orphan))
    if (waiting.length === 0) return
    const token = `ow-${randomBytes(12).toString('hex')}`
    const nowMs = Date.now()
    const calls = waiting.map(({ pid, group, start, boot, untilMs }) => {
      const tenths = Math.max(0, Math.round((untilMs - nowMs) / 100))
      return `ow_settle ${pid} ${group} ${start} ${boot} ${token} ${tenths}`
    })
    const said = await output(open, `${SETTLE_FUNCTION}${calls.join('\n')}\nexit 0`, signal)
    const unseen = waiting.filter(({ pid }) => !said.includes(`${token} over ${pid}\n`))
    const latestMs = Math.max(0, ...unseen.map(({ untilMs }) => Math.min(untilMs, nowMs + UNSEEN_MS)))
    if (latestMs > Date.now()) await delay(latestMs - Date.now(), undefined, { signal })
    for (const { pid } of waiting) this.#open.delete(pid)
  }
}

function isAwaited({ untilMs }: Orphan): boolean {
  return untilMs > 0
}

/** Its length comes first, then the script: a login shell that is neither sh nor bash sees none of it. */
const READ_SCRIPT = `exec /bin/sh -c ${shellQuote('IFS= read -r ow_n && eval "$(head -c "$ow_n")"')}`

/** Everything a script prints. */
async function output(open: OpenChannel, script: string, signal: AbortSignal): Promise<string> {
  const stream = await open(READ_SCRIPT)
  return await new Promise<string>((resolve, reject) => {
    let said = ''
    let known = false
    const onAbort = (): void => {
      stream.destroy()
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stream.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')))
    stream.on('error', reject)
    stream.once('exit', () => (known = true))
    stream.stderr.resume()
    stream.once('close', () => {
      signal.removeEventListener('abort', onAbort)
      if (known) resolve(said)
      else reject(new Error('it broke while what an earlier one left behind was looked after'))
    })
    stream.end(`${Buffer.byteLength(script)}\n${script}`)
  })
}
