/** Command lines and values in Slurm's manner. */

/** Option → its one-letter form, and whether it takes a value. `?`: a value only as `--name=value`. */
export type OptionTable = Readonly<Record<string, readonly [letter: string, value: boolean | '?']>>

export class UsageError extends Error {}

export interface Line {
  readonly options: ReadonlyMap<string, string>
  readonly words: readonly string[]
}

/** As getopt_long reads it; `stopAtWord`: what follows the first word is left alone (sbatch). */
export function readLine(
  program: string,
  args: readonly string[],
  table: OptionTable,
  stopAtWord = false,
): Line {
  const options = new Map<string, string>()
  const words: string[] = []
  const letters = new Map(Object.entries(table).map(([name, [letter]]) => [letter, name]))
  const queue = [...args]
  const unknown = (what: string): UsageError =>
    new UsageError(`${program}: ${what}\nTry "${program} --help" for more information\n`)
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === '--' || (stopAtWord && !word.startsWith('-'))) {
      if (word !== '--') words.push(word)
      words.push(...queue.splice(0))
    } else if (word.startsWith('--')) {
      const at = word.indexOf('=')
      const name = word.slice(2, at < 0 ? undefined : at)
      const known = Object.hasOwn(table, name) ? table[name] : undefined
      if (known === undefined) throw unknown(`unrecognized option '--${name}'`)
      if (at >= 0) options.set(name, word.slice(at + 1))
      else if (known[1] === true) options.set(name, queue.shift() ?? '')
      else options.set(name, '')
    } else if (word.startsWith('-') && word !== '-') {
      for (let at = 1; at < word.length; at++) {
        const name = letters.get(word[at] ?? '')
        if (name === undefined) throw unknown(`invalid option -- '${word[at]}'`)
        if (table[name]?.[1] === true) {
          options.set(name, at + 1 < word.length ? word.slice(at + 1) : (queue.shift() ?? ''))
          break
        }
        options.set(name, '')
      }
    } else words.push(word)
  }
  return { options, words }
}

/** Minutes of `90`, `1:30` (minutes, seconds), `01:30:00`, `2-00:00:00`, `UNLIMITED`. @returns NaN: no time at all */
export function readMinutes(text: string): number | undefined {
  if (/^(UNLIMITED|INFINITE|0)$/i.test(text)) return undefined
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?$/.exec(text)
  if (match === null) return Number.NaN
  const [, days, first = '0', second, third] = match
  if (days !== undefined)
    return Number(days) * 1440 + Number(first) * 60 + Number(second ?? 0) + (Number(third ?? 0) > 0 ? 1 : 0)
  if (third !== undefined) return Number(first) * 60 + Number(second) + (Number(third) > 0 ? 1 : 0)
  return Number(first) + (Number(second ?? 0) > 0 ? 1 : 0)
}

/** Megabytes of `4096`, `4096M`, `4G`. */
export function readMegabytes(text: string): number {
  const match = /^(\d+)([KMGT]?)B?$/i.exec(text)
  if (match === null) return Number.NaN
  const factor = { K: 1 / 1024, '': 1, M: 1, G: 1024, T: 1024 ** 2 }[(match[2] ?? '').toUpperCase()] ?? 1
  return Math.ceil(Number(match[1]) * factor)
}

/** Indices of `0-3,7,10-20:5`; undefined: no such list. */
export function readIndices(text: string): readonly number[] | undefined {
  const indices: number[] = []
  for (const part of text.split(',')) {
    const match = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part)
    if (match === null) return undefined
    const [, from = '', to = from, by = '1'] = match
    if (Number(by) < 1) return undefined
    for (let index = Number(from); index <= Number(to); index += Number(by)) {
      indices.push(index)
      if (indices.length > 5_000_000) return undefined
    }
  }
  return indices
}

export function foldIndices(indices: readonly number[]): string {
  const parts: { from: number; to: number }[] = []
  for (const index of [...indices].sort((one, other) => one - other)) {
    const last = parts.at(-1)
    if (last !== undefined && last.to + 1 === index) last.to = index
    else parts.push({ from: index, to: index })
  }
  return parts.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}

/** As `squeue` shows times: `0:06`, `1:00:00`, `1-00:00:00`; as `sacct` does with `long`: `00:00:06`. */
export function clock(seconds: number, long = false): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const whole = Math.max(0, Math.floor(seconds))
  const days = Math.floor(whole / 86_400)
  const hours = Math.floor((whole % 86_400) / 3600)
  const minutes = Math.floor((whole % 3600) / 60)
  const rest = two(whole % 60)
  if (days > 0) return `${days}-${two(hours)}:${two(minutes)}:${rest}`
  if (long) return `${two(hours)}:${two(minutes)}:${rest}`
  return hours > 0 ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`
}

/** `format` is that of SLURM_TIME_FORMAT: `%s`, or nothing for local time. */
export function time(ms: number, format: string): string {
  if (format === '%s') return String(Math.floor(ms / 1000))
  const two = (value: number): string => String(value).padStart(2, '0')
  const at = new Date(ms)
  return (
    `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}` +
    `T${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
  )
}
