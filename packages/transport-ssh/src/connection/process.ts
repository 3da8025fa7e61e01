/** A program on the far side, from its start to an end that is known. */

import { randomBytes } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import {
  AccessDeniedError,
  InputError,
  NotFoundError,
  PipelineError,
  TransportUnavailableError,
  printable,
  printablePath,
  shellQuote,
} from '@orbweaver/core'
import type { Channel, SshConnection } from './connection.js'
import { ErrorGate, OutputGate, type Started } from './marker.js'
import { REMOTE_COMMAND, endScript, remoteLine, type RemoteCommand, type StartWord } from './remote-line.js'

/** With `known` it is seen to end before anything else runs there, also when the connection breaks under it. */
export interface ProcessSpec extends RemoteCommand {
  readonly stdin?: string | Buffer | Readable
  /** Where standard output goes; ended by the process. */
  readonly stdout: Writable
  readonly timeoutMs: number
  readonly maxErrorBytes: number
}

export interface ProcessEnd {
  readonly exitCode: number | undefined
  readonly signal?: string
  readonly stderr: Buffer
}

export interface ProcessOptions {
  readonly signal?: AbortSignal
  readonly killGraceMs: number
}

/** After a program was told to end, its channel is waited for this long. */
const LAST_WORD_MS = 5_000

/**
 * Run a program and wait for its end.
 *
 * @throws TransportUnavailableError the connection broke, or the time was over: whether the program did its work is unknown
 */
export async function runProcess(
  connection: SshConnection,
  spec: ProcessSpec,
  { signal, killGraceMs }: ProcessOptions,
): Promise<ProcessEnd> {
  signal?.throwIfAborted()
  const channel = await connection.exec(REMOTE_COMMAND, signal === undefined ? {} : { signal })
  try {
    return await new RunningProcess(connection, channel, spec, killGraceMs).end(signal)
  } finally {
    channel.release()
  }
}

class RunningProcess {
  readonly #connection: SshConnection
  readonly #channel: Channel
  readonly #spec: ProcessSpec
  readonly #killGraceMs: number
  readonly #program: string
  #started: Started | undefined
  #word: StartWord | undefined
  #failure: { readonly reason: Error } | undefined
  #exit: { readonly code: number | undefined; readonly signal: string | undefined } | undefined
  #killing: Promise<void> | undefined
  #dropOutput: () => void = () => undefined
  /** The channel broke, and that is why. */
  #broken = false
  #untilMs = 0
  #lastWord: NodeJS.Timeout | undefined

  constructor(connection: SshConnection, channel: Channel, spec: ProcessSpec, killGraceMs: number) {
    this.#connection = connection
    this.#channel = channel
    this.#spec = spec
    this.#killGraceMs = killGraceMs
    this.#program = printable(spec.argv[0] ?? '')
  }

  async end(signal: AbortSignal | undefined): Promise<ProcessEnd> {
    const { stream } = this.#channel
    const token = `ow-${randomBytes(12).toString('hex')}`
    this.#untilMs = Date.now() + this.#spec.timeoutMs
    const output = new OutputGate(token, {
      onProcess: (started) => {
        this.#started = started
        if (this.#failure !== undefined) this.#kill()
        else if (this.#spec.known === true) this.#sendInput(`${token}\n`)
      },
      onWord: (word) => (this.#word = word),
    })
    const errors = new ErrorGate(token)
    const stderr: Buffer[] = []
    let errorBytes = 0

    const onAbort = (): void => this.#fail(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(() => {
      this.#fail(
        new TransportUnavailableError(
          `${this.#program} did not end within ${this.#spec.timeoutMs / 1000} s on ${this.#connection.name} and was ended.`,
          {
            details: {
              program: this.#spec.argv[0],
              timeoutMs: this.#spec.timeoutMs,
              host: this.#connection.name,
            },
          },
        ),
      )
    }, this.#spec.timeoutMs)

    try {
      await new Promise<void>((resolve) => {
        // `exit` may come before the last of the output: only `close` is the end.
        stream.once('exit', (code: number | null, name?: string) => {
          this.#exit = { code: code ?? undefined, signal: name }
        })
        stream.on('error', (error: Error) => {
          this.#broken ||= this.#failure === undefined
          this.#fail(this.#connection.lost(error))
        })
        let open = 3
        const closed = (): void => {
          open -= 1
          if (open === 0) resolve()
        }
        const fail = (error: Error): void => this.#fail(error)
        stream.once('close', () => {
          if (!output.writableEnded) output.end()
          if (!errors.writableEnded) errors.end()
          closed()
        })
        stream.pipe(output, { end: false }).on('error', fail).once('close', closed)
        output.pipe(this.#spec.stdout).on('error', fail)
        this.#dropOutput = () => {
          output.unpipe(this.#spec.stdout)
          output.resume()
        }
        stream.stderr.pipe(errors, { end: false }).once('close', closed)
        errors.on('data', (chunk: Buffer) => {
          errorBytes += chunk.length
          if (errorBytes <= this.#spec.maxErrorBytes) stderr.push(chunk)
          else this.#fail(tooMuch(this.#program, 'standard error', this.#spec.maxErrorBytes))
        })
        const line = remoteLine(this.#spec, token)
        if (this.#spec.known === true) stream.write(line)
        else this.#sendInput(line)
        if (signal?.aborted === true) onAbort()
      })
      await this.#killing
    } finally {
      clearTimeout(timer)
      clearTimeout(this.#lastWord)
      signal?.removeEventListener('abort', onAbort)
      if (this.#spec.stdin instanceof Readable) this.#spec.stdin.destroy()
      this.#leaveBehind()
    }
    if (this.#failure !== undefined) throw this.#failure.reason
    return this.#result(Buffer.concat(stderr), `${output.noise}\n${errors.noise}`)
  }

  #result(stderr: Buffer, noise: string): ProcessEnd {
    const where = this.#connection.name
    const details = { program: this.#spec.argv[0], directory: this.#spec.directory, host: where }
    switch (this.#word) {
      case 'no-program':
        throw new NotFoundError(`Cannot run ${this.#program}: there is no such program on ${where}.`, {
          details,
          hint: 'Install it there, write its full path in the site file, or add its folder to `path` of the transport.',
        })
      case 'no-access':
        throw new AccessDeniedError(`Cannot run ${this.#program} on ${where}: permission denied.`, {
          details,
          hint: 'Check that it is executable for this account.',
        })
      case 'no-folder':
      case 'no-entry': {
        const folder = printablePath(this.#spec.directory ?? '')
        if (this.#word === 'no-folder')
          throw new NotFoundError(
            `Cannot run ${this.#program} in ${folder}: there is no such folder on ${where}.`,
            { details },
          )
        throw new AccessDeniedError(
          `Cannot run ${this.#program} in ${folder} on ${where}: permission denied.`,
          { details },
        )
      }
      case 'ok':
      case undefined:
    }
    if (this.#exit === undefined)
      throw this.#connection.lost(new Error(`the end of ${this.#program} is unknown`))
    if (this.#word === undefined) {
      const said = noise.trim().slice(0, 300)
      throw new TransportUnavailableError(
        `${where} runs no commands for this account${said === '' ? '' : `; it said: ${printable(said)}`}.`,
        {
          details: { host: where, exitCode: this.#exit.code },
          hint: 'Try `ssh HOST true` by hand: the account needs a shell, and its start-up files must not end it.',
        },
      )
    }
    if (this.#exit.code === 126 && /Argument list too long\s*$/.test(stderr.toString('latin1'))) {
      throw new InputError(
        `Cannot run ${this.#program}: its arguments and environment are longer than ${where} allows.`,
        { details },
      )
    }
    const { code, signal } = this.#exit
    const name = signal === undefined ? undefined : signal.startsWith('SIG') ? signal : `SIG${signal}`
    return {
      exitCode: name === undefined ? code : undefined,
      ...(name !== undefined && { signal: name }),
      stderr,
    }
  }

  #sendInput(line: string): void {
    const { stream } = this.#channel
    // A program that ends without reading its input is no failure.
    const { stdin } = this.#spec
    if (stdin instanceof Readable) {
      stream.write(line)
      stdin.on('error', (error) => this.#fail(error))
      stdin.pipe(stream)
      // Together they are one message where they are short: a program is given all of its input, or does not start.
    } else stream.end(Buffer.concat([Buffer.from(line), Buffer.from(stdin ?? '')]))
  }

  /** The connection is gone, and the program may not be. What nobody waits for any more is ended; a submit is let finish. */
  #leaveBehind(): void {
    if (this.#exit !== undefined || this.#started === undefined) return
    if (this.#failure === undefined && !this.#channel.link.gone.aborted) return
    const wanted = this.#spec.known === true && (this.#failure === undefined || this.#broken)
    this.#connection.orphans.add({ ...this.#started, untilMs: wanted ? this.#untilMs : 0 })
  }

  /** The first reason counts. The program is ended, then the call. */
  #fail(reason: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = { reason }
    this.#dropOutput()
    this.#kill()
  }

  #kill(): void {
    const { stream, link } = this.#channel
    if (this.#killing !== undefined || link.gone.aborted) return
    this.#lastWord ??= setTimeout(() => {
      // Its end cannot be had; nobody reads its output any more.
      stream.destroy()
      stream.emit('close')
    }, LAST_WORD_MS + this.#killGraceMs)
    if (this.#started === undefined) return // as soon as it says who it is
    const { pid, group } = this.#started
    this.#killing = this.#endGroup(pid, group)
  }

  async #endGroup(pid: number, group: number): Promise<void> {
    const { stream } = this.#channel
    try {
      const { stream: killer, release } = await this.#connection.exec(
        `exec /bin/sh -c ${shellQuote(endScript(pid, group, this.#killGraceMs))}`,
        { urgent: true },
      )
      await new Promise<void>((resolve) => {
        killer.once('close', resolve).resume()
        killer.stderr.resume()
        killer.end()
      })
      release()
    } catch (error) {
      // Without a second channel the server may still pass a signal on. Its answer is the end of the program.
      if (!(error instanceof PipelineError)) throw error
      stream.signal('KILL')
    } finally {
      // A process that left the group may hold the pipes open for ever: its output is of no use any more.
      if (!stream.destroyed) stream.close()
    }
  }
}

export function tooMuch(program: string, what: string, maxBytes: number): InputError {
  return new InputError(`${program} wrote more than ${maxBytes} bytes to its ${what}.`, {
    details: { program, maxBytes },
    hint: 'Ask it for less at a time.',
  })
}

/** Keeps what it is given, up to a limit. */
export class Collector extends Writable {
  readonly #chunks: Buffer[] = []
  readonly #maxBytes: number
  readonly #program: string
  #bytes = 0

  constructor(maxBytes: number, program: string) {
    super()
    this.#maxBytes = maxBytes
    this.#program = program
  }

  get content(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#bytes += chunk.length
    if (this.#bytes <= this.#maxBytes) {
      this.#chunks.push(chunk)
      done()
    } else done(tooMuch(printable(this.#program), 'standard output', this.#maxBytes))
  }
}
