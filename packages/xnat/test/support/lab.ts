/** A sandbox, a user who may work in the projects that are seeded, and ways to fill it as people would: over HTTP. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SeedProject, SeedResources } from '@orbweaver/core/testing'
import { XnatClient, XnatCredentials, XnatDataStore, type XnatAddress } from '@orbweaver/xnat'
import { startSandbox, type Sandbox, type SandboxOptions } from '@orbweaver/xnat-sandbox'

const USER = { name: 'pipeline', password: 'only-for-tests' }
/** Short, so that outages are over soon. */
const QUICK_RETRY = { tries: 3, firstDelayMs: 5, maxDelayMs: 20 }

export class XnatLab {
  readonly sandbox: Sandbox
  readonly admin: XnatClient
  readonly #folder: string
  readonly #stores: XnatDataStore[] = []

  private constructor(folder: string, sandbox: Sandbox) {
    this.#folder = folder
    this.sandbox = sandbox
    const { name, password } = sandbox.users.admin ?? { name: 'admin', password: '' }
    this.admin = new XnatClient({ url: sandbox.url, credentials: new XnatCredentials(name, password) })
  }

  static async start(options: Partial<SandboxOptions> = {}): Promise<XnatLab> {
    const folder = await mkdtemp(join(tmpdir(), 'orbweaver-xnat-test-'))
    const sandbox = await startSandbox({ directory: join(folder, 'archive'), users: [USER], ...options })
    return new XnatLab(folder, sandbox)
  }

  store(options: Partial<ConstructorParameters<typeof XnatDataStore>[0]> = {}): XnatDataStore {
    const store = new XnatDataStore({
      url: this.sandbox.url,
      credentials: new XnatCredentials(USER.name, USER.password),
      retry: QUICK_RETRY,
      ...options,
    })
    this.#stores.push(store)
    return store
  }

  client(options: Partial<ConstructorParameters<typeof XnatClient>[0]> = {}): XnatClient {
    return new XnatClient({
      url: this.sandbox.url,
      credentials: new XnatCredentials(USER.name, USER.password),
      retry: QUICK_RETRY,
      ...options,
    })
  }

  async seed(projects: readonly SeedProject[]): Promise<void> {
    for (const project of projects) await this.#seedProject(project)
  }

  async #seedProject({ label, hidden, subjects, resources }: SeedProject): Promise<void> {
    const { admin } = this
    const project = label
    await admin.send({ method: 'PUT', path: `/data/projects/${label}`, query: { accessibility: 'private' } })
    if (hidden !== true) {
      await admin.send({ method: 'PUT', path: `/data/projects/${label}/users/Owners/${USER.name}` })
    }
    await this.#fill({ project }, resources)
    for (const { label: subject, resources: own, sessions } of subjects ?? []) {
      await admin.putSubject({ project, subject })
      await this.#fill({ project, subject }, own)
      for (const { label: session, modality = 'MR', date, scans, ...rest } of sessions ?? []) {
        const kind = modality.toLowerCase()
        const place = { project, subject, session }
        await admin.putSession(place, `xnat:${kind}SessionData`, date === undefined ? {} : { date })
        await this.#fill(place, rest.resources)
        for (const { label: scan, type, quality = 'usable', description, resources: files } of scans ?? []) {
          const about = description === undefined ? {} : { series_description: description }
          // As a document: text in a request line would be stored with entities.
          const attributes = `ID="${escapeXml(scan)}" type="${escapeXml(type)}"`
          const inner = Object.entries({ quality, ...about }).map(
            ([name, value]) => `<xnat:${name}>${escapeXml(value)}</xnat:${name}>`,
          )
          await admin.putDocument(
            { ...place, scan },
            `<xnat:${kind.toUpperCase()}Scan xmlns:xnat="http://nrg.wustl.edu/xnat" ${attributes}>${inner.join('')}</xnat:${kind.toUpperCase()}Scan>`,
          )
          await this.#fill({ ...place, scan }, files)
        }
      }
    }
  }

  async #fill(node: XnatAddress, resources: SeedResources | undefined): Promise<void> {
    for (const [resource, files] of Object.entries(resources ?? {})) {
      for (const [path, content] of Object.entries(files)) {
        await this.admin.uploadFile({ node, resource }, path, Buffer.from(content).toString('utf8'), {
          overwrite: true,
        })
      }
    }
  }

  async stop(): Promise<void> {
    for (const store of this.#stores) await store.close()
    await this.admin.close()
    await this.sandbox.close()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
