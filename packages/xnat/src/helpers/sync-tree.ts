/** The two trees of a sync: a folder of this machine, and a place in XNAT with what is below it. */

import { lstat, opendir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  InputError,
  NotFoundError,
  checkLabel,
  filePathProblem,
  printable,
  systemErrorCode,
  type CallOptions,
} from '@orbweaver/core'
import type { LabelAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'

/** A resource, and the folder below the sync's own that stands for it. */
export interface SyncResource {
  readonly node: LabelAddress
  readonly resource: string
  /** As `scans/4/resources/NIFTI`. */
  readonly folder: string
}

/** A name that is refused, and why. */
export interface Refused {
  readonly path: string
  readonly why: string
}

export interface LocalFile {
  readonly bytes: number
  readonly mtimeMs: number
  readonly ctimeMs: number
}

export interface LocalTree {
  readonly resources: ReadonlyMap<string, SyncResource>
  /** By path below the sync's folder. */
  readonly files: ReadonlyMap<string, LocalFile>
  /** Files of each resource, by its folder; paths below it. */
  readonly names: ReadonlyMap<string, readonly string[]>
  readonly refused: readonly Refused[]
}

export interface RemoteTree {
  readonly resources: ReadonlyMap<string, SyncResource>
  readonly refused: readonly Refused[]
}

export const MANIFEST = '.orbweaver-sync.json'
const PART_FILE = /^\.orbweaver-[0-9a-f]{16}\.part$/

/** Folder of a level → the label it gives, by what the node is already. */
function below(node: LabelAddress): Readonly<Record<string, 'subject' | 'session' | 'scan' | 'assessor'>> {
  if (node.scan !== undefined || node.assessor !== undefined) return {}
  if (node.session !== undefined) return { scans: 'scan', assessors: 'assessor' }
  if (node.subject !== undefined) return { sessions: 'session' }
  return { subjects: 'subject' }
}

/** Which place and resource a path below the folder belongs to; the reason where it belongs to none. */
function resourceOf(top: LabelAddress, parts: readonly string[]): SyncResource | string {
  let node = top
  for (let at = 0; at + 1 < parts.length; at += 2) {
    const [word = '', label = ''] = [parts[at], parts[at + 1]]
    const problem = labelIssue(label)
    if (problem !== undefined) return problem
    if (word === 'resources') {
      if (at + 2 >= parts.length) return 'it lies beside the resources'
      return { node, resource: label, folder: parts.slice(0, at + 2).join('/') }
    }
    const level = below(node)[word]
    if (level === undefined) return `"${word}" is no folder of this level`
    node = { ...node, [level]: label }
  }
  return 'it lies in no resource'
}

function labelIssue(label: string): string | undefined {
  try {
    checkLabel(label, 'The label')
    return undefined
  } catch (error) {
    if (error instanceof InputError) return error.message
    throw error
  }
}

/** Undefined: not there. */
export async function statLocal(path: string): Promise<LocalFile | undefined> {
  try {
    const { size, mtimeMs, ctimeMs } = await lstat(path)
    return { bytes: size, mtimeMs, ctimeMs }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Everything below a folder; links and other things that are no plain files are refused, never followed. */
export async function scanLocal(
  root: string,
  top: LabelAddress,
  wanted: (resource: SyncResource) => boolean,
  options: CallOptions,
): Promise<LocalTree> {
  const resources = new Map<string, SyncResource>()
  const files = new Map<string, LocalFile>()
  const names = new Map<string, string[]>()
  const refused: Refused[] = []
  const visit = async (parts: readonly string[]): Promise<void> => {
    options.signal?.throwIfAborted()
    for await (const entry of await opendir(join(root, ...parts))) {
      if (PART_FILE.test(entry.name) || (parts.length === 0 && entry.name === MANIFEST)) continue
      const inner = [...parts, entry.name]
      const path = inner.join('/')
      if (entry.isDirectory()) {
        await visit(inner)
        continue
      }
      if (!entry.isFile()) {
        refused.push({ path, why: entry.isSymbolicLink() ? 'it is a link' : 'it is no plain file' })
        continue
      }
      const resource = resourceOf(top, inner)
      const problem =
        typeof resource === 'string' ? resource : filePathProblem(path.slice(resource.folder.length + 1))
      if (typeof resource === 'string' || problem !== undefined) {
        refused.push({ path, why: problem ?? '' })
        continue
      }
      if (!wanted(resource)) continue
      resources.set(resource.folder, resource)
      const file = await statLocal(join(root, ...inner))
      if (file === undefined) continue
      files.set(path, file)
      const inResource = names.get(resource.folder) ?? []
      inResource.push(path.slice(resource.folder.length + 1))
      names.set(resource.folder, inResource)
    }
  }
  try {
    await visit([])
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
  }
  return { resources, files, names, refused }
}

/**
 * The resources of a place and of all that is below it. One request a project or subject, and two to three a session.
 *
 * @throws NotFoundError the place is not there, or hidden
 */
export async function scanRemote(
  client: XnatClient,
  top: LabelAddress,
  wanted: (resource: SyncResource) => boolean,
  options: CallOptions,
): Promise<RemoteTree> {
  const resources = new Map<string, SyncResource>()
  const refused: Refused[] = []
  const usable = (label: string, folder: string): boolean => {
    const why = labelIssue(label)
    if (why !== undefined) refused.push({ path: `${folder}/${printable(label)}`, why })
    return why === undefined
  }
  const add = (node: LabelAddress, folder: string, label: string): void => {
    if (!usable(label, folder)) return
    const resource = {
      node,
      resource: label,
      folder: `${folder === '' ? '' : `${folder}/`}resources/${label}`,
    }
    if (wanted(resource)) resources.set(resource.folder, resource)
  }
  const own = async (node: LabelAddress, folder: string): Promise<void> => {
    for (const { label } of await client.resources(node, options)) add(node, folder, label)
  }
  const session = async (node: LabelAddress, folder: string): Promise<void> => {
    const assessors = new Map<string, string>()
    for (const { id = '', label = '' } of await client.assessors(node, {
      columns: ['ID', 'label'],
      ...options,
    })) {
      assessors.set(id, label)
    }
    for (const one of await client.resources(node, { all: true, ...options })) {
      const at = (word: string, label: string): string =>
        `${folder === '' ? '' : `${folder}/`}${word}/${label}`
      if (one.category === 'scans') {
        if (usable(one.ownerId, folder))
          add({ ...node, scan: one.ownerId }, at('scans', one.ownerId), one.label)
      } else if (one.category === 'assessors') {
        const label = assessors.get(one.ownerId) ?? one.ownerId
        if (usable(label, folder)) add({ ...node, assessor: label }, at('assessors', label), one.label)
      } else if (one.category === 'resources' || one.category === '') add(node, folder, one.label)
    }
  }
  const subject = async (node: LabelAddress, folder: string): Promise<void> => {
    await own(node, folder)
    const rows = await client.experiments(node, { columns: ['ID', 'label', 'xsiType'], ...options })
    for (const { label = '' } of rows) {
      if (!usable(label, folder)) continue
      await session({ ...node, session: label }, `${folder === '' ? '' : `${folder}/`}sessions/${label}`)
    }
  }
  // XNAT answers an empty list for the resources of what is not there: see first that it is.
  await client.item(top, options).catch((error: unknown) => {
    if (!(error instanceof NotFoundError)) throw error
    throw new NotFoundError(`${describeAddress(top)} is not in the archive.`, {
      cause: error,
      hint: 'It does not exist, or this user may not see it; XNAT does not tell which.',
    })
  })
  if (top.scan !== undefined || top.assessor !== undefined) await own(top, '')
  else if (top.session !== undefined) await session(top, '')
  else if (top.subject !== undefined) await subject(top, '')
  else {
    await own(top, '')
    for (const { label = '' } of await client.subjects(top.project, {
      columns: ['ID', 'label'],
      ...options,
    })) {
      if (usable(label, '')) await subject({ ...top, subject: label }, `subjects/${label}`)
    }
  }
  return { resources, refused }
}

/** As `P/S/E/scan 4`. */
export function describeAddress({ project, subject, session, scan, assessor }: LabelAddress): string {
  const last = scan === undefined ? assessor : `scan ${scan}`
  return [project, subject, session, last].filter((part) => part !== undefined).join('/')
}
