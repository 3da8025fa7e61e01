/** What a job asks for: people write `8 GiB` and `1-02:03:04`, the code sees bytes and seconds. */

/** Normalised requirements. */
export interface Requirements {
  /** At least 1. */
  readonly cpus: number
  readonly gpus: number
  /** For the whole job, on one node. */
  readonly memoryBytes: number
  readonly walltimeSeconds: number
  /** Room the job needs in its workspace beyond the inputs. */
  readonly scratchBytes: number
}

/** As people write them; what is left out comes from {@link DEFAULT_REQUIREMENTS} or the site. */
export interface RequirementsInput {
  readonly cpus?: number
  readonly gpus?: number
  readonly memory?: string | number
  readonly walltime?: string | number
  readonly scratch?: string | number
}

export const DEFAULT_REQUIREMENTS: Requirements = {
  cpus: 1,
  gpus: 0,
  memoryBytes: 2 * 1024 ** 3,
  walltimeSeconds: 3600,
  scratchBytes: 0,
}

// Schedulers, and the people who use them, count memory in powers of 1024 whatever the letter case or the `i`
// (Slurm `--mem`, PBS `mem=`); kB, MB, GB, TB therefore mean the same as KiB, MiB, GiB, TiB here.
const MEMORY_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
}

/**
 * Bytes from `4096 MB`, `8 GiB`, `8G`, `8gb`, `1.5T`, or a plain number, which means megabytes as in DAX and Slurm.
 *
 * @throws TypeError naming the accepted forms
 */
export function parseMemory(text: string | number): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|(b)(?:ytes)?)?\s*$/i.exec(String(text))
  const amount = Number(match?.[1])
  if (match === null || !Number.isFinite(amount) || amount <= 0) {
    throw new TypeError(`"${text}" is no amount of memory; write 4096 MB, 8 GiB, 8G, or a plain number of MB`)
  }
  const unit = (match[2] ?? match[3] ?? 'm').toLowerCase()
  const bytes = Math.ceil(amount * (MEMORY_UNITS[unit] ?? 1))
  if (!Number.isSafeInteger(bytes)) throw new TypeError(`"${text}" is more memory than any machine has`)
  return bytes
}

const TIME_UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 }

/**
 * Seconds from `2h`, `90 min`, `1d 2h`, `HH:MM:SS`, `MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`, or a plain number, which
 * means minutes as in Slurm.
 *
 * @throws TypeError naming the accepted forms
 */
export function parseDuration(text: string | number): number {
  const value = String(text).trim()
  const seconds = durationOf(value)
  if (seconds === undefined || !Number.isSafeInteger(seconds) || seconds <= 0) {
    throw new TypeError(
      `"${text}" is no duration; write 2h, 90m, 1d 12h, HH:MM:SS, D-HH:MM:SS, or a plain number of minutes`,
    )
  }
  return seconds
}

function durationOf(value: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(value)) return Math.ceil(Number(value) * 60)
  const clock = /^(?:(\d+)-)?(\d+)(?::(\d{1,2}))?(?::(\d{1,2}))?$/.exec(value)
  if (clock !== null) {
    const [, days, first, second, third] = clock
    if (Number(second ?? 0) > 59 || Number(third ?? 0) > 59) return undefined
    // Slurm's rule: after a day part the first number is hours; without one, two numbers are minutes and seconds.
    const [hours, minutes, rest] =
      days !== undefined || third !== undefined ? [first, second, third] : ['0', first, second]
    return Number(days ?? 0) * 86400 + Number(hours) * 3600 + Number(minutes ?? 0) * 60 + Number(rest ?? 0)
  }
  const word =
    /^(\d+(?:\.\d+)?)\s*(w(?:eeks?)?|d(?:ays?)?|h(?:(?:ou)?rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)(?=\s|\d|$)\s*/i
  let rest = value
  let total = 0
  while (rest !== '') {
    const match = word.exec(rest)
    if (match === null) return undefined
    total += Number(match[1]) * (TIME_UNITS[(match[2] ?? 's').charAt(0).toLowerCase()] ?? 1)
    rest = rest.slice(match[0].length)
  }
  return Math.ceil(total)
}

/** The one form we print: `8 GiB`, `1.5 GiB`, `512 MiB`. Parses back to the same amount rounded to 0.1 of the unit. */
export function formatMemory(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let amount = bytes
  let unit = 0
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024
    unit += 1
  }
  const rounded = Math.round(amount * 10) / 10
  return `${rounded} ${units[unit]}`
}

/** The one form we print: `2h`, `1h 30m`, `1d 2h`, `45s`. Exact: parses back to the same number of seconds. */
export function formatDuration(seconds: number): string {
  if (seconds <= 0) return '0s'
  const parts: string[] = []
  let rest = Math.round(seconds)
  for (const [unit, size] of [
    ['d', 86400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(rest / size)
    if (count > 0) parts.push(`${count}${unit}`)
    rest -= count * size
  }
  return parts.join(' ')
}

/** `D-HH:MM:SS` or `HH:MM:SS`, as Slurm and PBS print and read it. */
export function formatClock(seconds: number): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const days = Math.floor(seconds / 86400)
  const rest = `${two(Math.floor((seconds % 86400) / 3600))}:${two(Math.floor((seconds % 3600) / 60))}:${two(Math.floor(seconds % 60))}`
  return days > 0 ? `${days}-${rest}` : rest
}

/**
 * @param base - what fills the gaps
 * @throws TypeError naming the field and the accepted forms
 */
export function parseRequirements(
  input: RequirementsInput,
  base: Requirements = DEFAULT_REQUIREMENTS,
): Requirements {
  const count = (field: 'cpus' | 'gpus', least: number): number => {
    const value = input[field] ?? base[field]
    if (!Number.isInteger(value) || value < least) {
      throw new TypeError(`${field}: ${value} is not a whole number of at least ${least}`)
    }
    return value
  }
  return {
    cpus: count('cpus', 1),
    gpus: count('gpus', 0),
    memoryBytes: input.memory === undefined ? base.memoryBytes : parseMemory(input.memory),
    walltimeSeconds: input.walltime === undefined ? base.walltimeSeconds : parseDuration(input.walltime),
    scratchBytes: input.scratch === undefined ? base.scratchBytes : parseMemory(input.scratch),
  }
}
