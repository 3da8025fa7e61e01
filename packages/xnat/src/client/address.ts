/** Places in an XNAT as typed addresses, and their paths in its REST API. */

import { InputError, checkFilePath, checkLabel, printable } from '@orbweaver/core'

/** By labels, from the project down. Works without knowing any of XNAT's own ids. */
export interface LabelAddress {
  readonly project: string
  readonly subject?: string
  /** An experiment of the subject. */
  readonly session?: string
  readonly scan?: string
  readonly assessor?: string
}

/** By XNAT's id of the experiment (`XNAT_E00012`): shorter, and survives a rename. */
export interface ExperimentAddress {
  readonly experiment: string
  readonly scan?: string
  readonly assessor?: string
}

export type XnatAddress = LabelAddress | ExperimentAddress

/** A labelled folder of files at a place. Those of an assessor are its results (`out`), unless `io` says otherwise. */
export interface ResourceAddress {
  readonly node: XnatAddress
  readonly resource: string
  readonly io?: 'in' | 'out'
}

/** @throws InputError a label that cannot be part of a path */
export function nodePath(address: XnatAddress): string {
  const parts: string[] = []
  if ('experiment' in address) parts.push('experiments', checked(address.experiment, 'experiment'))
  else {
    const { project, subject, session } = address
    parts.push('projects', checked(project, 'project'))
    if (session !== undefined && subject === undefined)
      throw new TypeError('An address of a session names its subject too.')
    if (subject !== undefined) parts.push('subjects', checked(subject, 'subject'))
    if (session !== undefined) parts.push('experiments', checked(session, 'session'))
  }
  const { scan, assessor } = address
  if (scan !== undefined && assessor !== undefined)
    throw new TypeError('An address names a scan or an assessor, not both.')
  if ((scan ?? assessor) !== undefined && parts.length !== 2 + ('experiment' in address ? 0 : 4))
    throw new TypeError('An address of a scan or assessor names its session too.')
  if (scan !== undefined) parts.push('scans', checked(scan, 'scan'))
  if (assessor !== undefined) parts.push('assessors', checked(assessor, 'assessor'))
  return `/data/${parts.map(encodeURIComponent).join('/')}`
}

/** Path of the list of resources of a place. */
export function resourcesPath(node: XnatAddress, io: 'in' | 'out' = 'out'): string {
  return `${nodePath(node)}${node.assessor === undefined ? '' : `/${io}`}/resources`
}

export function resourcePath({ node, resource, io }: ResourceAddress): string {
  return `${resourcesPath(node, io)}/${encodeURIComponent(checked(resource, 'resource'))}`
}

/** Each part encoded alone; XNAT decodes once, and refuses `%2F`. */
export function filePath(address: ResourceAddress, path: string): string {
  return `${resourcePath(address)}/files/${checkFilePath(path).split('/').map(encodeURIComponent).join('/')}`
}

function checked(label: string, what: string): string {
  return checkLabel(label, `The ${what} label`)
}

/**
 * Labels of what is made must be letters, digits, `-` and `_`: XNAT answers others with an error page, and some only after
 * half of the work.
 *
 * @throws InputError
 */
export function checkNewLabel(label: string, what: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]*$/.test(checkLabel(label, `The ${what} label`))) return label
  throw new InputError(
    `The ${what} label ${printable(label)} cannot be made in XNAT: it takes letters, digits, - and _ only.`,
    { details: { what, label: printable(label) }, hint: 'Choose another label.' },
  )
}

/**
 * Resources may have dots and blanks as well. A number would be taken for an id of XNAT's own.
 *
 * @throws InputError
 */
export function checkNewResource(label: string): string {
  checkLabel(label, 'The resource label')
  if (/^\d+$/.test(label)) {
    throw new InputError(`The resource label ${label} is a number: XNAT takes it for an id.`, {
      hint: 'Put a letter before it.',
    })
  }
  // Quotes reach XNAT's own SQL, commas separate several labels, a star means all of them.
  if (/^[\p{L}\p{N}_. ()+=@#&-]+$/u.test(label)) return label
  throw new InputError(`The resource label ${printable(label)} cannot be used in XNAT.`, {
    hint: 'It takes letters, digits, blanks and _ . - ( ) + = @ # &.',
  })
}
