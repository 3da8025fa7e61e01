/** The two streams a person or a script sees, and what is known of them. */

import { systemErrorCode } from '@orbweaver/core'
import { once } from 'node:events'
import pc from 'picocolors'

/** The part of a Node stream we use; tests give their own. */
export interface OutputStream {
  write(text: string): boolean
  once(event: 'drain', listener: () => void): unknown
  readonly isTTY?: boolean
  readonly columns?: number
  readonly writable?: boolean
}

export type Paint = ReturnType<typeof pc.createColors>

export interface TerminalOptions {
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  /** A person can answer questions. */
  readonly stdinIsTty: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
  /** `--no-color` was given. */
  readonly noColor?: boolean
}

/** Narrower terminals exist, but tables for them are of no use. */
const NARROWEST = 60
const WIDEST = 200

export class Terminal {
  /** Colours for stdout. */
  readonly paint: Paint
  /** Colours for stderr. */
  readonly paintError: Paint
  /** A person looks at stdout. */
  readonly outIsTty: boolean
  /** A person looks at stderr: progress may be drawn. */
  readonly errorIsTty: boolean
  /** Questions may be asked. */
  readonly canAsk: boolean
  private readonly stdout: OutputStream
  private readonly stderr: OutputStream
  private readonly environment: TerminalOptions['environment']
  /** Where lines for stderr go while a live block is drawn there. */
  private interceptor: ((text: string) => void) | undefined

  constructor(options: TerminalOptions) {
    this.stdout = options.stdout
    this.stderr = options.stderr
    this.environment = options.environment
    this.outIsTty = options.stdout.isTTY === true
    this.errorIsTty = options.stderr.isTTY === true && options.environment.TERM !== 'dumb'
    this.canAsk = options.stdinIsTty && this.outIsTty && this.errorIsTty
    const wanted =
      options.noColor !== true &&
      (options.environment.NO_COLOR ?? '') === '' &&
      options.environment.TERM !== 'dumb'
    this.paint = pc.createColors(wanted && this.outIsTty)
    this.paintError = pc.createColors(wanted && this.errorIsTty)
  }

  /** Columns for tables on stdout; infinite in a pipe or file, unless `COLUMNS` says otherwise. */
  get width(): number {
    if (this.outIsTty) return clampWidth(this.stdout.columns ?? 80)
    const columns = Number(this.environment.COLUMNS ?? '')
    return Number.isInteger(columns) && columns > 0 ? clampWidth(columns) : Infinity
  }

  /** Columns for text on stderr. */
  get errorWidth(): number {
    return this.errorIsTty ? clampWidth(this.stderr.columns ?? 80) : Infinity
  }

  /** The real number of columns of the terminal behind stderr, for drawing on it. */
  get drawingWidth(): number {
    return this.stderr.columns ?? 80
  }

  /** Text for stdout. Waits while the reader is slow, so that output of any length takes little memory. */
  async write(text: string): Promise<void> {
    if (this.stdout.writable === false) return
    if (this.interceptor !== undefined && this.outIsTty) {
      this.interceptor(text)
      return
    }
    if (this.stdout.write(text)) return
    try {
      await once(this.stdout as never, 'drain')
    } catch (error) {
      // The reader has gone. Whoever owns the stream hears of it too, and stops the work.
      if (!['EPIPE', 'ERR_STREAM_DESTROYED'].includes(systemErrorCode(error) ?? '')) throw error
    }
  }

  async line(text = ''): Promise<void> {
    await this.write(`${text}\n`)
  }

  async lines(lines: Iterable<string> | AsyncIterable<string>): Promise<void> {
    for await (const line of lines) await this.line(line)
  }

  /** Text for stderr: logs, progress, errors. */
  error(text: string): void {
    if (this.interceptor !== undefined) this.interceptor(text)
    else this.draw(text)
  }

  /** Straight to stderr, past a live block: for the live block itself. */
  draw(text: string): void {
    if (this.stderr.writable !== false) this.stderr.write(text)
  }

  intercept(interceptor: ((text: string) => void) | undefined): void {
    this.interceptor = interceptor
  }
}

function clampWidth(columns: number): number {
  return Math.min(WIDEST, Math.max(NARROWEST, columns))
}
