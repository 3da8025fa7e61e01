/** Where things lie in the folder. All paths here are relative to the root, with `/` between parts. */

import { createHash } from 'node:crypto'
import { checkLabel, formatResourceRef, type ArchiveRef, type ResourceRef } from '@orbweaver/core'

export const DATABASE = 'archive.db'
export const STAGING = '.staging'

/**
 * The folder of a node: `projects/P/subjects/S/sessions/E/scans/N`, `…/assessors/A`. Names of our own stand between the
 * labels, so no label can be taken for one.
 */
export function nodeFolder(ref: ArchiveRef): string {
  const parts = ['projects', ref.project]
  if (ref.subject !== undefined) parts.push('subjects', ref.subject)
  if (ref.session !== undefined) parts.push('sessions', ref.session)
  if (ref.scan !== undefined) parts.push('scans', ref.scan)
  if (ref.assessor !== undefined) parts.push('assessors', ref.assessor)
  return parts.join('/')
}

/** Scans and assessors hold their resources directly; the other levels in a folder `resources`. */
export function resourceFolder(ref: ResourceRef): string {
  const { node } = ref
  const direct = node.scan !== undefined || node.assessor !== undefined
  return [nodeFolder(node), ...(direct ? [] : ['resources']), ref.resource].join('/')
}

/** The same for any two processes: names the staging folder in which an interrupted upload is found again. */
export function resourceKey(ref: ResourceRef): string {
  return createHash('sha256').update(formatResourceRef(ref)).digest('hex').slice(0, 16)
}

/**
 * Check the shape and every label of a reference.
 *
 * @throws TypeError a level is given without the one above it: a mistake of the caller
 * @throws InputError a label that cannot be used
 */
export function checkRef(ref: ArchiveRef): void {
  if (ref.session !== undefined && ref.subject === undefined) {
    throw new TypeError('A reference to a session names its subject too.')
  }
  if (ref.scan !== undefined && ref.session === undefined) {
    throw new TypeError('A reference to a scan names its session too.')
  }
  if (ref.scan !== undefined && ref.assessor !== undefined) {
    throw new TypeError('A reference names a scan or an assessor, not both.')
  }
  for (const level of ['project', 'subject', 'session', 'scan', 'assessor'] as const) {
    const label = ref[level]
    if (label !== undefined) checkLabel(label, `The ${level} label`)
  }
}

export function checkResourceRef(ref: ResourceRef): void {
  checkRef(ref.node)
  checkLabel(ref.resource, 'The resource label')
}

/** What an assessor hangs on: a session, a subject or a project. */
export function parentOfAssessor(ref: ArchiveRef): ArchiveRef {
  const { project, subject, session } = ref
  return { project, ...(subject !== undefined && { subject }), ...(session !== undefined && { session }) }
}
