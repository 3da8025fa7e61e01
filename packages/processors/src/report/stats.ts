/** Numbers as files: `stats.json` for programs and people who ask how, `stats.tsv` for tables over many sessions. */

import type { JobFile } from '../job/run.js'
import type { JobSource, JobTask } from '../job/task.js'

export interface Metric {
  /** `snake_case`; the column of `stats.tsv`. */
  readonly name: string
  /** `null`: cannot be computed from this image; `definition` or a warning says why. */
  readonly value: number | string | null
  readonly unit?: string
  /** For the report; left out there without one. */
  readonly label?: string
  /** Digits after the point in the report. */
  readonly digits?: number
  /** How it is computed. */
  readonly definition: string
  readonly alarm?: boolean
}

export interface StatsInput {
  readonly task: JobTask
  readonly source: JobSource
  /** The image, relative to the source. */
  readonly image: string
  readonly metrics: readonly Metric[]
  readonly warnings: readonly string[]
  /** Anything else worth keeping, as lists of outliers. */
  readonly more?: Readonly<Record<string, unknown>>
}

export function statsFiles({ task, source, image, metrics, warnings, more = {} }: StatsInput): JobFile[] {
  const json = {
    schema: 1,
    label: task.label,
    processor: task.processor,
    source: { ref: source.ref, file: image, type: source.type ?? null },
    params: task.params,
    metrics: Object.fromEntries(metrics.map((metric) => [metric.name, clean(metric.value)])),
    units: Object.fromEntries(
      metrics.flatMap(({ name, unit }) => (unit === undefined ? [] : [[name, unit]])),
    ),
    definitions: Object.fromEntries(metrics.map(({ name, definition }) => [name, definition])),
    warnings,
    ...more,
  }
  const columns: readonly (readonly [name: string, value: Cell])[] = [
    ['label', task.label],
    ['source', source.ref],
    ['file', image],
    ...metrics.map(({ name, value }) => [name, clean(value)] as const),
  ]
  return [
    { path: 'stats.json', content: `${JSON.stringify(json, null, 2)}\n` },
    {
      path: 'stats.tsv',
      content: tsv(
        columns.map(([name]) => name),
        [columns.map(([, value]) => value)],
      ),
    },
  ]
}

type Cell = number | string | boolean | null

/** Tab-separated values in BIDS manner: a header row, `n/a` for what is not there. */
export function tsv(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cell = (value: Cell): string => {
    if (value === null || (typeof value === 'number' && !Number.isFinite(value))) return 'n/a'
    return String(value).replace(/[\t\r\n]/g, ' ')
  }
  return [columns.join('\t'), ...rows.map((row) => row.map(cell).join('\t'))]
    .map((row) => `${row}\n`)
    .join('')
}

/** JSON has no NaN; ten digits are more than any of these numbers is worth. */
function clean(value: Metric['value']): Metric['value'] {
  if (typeof value !== 'number') return value
  return Number.isFinite(value) ? Number(value.toPrecision(10)) : null
}

/** The rows of the report's table. */
export function tableRows(metrics: readonly Metric[]): { label: string; value: string; alarm: boolean }[] {
  return metrics.flatMap(({ label, value, unit, digits, alarm }) => {
    if (label === undefined) return []
    const number = typeof value === 'number' && Number.isFinite(value) ? format(value, digits) : undefined
    const shown = number ?? (typeof value === 'string' ? value : 'n/a')
    const suffix = unit === undefined || shown === 'n/a' ? '' : unit === '%' ? ' %' : ` ${unit}`
    return [{ label, value: `${shown}${suffix}`, alarm: alarm === true }]
  })
}

function format(value: number, digits: number | undefined): string {
  if (digits !== undefined) return value.toFixed(digits)
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)))
}

/** `DEMO / sub-01 / ses-1 / scan 3` of `DEMO/sub-01/ses-1/scans/3:NIFTI`. */
export function readableRef(ref: string): string {
  return ref
    .replace(/:[^:/]*$/, '')
    .replace(/\/(scan|assessor)s\//, '/$1 ')
    .split('/')
    .join(' / ')
}
