/** Values as Slurm prints them: times, durations, memory, exit codes, node lists. What is not known is `undefined`. */

import { constants } from 'node:os'

const SIGNALS: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
)

/** `SIGKILL` of 9. Numbers that are no signal (125: ended for memory; 53: files could not be opened) are undefined. */
export const signalName = (number: number): string | undefined => SIGNALS.get(number)

/** Epoch seconds as milliseconds. `N/A`, `Unknown`, `None`, local times without a zone: undefined. */
export function readEpoch(text: string | undefined): number | undefined {
  const value = Number(text?.trim() === '' ? Number.NaN : text)
  // 0 and the highest 32-bit numbers mean "not set" and "infinite".
  if (!Number.isSafeInteger(value) || value <= 0 || value >= 4_294_967_294) return undefined
  return value * 1000
}

/**
 * Seconds of `[D-]HH:MM:SS`, `[HH:]MM:SS[.mmm]`, `D-HH`, `D-HH:MM`. `UNLIMITED`, `NOT_SET`, `Partition_Limit` and the like:
 * undefined. A bare number is not read: it is minutes in some places and seconds in others.
 */
export function readClock(text: string | undefined): number | undefined {
  const match = /^(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?(\.\d+)?$/.exec(text?.trim() ?? '')
  if (match === null) return undefined
  const [, days, first, second, third, fraction] = match
  if (days === undefined && second === undefined) return undefined
  const [hours, minutes, rest] =
    days !== undefined || third !== undefined ? [first, second, third] : ['0', first, second]
  const whole =
    Number(days ?? 0) * 86_400 + Number(hours) * 3600 + Number(minutes ?? 0) * 60 + Number(rest ?? 0)
  return Math.round((whole + Number(fraction ?? 0)) * 1000) / 1000
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
  P: 1024 ** 5,
}

/** Bytes of `1612088K`, `72.50M`, `4G`, `0`. Empty and `?`: undefined. */
export function readMemory(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([KMGTP]?)$/.exec(text?.trim() ?? '')
  if (match === null) return undefined
  return Math.round(Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1))
}

/**
 * Memory that a job asked for, in bytes. Before 21.08 per cpu (`4Gc`) or per node (`4Gn`), after that in all.
 *
 * @param cpus - for the form per cpu
 */
export function readAskedMemory(text: string | undefined, cpus: number | undefined): number | undefined {
  const match = /^(.+?)([cn])?$/.exec(text?.trim() ?? '')
  const bytes = readMemory(match?.[1])
  if (bytes === undefined || bytes === 0) return undefined
  return match?.[2] === 'c' ? bytes * (cpus ?? 1) : bytes
}

export interface ExitOf {
  readonly exitCode?: number
  readonly signal?: string
  readonly signalNumber?: number
}

/** `code:signal`, as accounting prints it. A step's code can be negative: undefined. */
export function readExit(text: string | undefined): ExitOf | undefined {
  const match = /^(\d{1,3}):(\d{1,3})$/.exec(text?.trim() ?? '')
  if (match === null) return undefined
  return exitOf(Number(match[1]), Number(match[2]))
}

/** The queue prints the raw status of wait(2): the code times 256, or the signal. Newer releases may print `code:signal`. */
export function readWaitStatus(text: string | undefined): ExitOf | undefined {
  if (text?.includes(':') === true) return readExit(text)
  const value = Number(text?.trim() === '' ? Number.NaN : text)
  if (!Number.isSafeInteger(value) || value < 0 || value > 0xffff) return undefined
  return exitOf(value >> 8, value & 0x7f)
}

function exitOf(code: number, signalNumber: number): ExitOf | undefined {
  if (code > 255) return undefined
  if (signalNumber === 0) return { exitCode: code }
  const signal = signalName(signalNumber)
  return { signalNumber, ...(signal !== undefined && { signal }) }
}

/** Names of `node[1-3,7],gpu01`; at most 100, the rest stays folded. `None assigned`, `(null)`: none. */
export function readNodes(text: string | undefined): readonly string[] {
  const list = text?.trim() ?? ''
  if (list === '' || /^\(?(None assigned|null|n\/a)\)?$/i.test(list)) return []
  const parts = list.match(/(?:[^,[\]]|\[[^\]]*\])+/g) ?? []
  const names: string[] = []
  for (const part of parts) {
    const match = /^([^[]*)\[([^\]]*)\]([^[]*)$/.exec(part)
    const numbers = match === null ? undefined : expandRange(match[2] ?? '', 100)
    if (match === null || numbers === undefined || names.length + numbers.length > 100) names.push(part)
    else names.push(...numbers.map((number) => `${match[1]}${number}${match[3]}`))
  }
  return names
}

/**
 * The numbers of `1-3,7,10-20:5`, leading zeros kept; undefined when it is no such list or longer than `most`. A throttle
 * (`%4`) is left out.
 */
export function expandRange(text: string, most: number): readonly string[] | undefined {
  const numbers: string[] = []
  for (const part of text.replace(/%\d+$/, '').split(',')) {
    const match = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part)
    if (match === null) return undefined
    const [, first = '', last = first, step = '1'] = match
    const [from, to, by] = [Number(first), Number(last), Number(step)]
    if (by < 1 || (to - from) / by > most) return undefined
    for (let value = from; value <= to; value += by) numbers.push(String(value).padStart(first.length, '0'))
    if (numbers.length > most) return undefined
  }
  return numbers
}
