/** From the labels of the port to XNAT's addresses: session ids are looked up once and remembered. */

import {
  InputError,
  NotFoundError,
  checkLabel,
  formatRef,
  printable,
  type ArchiveRef,
  type CallOptions,
  type ResourceRef,
} from '@orbweaver/core'
import { abortable } from '../client/abort.js'
import type { ResourceAddress, XnatAddress } from '../client/address.js'
import type { XnatClient } from '../client/client.js'

export type AssessorRef = ArchiveRef & { readonly assessor: string }
export type SessionRef = ArchiveRef & { readonly subject: string; readonly session: string }

/** Results that hang on a subject or project lie in a resource of it for each of theirs: `LABEL-x-PDF`. */
export const JOINT = '-x-'
const REMEMBERED = 20_000
/** After so many subjects of a project one listing of all its sessions is cheaper than to go on one by one. */
const SINGLE_LOOKS = 8

/**
 * Check the shape and every label of a reference.
 *
 * @throws TypeError a level is given without the one above it: a mistake of the caller
 * @throws InputError a label that cannot be used
 */
export function checkRef(ref: ArchiveRef): void {
  if (ref.session !== undefined && ref.subject === undefined)
    throw new TypeError('A reference to a session names its subject too.')
  if (ref.scan !== undefined && ref.session === undefined)
    throw new TypeError('A reference to a scan names its session too.')
  if (ref.scan !== undefined && ref.assessor !== undefined)
    throw new TypeError('A reference names a scan or an assessor, not both.')
  for (const level of ['project', 'subject', 'session', 'scan', 'assessor'] as const) {
    const label = ref[level]
    if (label !== undefined) checkLabel(label, `The ${level} label`)
  }
  // Filters of XNAT's listings read these as "or" and as wildcards.
  if (/[,*%]/.test(ref.project)) {
    throw new InputError(`The project label ${printable(ref.project)} cannot be used: it holds a wildcard.`)
  }
}

export function checkResourceRef(ref: ResourceRef): void {
  checkRef(ref.node)
  checkLabel(ref.resource, 'The resource label')
}

/** @throws TypeError it names no assessor */
export function assessorRef(ref: ArchiveRef): AssessorRef {
  checkRef(ref)
  const { assessor } = ref
  if (assessor === undefined) throw new TypeError(`${printable(formatRef(ref))} names no assessor.`)
  return { ...ref, assessor }
}

export function isOnSession(ref: ArchiveRef): ref is SessionRef {
  return ref.subject !== undefined && ref.session !== undefined
}

export function missing(ref: ArchiveRef): NotFoundError {
  return new NotFoundError(`${printable(formatRef(ref))} is not in the archive.`, {
    details: { ref: formatRef(ref) },
    hint: 'It does not exist, or this user may not see it; XNAT does not tell which.',
  })
}

const SESSION_COLUMNS = ['ID', 'label', 'subject_label', 'xsiType']

/** Session ids by labels. An id that turns out to be gone is forgotten and looked up again. */
export class Places {
  readonly #client: XnatClient
  readonly #ids = new Map<string, string>()
  /** By project: subjects that were asked for. */
  readonly #looks = new Map<string, number>()
  /** By project: the one listing of all, which serves everybody. */
  readonly #wholes = new Map<string, Promise<void>>()

  constructor(client: XnatClient) {
    this.#client = client
  }

  remember(ref: SessionRef, id: string): void {
    const key = keyOf(ref)
    this.#ids.delete(key)
    this.#ids.set(key, id)
    if (this.#ids.size <= REMEMBERED) return
    const [oldest] = this.#ids.keys()
    if (oldest !== undefined) this.#ids.delete(oldest)
  }

  /** @throws NotFoundError */
  async sessionId(ref: SessionRef, options: CallOptions): Promise<string> {
    const known = this.#ids.get(keyOf(ref))
    if (known !== undefined) return known
    const { project, subject, session } = ref
    const looks = (this.#looks.get(project) ?? 0) + 1
    this.#looks.set(project, looks)
    if (looks > SINGLE_LOOKS) {
      await this.#wholeProject(project, options).catch((error: unknown) => {
        if (!(error instanceof NotFoundError)) throw error
      })
      const listed = this.#ids.get(keyOf(ref))
      if (listed !== undefined) return listed
    }
    const rows = await this.#client
      .experiments({ project, subject }, { columns: SESSION_COLUMNS, ...options })
      .catch((error: unknown) => {
        throw error instanceof NotFoundError ? missing({ project, subject, session }) : error
      })
    for (const { id = '', label = '' } of rows) {
      if (id !== '' && label !== '') this.remember({ project, subject, session: label }, id)
    }
    const found = this.#ids.get(keyOf(ref))
    if (found === undefined || !rows.some(({ label }) => label === session)) {
      throw missing({ project, subject, session })
    }
    return found
  }

  /** Once for each project; what is missing afterwards is asked for alone. */
  async #wholeProject(project: string, { signal }: CallOptions): Promise<void> {
    let whole = this.#wholes.get(project)
    if (whole === undefined) {
      whole = this.#listSessions(project)
      this.#wholes.set(project, whole)
      whole.catch(() => this.#wholes.delete(project))
    }
    await abortable(whole, signal)
  }

  async #listSessions(project: string): Promise<void> {
    const rows = await this.#client.experiments({ project }, { columns: SESSION_COLUMNS })
    for (const { id = '', label = '', subject_label: subject = '' } of rows) {
      if (id !== '' && label !== '' && subject !== '') this.remember({ project, subject, session: label }, id)
    }
  }

  /** Runs `work` with the session's id; once more with a fresh one when it turns out to be gone. */
  async inSession<T>(ref: SessionRef, options: CallOptions, work: (id: string) => Promise<T>): Promise<T> {
    const known = this.#ids.has(keyOf(ref))
    const id = await this.sessionId(ref, options)
    try {
      return await work(id)
    } catch (error) {
      if (!known || !(error instanceof NotFoundError)) throw error
      this.#ids.delete(keyOf(ref))
      const again = await this.sessionId(ref, options)
      if (again === id) throw error
      return await work(again)
    }
  }

  /** Where a node's resources are; not of results on subjects and projects, which keep them in several ways. */
  async resource({ node, resource }: ResourceRef, options: CallOptions): Promise<ResourceAddress> {
    if (isOnSession(node)) {
      const experiment = await this.sessionId(node, options)
      const { scan, assessor } = node
      const address: XnatAddress = {
        experiment,
        ...(scan !== undefined && { scan }),
        ...(assessor !== undefined && { assessor }),
      }
      return { node: address, resource }
    }
    const { project, subject } = node
    return { node: { project, ...(subject !== undefined && { subject }) }, resource }
  }
}

function keyOf({ project, subject, session }: SessionRef): string {
  return `${project}/${subject}/${session}`
}
