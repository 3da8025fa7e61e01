/** Tells a program's output from what start-up files printed before it. */

import { Transform } from 'node:stream'
import type { StartWord } from './remote-line.js'

/** More than this before the program starts is no greeting. */
const NOISE_BYTES = 1024 ** 2

export interface Started {
  readonly pid: number
  /** 0: the process has no group of its own. */
  readonly group: number
  /** When it started, as the machine's kernel counts; `0`: not known. */
  readonly start: string
  /** Of the machine, since it was last switched on; `-`: not known. */
  readonly boot: string
}

export interface OutputEvents {
  onProcess(started: Started): void
  onWord(word: StartWord): void
}

/** Standard output from the program's first byte on. */
export class OutputGate extends Transform {
  readonly #token: string
  readonly #events: OutputEvents
  #before: Buffer = Buffer.alloc(0)
  #state: 'noise' | 'word' | 'open' = 'noise'

  constructor(token: string, events: OutputEvents) {
    super()
    this.#token = token
    this.#events = events
  }

  /** What came before the program, for the message when none started. */
  get noise(): string {
    return this.#before.toString('utf8')
  }

  override _transform(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null, data?: Buffer) => void,
  ): void {
    if (this.#state === 'open') {
      done(null, chunk)
      return
    }
    this.#before = this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk])
    const open = this.#look()
    if (!open && this.#before.length > NOISE_BYTES) {
      done(new Error(`more than ${NOISE_BYTES} bytes came before the program started`))
      return
    }
    const rest = this.#before
    if (open && rest.length > 0) {
      this.#before = Buffer.alloc(0)
      done(null, rest)
    } else done()
  }

  /** @returns whether the program has started */
  #look(): boolean {
    for (;;) {
      const at = this.#before.indexOf(`${this.#token} `)
      const end = at < 0 ? -1 : this.#before.indexOf('\n', at)
      if (end < 0) return false
      const words = this.#before.toString('latin1', at, end).split(' ')
      this.#before = this.#before.subarray(end + 1)
      if (this.#state === 'noise') {
        this.#state = 'word'
        const [, pid, group, start = '', boot = ''] = words
        this.#events.onProcess({
          pid: wholeNumber(pid),
          group: wholeNumber(group),
          // They become words of a shell again.
          start: /^\d+$/.test(start) ? start : '0',
          boot: /^[0-9a-f-]+$/.test(boot) ? boot : '-',
        })
      } else {
        this.#state = 'open'
        this.#events.onWord(words[1] as StartWord)
        return true
      }
    }
  }
}

function wholeNumber(word: string | undefined): number {
  return word !== undefined && /^\d{1,10}$/.test(word) ? Number(word) : 0
}

/** Standard error from the program's first byte on. */
export class ErrorGate extends Transform {
  readonly #line: Buffer
  #before: Buffer = Buffer.alloc(0)
  #open = false

  constructor(token: string) {
    super()
    this.#line = Buffer.from(`${token}\n`)
  }

  /** What came before the program. */
  get noise(): string {
    return this.#before.toString('utf8')
  }

  override _transform(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null, data?: Buffer) => void,
  ): void {
    if (this.#open) {
      done(null, chunk)
      return
    }
    this.#before = this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk])
    const at = this.#before.indexOf(this.#line)
    if (at < 0) {
      // The end of it may be the beginning of the token.
      if (this.#before.length > NOISE_BYTES) this.#before = this.#before.subarray(-2 * this.#line.length)
      done()
      return
    }
    this.#open = true
    const rest = this.#before.subarray(at + this.#line.length)
    this.#before = Buffer.alloc(0)
    if (rest.length > 0) done(null, rest)
    else done()
  }
}
