/** Values as PBS prints them. What is not known is `undefined`. */

import { constants } from 'node:os'

/** Seconds of `[[HH:]MM:]SS[.mmm]`; hours go beyond 24. */
export function readSeconds(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d+(?::\d{1,2}){0,2}(?:\.\d+)?$/.test(text.trim())) return undefined
  return text
    .trim()
    .split(':')
    .reduce((sum, part) => sum * 60 + Number(part), 0)
}

const FACTORS = ['', 'k', 'm', 'g', 't', 'p']
/** Bytes of `420116kb`, `2gb`, `5000b`, `16mw` (words of 8 bytes), `100` (bytes). */
export function readBytes(text: string | undefined): number | undefined {
  const match = /^(\d+)([kmgtp]?)([bw]?)$/i.exec(text?.trim() ?? '')
  if (match === null) return undefined
  const [, count, unit = '', of = ''] = match
  return Number(count) * 1024 ** FACTORS.indexOf(unit.toLowerCase()) * (of.toLowerCase() === 'w' ? 8 : 1)
}

/** Epoch milliseconds of `Sun Nov 22 08:07:42 2026` (our commands run with TZ=UTC) or of epoch seconds (Torque's XML). */
export function readTime(text: string | undefined): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d{9,11}$/.test(value)) return Number(value) * 1000
  if (!/^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d \d{4}$/.test(value)) return undefined
  const time = Date.parse(`${value} UTC`)
  return Number.isNaN(time) ? undefined : time
}

/** `HH:MM:SS` with hours beyond 24, as qsub reads it. */
export function writeWalltime(walltimeSeconds: number): string {
  const all = Math.max(1, Math.ceil(walltimeSeconds))
  const pad = (value: number): string => value.toString().padStart(2, '0')
  return `${pad(Math.floor(all / 3600))}:${pad(Math.floor(all / 60) % 60)}:${pad(all % 60)}`
}

/** `SIGTERM` of 15. */
export const nameOfSignal = (number: number): string | undefined =>
  Object.entries(constants.signals).find(([, value]) => value === number)?.[0]

/** Hosts of `node1/0*2+node2/0`, each once, at most 100. */
export function readHosts(text: string | undefined): readonly string[] {
  const hosts = (text ?? '').split('+').map((part) => part.replace(/\/.*$/s, '').trim())
  return [...new Set(hosts.filter((host) => /^[\w.-]+$/.test(host)))].slice(0, 100)
}
