import type { Logger, LogLevel } from '../ports/services.js'

const LEVELS: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 }

export interface PlainLoggerOptions {
  /** Lines below this level are dropped. Default `info`. */
  readonly level?: LogLevel
  /** Time of a line, epoch milliseconds. Default: the machine's. */
  readonly now?: () => number
}

/**
 * One plain line an event: time, level, message, then `key=value` for each field. Line breaks in values are escaped, so
 * that a label can never forge a line.
 */
export function plainLogger(
  stream: { write(text: string): unknown },
  options: PlainLoggerOptions = {},
): Logger {
  const least = LEVELS[options.level ?? 'info']
  const now = options.now ?? Date.now
  return {
    log(level, message, fields = {}) {
      if (LEVELS[level] < least) return
      const words = [new Date(now()).toISOString(), level.padEnd(5), oneLine(message)]
      for (const [key, value] of Object.entries(fields)) {
        if (value !== undefined) words.push(`${key}=${formatValue(value)}`)
      }
      stream.write(`${words.join(' ')}\n`)
    },
  }
}

/** Says nothing. */
export const silentLogger: Logger = { log: () => undefined }

function formatValue(value: unknown): string {
  if (typeof value === 'string')
    return /^[\w@%+=:,./-]+$/.test(value) ? value : oneLine(JSON.stringify(value))
  if (value instanceof Error) return oneLine(JSON.stringify(`${value.name}: ${value.message}`))
  if (typeof value === 'bigint') return String(value)
  try {
    return oneLine(JSON.stringify(value) ?? typeof value)
  } catch {
    // A field that refers to itself: a log line must never be what breaks the work.
    return `"[${typeof value}]"`
  }
}

function oneLine(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (c) => (c === '\n' ? '\\n' : `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`),
  )
}
