/** XNAT's REST API as typed calls, for scripts and for the data store. */

import type { Readable } from 'node:stream'
import { InputError, type CallOptions } from '@orbweaver/core'
import {
  checkNewLabel,
  checkNewResource,
  filePath,
  nodePath,
  resourcePath,
  resourcesPath,
  type LabelAddress,
  type ResourceAddress,
  type XnatAddress,
} from './address.js'
import { duplicatesIn, idIn, parseJson, tokenIn, tokensIn, type AliasToken } from './answers.js'
import { findCredentials, type XnatCredentials } from './credentials.js'
import { XnatHttp } from './http.js'
import { toItem, type XnatItem } from './item.js'
import { toFile, toResource, type XnatFile, type XnatResource } from './listed.js'
import { oneAtATime } from './lock.js'
import type { BodySource, XnatHttpOptions, XnatRequest } from './request.js'
import { readResultSet, readTable, type XnatRow } from './result-set.js'

export interface XnatClientOptions extends Omit<XnatHttpOptions, 'credentials'> {
  /** Default: {@link findCredentials} for the URL. */
  readonly credentials?: XnatCredentials
}

/** Which rows, and which columns. */
export interface ListOptions extends CallOptions {
  /**
   * Shortcuts (`label`, `subject_label`, `date`, …) or field paths (`xnat:imageScanData/type`). A path to something of which
   * there may be several gives one row for each. Default: the server's own choice.
   */
  readonly columns?: readonly string[]
  /** Only this type and its subtypes, as `xnat:mrSessionData`. */
  readonly xsiType?: string
  /** Filters by shortcut or field path; `,` means or, `*` stands for anything. */
  readonly where?: Readonly<Record<string, string>>
}

export interface UploadFileOptions extends CallOptions {
  /** Replace a file of this name. Default: false; the file is then told in `duplicates`. */
  readonly overwrite?: boolean
  /** The body is a zip: XNAT puts its members into the resource, below `path`'s folder. */
  readonly extract?: boolean
  readonly format?: string
  readonly content?: string
  readonly tags?: string
  readonly description?: string
  /** `false`: leave counters and event entries out; faster for bulk loads. Default: true. */
  readonly updateStats?: boolean
  readonly contentType?: string
}

/**
 * A client of one XNAT. Logs in at the first request and keeps the session; call {@link close} at the end, which logs out.
 *
 * Every method may throw: {@link AccessDeniedError} (login refused, or a right is missing), {@link NotFoundError} (missing or
 * hidden), {@link ConflictError}, {@link InputError} (the server does not take the request), {@link StoreUnavailableError}
 * (no answer after several tries), {@link StoreProtocolError} (an answer that is not XNAT's).
 */
export class XnatClient {
  /** Without a slash at the end. */
  readonly url: string
  readonly #http: XnatHttp

  constructor(options: XnatClientOptions) {
    const { credentials, ...rest } = options
    this.#http = new XnatHttp({ ...rest, credentials: credentials ?? (() => findCredentials(options.url)) })
    this.url = this.#http.url
  }

  /** Requests sent so far, logins included. */
  get requests(): number {
    return this.#http.requests
  }

  /** Log in now. @returns the user's name */
  async login(options: CallOptions = {}): Promise<string> {
    return await this.#http.login(options)
  }

  /** Log out. The client is of no more use afterwards. */
  async close(): Promise<void> {
    await this.#http.close()
  }

  // ---------------------------------------------------------------- any request

  /** A request of your own; the answer's text. Good statuses are 2xx and those in `also`. */
  async send(request: XnatRequest): Promise<{ readonly status: number; readonly text: string }> {
    return await this.#http.text(request)
  }

  /** A request of your own; the answer's body as it comes. */
  async open(request: XnatRequest): Promise<Readable> {
    return (await this.#http.stream(request)).body
  }

  /** The rows of a table as they come; not repeated when it breaks off. Keys are in lower case. */
  async *rows(
    path: string,
    query: XnatRequest['query'] = {},
    options: CallOptions = {},
  ): AsyncGenerator<XnatRow> {
    const request: XnatRequest = { method: 'GET', path, query: { format: 'json', ...query }, ...options }
    const { body } = await this.#http.stream(request)
    try {
      yield* readResultSet(body)
    } catch (error) {
      throw this.#http.bodyError(error, request)
    }
  }

  /** A whole table. */
  async table(path: string, query: XnatRequest['query'] = {}, options: CallOptions = {}): Promise<XnatRow[]> {
    const request: XnatRequest = { method: 'GET', path, query: { format: 'json', ...query }, ...options }
    return readTable((await this.#http.text(request)).text)
  }

  // ---------------------------------------------------------------- the tree

  async projects(options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table('/data/projects', listQuery(options), options)
  }

  async subjects(project: string, options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table(`${nodePath({ project })}/subjects`, listQuery(options), options)
  }

  /** Sessions and other experiments of a project or subject; without `xsiType` assessors are left out. */
  async experiments(of: LabelAddress, options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table(`${nodePath(of)}/experiments`, listQuery(options), options)
  }

  /** Experiments of all projects, assessors included; narrow it with `where: { project }` and `xsiType`. */
  async allExperiments(options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table('/data/experiments', listQuery(options), options)
  }

  async scans(session: XnatAddress, options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table(`${nodePath(session)}/scans`, listQuery(options), options)
  }

  async assessors(session: XnatAddress, options: ListOptions = {}): Promise<XnatRow[]> {
    return await this.table(`${nodePath(session)}/assessors`, listQuery(options), options)
  }

  /** One project, subject, experiment, scan or assessor with all its fields. @throws NotFoundError */
  async item(address: XnatAddress, options: CallOptions = {}): Promise<XnatItem> {
    const path = nodePath(address)
    const { text } = await this.send({ method: 'GET', path, query: { format: 'json' }, ...options })
    return toItem(text, path)
  }

  /** Make a subject, or find it. @returns XNAT's id */
  async putSubject(
    address: { readonly project: string; readonly subject: string },
    fields: Readonly<Record<string, string>> = {},
    options: CallOptions = {},
  ): Promise<string> {
    checkNewLabel(address.subject, 'subject')
    return await this.#put(nodePath(address), fields, options)
  }

  /** Make a session, or find it; the subject is made too where that is missing. @returns XNAT's id */
  async putSession(
    address: { readonly project: string; readonly subject: string; readonly session: string },
    xsiType: string,
    fields: Readonly<Record<string, string>> = {},
    options: CallOptions = {},
  ): Promise<string> {
    checkNewLabel(address.session, 'session')
    return await this.#put(nodePath(address), { xsiType, ...fields }, options)
  }

  /** Make a scan, or change it. */
  async putScan(
    address: XnatAddress & { readonly scan: string },
    xsiType: string,
    fields: Readonly<Record<string, string>> = {},
    options: CallOptions = {},
  ): Promise<void> {
    checkNewLabel(address.scan, 'scan')
    await this.#put(nodePath(address), { xsiType, ...fields }, options)
  }

  /**
   * Change fields of something that is there, by shortcut or field path. Text with `& < > "` is stored by XNAT with
   * entities; send a document with {@link putDocument} where that matters.
   */
  async setFields(
    address: XnatAddress,
    xsiType: string,
    fields: Readonly<Record<string, string>>,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#put(nodePath(address), { xsiType, ...fields }, options)
  }

  /** Change something that is there by an XML document; what it does not name stays. @returns XNAT's id */
  async putDocument(address: XnatAddress, xml: string, options: CallOptions = {}): Promise<string> {
    const { text } = await this.send({
      method: 'PUT',
      path: nodePath(address),
      body: xml,
      contentType: 'text/xml; charset=utf-8',
      ...options,
    })
    return idIn(text)
  }

  /**
   * Make an assessor from an XML document; exactly one of several that try makes it. Not repeated: after a
   * {@link StoreUnavailableError} look whether it is there.
   *
   * @returns XNAT's id
   * @throws ConflictError it is there already, and is not changed
   */
  async createAssessor(session: XnatAddress, xml: string, options: CallOptions = {}): Promise<string> {
    const { text } = await this.send({
      method: 'POST',
      path: `${nodePath(session)}/assessors`,
      body: xml,
      contentType: 'text/xml; charset=utf-8',
      ...options,
    })
    return idIn(text.trim().replace(/^.*\//, ''))
  }

  /** Remove something with its files. Gone already is no error. @throws AccessDeniedError usually only owners may */
  async remove(address: XnatAddress, options: CallOptions = {}): Promise<void> {
    const query = { removeFiles: true }
    await this.send({ method: 'DELETE', path: nodePath(address), query, also: [404], ...options })
  }

  async #put(path: string, fields: Readonly<Record<string, string>>, options: CallOptions): Promise<string> {
    const query = new URLSearchParams(Object.entries(fields)).toString()
    if (query.length > 6000) {
      throw new InputError('These fields are too long for a request line: send them as a document.')
    }
    const { text } = await this.send({ method: 'PUT', path, query: fields, ...options })
    return idIn(text)
  }

  // ---------------------------------------------------------------- resources and files

  /**
   * @param options - `all`: of a session, also those of its scans and assessors
   */
  async resources(
    node: XnatAddress,
    options: CallOptions & { readonly all?: boolean; readonly io?: 'in' | 'out' } = {},
  ): Promise<XnatResource[]> {
    const { all, io, ...call } = options
    const rows = await this.table(resourcesPath(node, io), all === true ? { all } : {}, call)
    return rows.map(toResource)
  }

  /** Make an empty resource. There already is no error. */
  async createResource(
    address: ResourceAddress,
    about: { readonly format?: string; readonly content?: string; readonly description?: string } = {},
    options: CallOptions = {},
  ): Promise<void> {
    checkNewResource(address.resource)
    const path = resourcePath(address)
    await this.#serial(address, options, () =>
      this.send({ method: 'PUT', path, query: { ...about }, also: [409], ...options }),
    )
  }

  /** Remove a resource with its files. Gone already is no error. */
  async deleteResource(address: ResourceAddress, options: CallOptions = {}): Promise<void> {
    const path = resourcePath(address)
    await this.#serial(address, options, () =>
      this.send({ method: 'DELETE', path, query: { removeFiles: true }, also: [404], ...options }),
    )
  }

  /** Files of a resource. XNAT answers an empty list for a resource that is not there. */
  async files(address: ResourceAddress, options: CallOptions = {}): Promise<XnatFile[]> {
    return (await this.table(`${resourcePath(address)}/files`, {}, options)).map(toFile)
  }

  /** Files of several resources of one place. Those that are not there have none. */
  async filesOfSeveral(
    node: XnatAddress,
    resources: readonly string[],
    options: CallOptions = {},
  ): Promise<XnatFile[]> {
    const labels = resources.map((label) => encodeURIComponent(checkNewResource(label))).join(',')
    return (await this.table(`${resourcesPath(node)}/${labels}/files`, {}, options)).map(toFile)
  }

  /** One file's content as it comes; nothing is checked. @throws NotFoundError */
  async openFile(address: ResourceAddress, path: string, options: CallOptions = {}): Promise<Readable> {
    return await this.open({ method: 'GET', path: filePath(address, path), ...options })
  }

  /** All files of a resource as one zip archive, as it comes. @throws NotFoundError none, or empty */
  async openZip(address: ResourceAddress, options: CallOptions = {}): Promise<Readable> {
    const path = `${resourcePath(address)}/files`
    return await this.open({ method: 'GET', path, query: { format: 'zip' }, ...options })
  }

  /**
   * Send one file, or a zip to be unpacked; never two at once into one resource. XNAT answers 200 even when it stored nothing
   * for want of a right: list the files afterwards.
   *
   * @param body - must not be empty unless it is a zip
   * @returns paths that were there already and were not written
   */
  async uploadFile(
    address: ResourceAddress,
    path: string,
    body: BodySource | string | Uint8Array,
    options: UploadFileOptions = {},
  ): Promise<readonly string[]> {
    const { overwrite, extract, format, content, tags, description, updateStats, contentType, signal } =
      options
    checkNewResource(address.resource)
    const call = signal === undefined ? {} : { signal }
    return await this.#serial(address, call, async () => {
      const { text } = await this.send({
        method: 'PUT',
        path: filePath(address, path),
        query: {
          inbody: true,
          overwrite,
          extract,
          format,
          content,
          tags,
          description,
          ...(updateStats === false && { 'update-stats': false }),
        },
        contentType: contentType ?? (extract === true ? 'application/zip' : 'application/octet-stream'),
        body,
        // Without `overwrite` a second try would find the first one's file and call it a duplicate.
        repeat: overwrite === true ? 'safe' : 'once',
        ...call,
      })
      return duplicatesIn(text)
    })
  }

  /**
   * Remove a file. XNAT removes **every** file whose path begins with the one given: `a` takes `a.txt` and `ab/c` with it.
   * Gone already is no error.
   */
  async deleteFile(address: ResourceAddress, path: string, options: CallOptions = {}): Promise<void> {
    const at = filePath(address, path)
    await this.#serial(address, options, () =>
      this.send({ method: 'DELETE', path: at, also: [404], ...options }),
    )
  }

  async #serial<T>(address: ResourceAddress, options: CallOptions, work: () => Promise<T>): Promise<T> {
    return await oneAtATime(`${this.url}${resourcePath(address)}`, work, options)
  }

  // ---------------------------------------------------------------- the site

  /** Data types of the site, as `xnat:mrSessionData`. */
  async dataTypes(options: CallOptions = {}): Promise<ReadonlySet<string>> {
    const rows = await this.table('/data/search/elements', {}, options)
    return new Set(rows.map((row) => row.element_name ?? '').filter((name) => name !== ''))
  }

  /** A search by a document (`xdat:bundle`). */
  async search(xml: string, options: CallOptions = {}): Promise<XnatRow[]> {
    const request: XnatRequest = {
      method: 'POST',
      path: '/data/search',
      query: { format: 'json' },
      body: xml,
      contentType: 'text/xml; charset=utf-8',
      repeat: 'safe',
      ...options,
    }
    return readTable((await this.send(request)).text)
  }

  /** `version`, `buildDate` and others. */
  async buildInfo(options: CallOptions = {}): Promise<Readonly<Record<string, string>>> {
    const { text } = await this.send({ method: 'GET', path: '/xapi/siteConfig/buildInfo', ...options })
    const found = parseJson(text, '/xapi/siteConfig/buildInfo')
    return Object.fromEntries(Object.entries(found).map(([key, value]) => [key, String(value)]))
  }

  /** A name and secret that stand for this user for two days (the site's setting): what a pipeline should carry. */
  async issueToken(options: CallOptions = {}): Promise<AliasToken> {
    const path = '/data/services/tokens/issue'
    const { text } = await this.send({ method: 'GET', path, repeat: 'once', ...options })
    return tokenIn(text, path)
  }

  /** Aliases of this user's tokens, without their secrets. */
  async tokens(options: CallOptions = {}): Promise<readonly Omit<AliasToken, 'secret'>[]> {
    const path = '/data/services/tokens/show'
    const { text } = await this.send({ method: 'GET', path, ...options })
    return tokensIn(text)
  }

  async invalidateToken(alias: string, options: CallOptions = {}): Promise<void> {
    const path = `/data/services/tokens/invalidate/${encodeURIComponent(alias)}`
    await this.send({ method: 'GET', path, ...options })
  }
}

function listQuery({ columns, xsiType, where }: ListOptions): XnatRequest['query'] {
  return { xsiType, columns: columns?.join(','), ...where }
}
