import { Terminal, type OutputStream } from '#src/terminal/terminal.js'

class MemoryStream implements OutputStream {
  text = ''
  readonly writable = true
  constructor(
    readonly isTTY: boolean,
    readonly columns: number,
  ) {}

  write(text: string): boolean {
    this.text += text
    return true
  }

  once(): this {
    return this
  }
}

export interface MemoryTerminal {
  readonly terminal: Terminal
  readonly out: () => string
  readonly err: () => string
}

/** A terminal that keeps what is written to it. */
export function memoryTerminal(
  options: {
    readonly tty?: boolean
    readonly columns?: number
    readonly environment?: Record<string, string>
  } = {},
): MemoryTerminal {
  const { tty = false, columns = 80, environment = {} } = options
  const stdout = new MemoryStream(tty, columns)
  const stderr = new MemoryStream(tty, columns)
  return {
    terminal: new Terminal({ stdout, stderr, stdinIsTty: tty, environment }),
    out: () => stdout.text,
    err: () => stderr.text,
  }
}
