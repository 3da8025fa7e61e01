/** The field `inputs` of processing results: written in DAX's form, and read from what DAX wrote. */

import type { ArchiveRef, TaskRecord } from '@orbweaver/core'
import { unescapeHtml } from '../client/replies.js'

/** The field's own limit. */
const MAX_BYTES = 10_000

/** What an assessor was made from, by input name. */
export type NamedInputs = Readonly<Record<string, readonly ArchiveRef[]>>

/** Input name → path, or a list of paths. Undefined: too long for the field. */
export function formatDaxInputs(record: TaskRecord): string | undefined {
  const paths = record.inputs.flatMap(({ name, sources }) => {
    const all = sources.map(({ node }) => daxPath(node))
    const [first] = all
    return first === undefined ? [] : [[name, all.length === 1 ? first : all] as const]
  })
  const text = JSON.stringify(Object.fromEntries(paths))
  return text.length <= MAX_BYTES ? text : undefined
}

function daxPath({ project, subject, session, scan, assessor }: ArchiveRef): string {
  return [
    `/projects/${project}`,
    subject === undefined ? '' : `/subjects/${subject}`,
    session === undefined ? '' : `/experiments/${session}`,
    scan === undefined ? '' : `/scans/${scan}`,
    assessor === undefined ? '' : `/assessors/${assessor}`,
  ].join('')
}

/** Empty: nothing is said, or nothing that can be read. DAX sends the field in the request line, so it is stored with entities. */
export function readDaxInputs(text: string): NamedInputs {
  if (text.trim() === '') return {}
  for (const candidate of [text, unescapeHtml(text)]) {
    let value: unknown
    try {
      value = JSON.parse(candidate)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      continue
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return {}
    const inputs = Object.entries(value).flatMap(([name, paths]) => {
      const list: readonly unknown[] = Array.isArray(paths) ? paths : [paths]
      const refs = list.filter((path) => typeof path === 'string').map(refOf)
      return refs.length === 0 ? [] : [[name, refs] as const]
    })
    return Object.fromEntries(inputs)
  }
  return {}
}

const PATH =
  /^(?:\/data)?(?:\/archive)?\/projects\/([^/]+)(?:\/subjects\/([^/]+)(?:\/experiments\/([^/]+)(?:\/(scans|assessors)\/([^/]+))?)?)?\/?$/

/** A path of another form becomes a reference that nothing is equal to. */
function refOf(path: string): ArchiveRef {
  const [, project, subject, session, kind, label] = PATH.exec(path) ?? []
  if (project === undefined) return { project: '', assessor: path }
  return {
    project,
    ...(subject !== undefined && { subject }),
    ...(session !== undefined && { session }),
    ...(label !== undefined && (kind === 'scans' ? { scan: label } : { assessor: label })),
  }
}

/**
 * Scans of the session an assessor was made from. Before DAX kept inputs, the label told the scan:
 * `PROJECT-x-SUBJECT-x-SESSION-x-SCAN-x-PROCTYPE`.
 */
export function scansOf(
  inputs: NamedInputs,
  {
    session,
    label,
    procType,
  }: { readonly session: string; readonly label: string; readonly procType: string },
): readonly string[] | undefined {
  const scans = Object.values(inputs).flatMap((refs) =>
    refs.flatMap((ref) => (ref.session === session && ref.scan !== undefined ? [ref.scan] : [])),
  )
  if (scans.length > 0) return [...new Set(scans)]
  const parts = label.split('-x-')
  const scan = parts[3]
  const isOld = Object.keys(inputs).length === 0 && parts.length === 5 && parts[4] === procType
  return isOld && scan !== undefined && scan !== '' ? [scan] : undefined
}
