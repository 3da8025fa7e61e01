/** Runs the small programs of scripts.ts: with paths as arguments, and again where the connection broke. */

import { Readable, Writable } from 'node:stream'
import { TransportUnavailableError } from '@orbweaver/core'
import type { SshConnection } from '../connection/connection.js'
import { Collector, runProcess, type ProcessEnd } from '../connection/process.js'

export interface ScriptResult extends ProcessEnd {
  readonly stdout: Buffer
}

export interface ScriptOptions {
  readonly signal?: AbortSignal | undefined
  readonly stdin?: string | Buffer
  readonly maxOutputBytes?: number
  /** Default two minutes. */
  readonly timeoutMs?: number
  /** May not be run again when its end is unknown. */
  readonly once?: boolean
}

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined
  readonly stdin?: string | Buffer | Readable
  readonly stdout?: Writable
}

const TIMEOUT_MS = 120_000
/** Reading, packing and hashing take as long as the files are large. */
export const LONG_MS = 24 * 3_600_000
const MAX_OUTPUT_BYTES = 256 * 1024 ** 2
const MAX_ERROR_BYTES = 1024 ** 2
const TRIES = 4

export class RemoteShell {
  readonly connection: SshConnection
  readonly #killGraceMs: number

  constructor(connection: SshConnection, killGraceMs: number) {
    this.connection = connection
    this.#killGraceMs = killGraceMs
  }

  /**
   * A script with its arguments. Any exit code is a result.
   *
   * @param words - a function makes them anew for each try: what one that was cut off leaves or still does must not be in the
   * way of the next
   */
  async run(
    script: string,
    words: readonly string[] | (() => readonly string[]),
    options: ScriptOptions = {},
  ): Promise<ScriptResult> {
    const all = (): readonly string[] => (typeof words === 'function' ? words() : words)
    return await this.#repeated(() => ['/bin/sh', '-c', script, 'sh', ...all()], options)
  }

  async program(argv: readonly string[], options: ScriptOptions = {}): Promise<ScriptResult> {
    return await this.#repeated(() => argv, options)
  }

  async #repeated(argvOf: () => readonly string[], options: ScriptOptions): Promise<ScriptResult> {
    for (let tries = 1; ; tries += 1) {
      const argv = argvOf()
      const stdout = new Collector(options.maxOutputBytes ?? MAX_OUTPUT_BYTES, argv[0] ?? '')
      try {
        const end = await this.#start(argv, options, stdout, options.timeoutMs ?? TIMEOUT_MS)
        return { ...end, stdout: stdout.content }
      } catch (error) {
        const again = options.once !== true && tries < TRIES && isLost(error)
        if (!again) throw error
      }
    }
  }

  /** A script whose input or output is a stream: it is not run again. */
  async stream(script: string, words: readonly string[], options: StreamOptions): Promise<ProcessEnd> {
    const stdout = options.stdout ?? new Collector(MAX_ERROR_BYTES, 'sh')
    return await this.#start(['/bin/sh', '-c', script, 'sh', ...words], options, stdout, LONG_MS)
  }

  async #start(
    argv: readonly string[],
    {
      signal,
      stdin,
    }: { readonly signal?: AbortSignal | undefined; readonly stdin?: string | Buffer | Readable },
    stdout: Writable,
    timeoutMs: number,
  ): Promise<ProcessEnd> {
    return await runProcess(
      this.connection,
      { argv, stdout, timeoutMs, maxErrorBytes: MAX_ERROR_BYTES, ...(stdin !== undefined && { stdin }) },
      { killGraceMs: this.#killGraceMs, ...(signal != null && { signal }) },
    )
  }
}

/** The connection broke under it. What was over its time would only be so again. */
function isLost(error: unknown): boolean {
  return error instanceof TransportUnavailableError && error.cause !== undefined
}
