/** Where the demo keeps images and results: a folder, or an XNAT that it starts when there is none at the address. */

import type { FolderStore } from '@orbweaver/adapter-local'
import {
  systemErrorCode,
  type ArchiveRef,
  type DataStore,
  type LoadedSite,
  type ResourceNode,
  type TaskView,
} from '@orbweaver/core'
import type { XnatConfig, XnatDataStore } from '@orbweaver/xnat'
import type { Sandbox } from '@orbweaver/xnat-sandbox'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { UsageError, shortPath } from './exit.js'
import { SAMPLE_PROJECT, importSample, withSample } from './sample.js'
import type { Session } from './session.js'
import { quoteForShell } from './terminal/shell.js'
import { count } from './terminal/text.js'
import { PASSWORDS, readPassword, writePasswords } from './xnat-passwords.js'

export interface DemoArchive {
  readonly store: DataStore
  /** Bring the sample images in, where that is due. @returns what there is to say about it */
  fill(): Promise<readonly string[]>
  /** Where the PDFs of complete tasks are, for people. */
  reports(views: readonly TaskView[]): Promise<readonly string[]>
  /** What has to be typed before other commands of the demo's folder work. */
  readonly before: readonly string[]
}

/** Of the sandbox, beside `admin`. */
const DEMO_USER = 'demo'
const SANDBOX_FOLDER = 'xnat-sandbox'

/** @throws UsageError the site keeps its images in an archive that the demo cannot fill */
export async function openDemoArchive(session: Session, directory: string): Promise<DemoArchive> {
  const site = await session.site()
  switch (site.store.use) {
    case 'folder':
      return await openFolder(session, site)
    case 'xnat':
      return await openXnat(session, site, directory)
    default:
      throw new UsageError(
        'The demo keeps its images in a folder archive or in an XNAT.',
        'Run it without --profile, or with --profile xnat.',
      )
  }
}

/** Made new for a new demo. */
async function openFolder(session: Session, site: LoadedSite): Promise<DemoArchive> {
  const { FolderStore } = await import('@orbweaver/adapter-local')
  const { path } = site.store.config as { readonly path: string }
  const made = await FolderStore.open({ path: resolve(site.directory, path), create: true })
  await made.addProject(SAMPLE_PROJECT)
  await made.close()
  const store = (await session.open()).store as FolderStore
  return {
    store,
    before: [],
    fill: () => importSample(session, store),
    async reports(views) {
      const found: string[] = []
      for (const { ref } of views) {
        const source = await store.source({ node: ref, resource: 'PDF' }, { signal: session.signal })
        for (const { path: file } of source.files) {
          const place = source.localPath(file)
          if (place !== undefined) found.push(shortPath(place, session.directory))
        }
      }
      return found
    },
  }
}

/**
 * The XNAT of the site. An address of this machine at which nothing listens becomes a sandbox, which ends with the demo
 * and keeps its data in the demo's folder.
 */
async function openXnat(session: Session, site: LoadedSite, directory: string): Promise<DemoArchive> {
  const config = site.store.config as XnatConfig
  const folder = join(directory, SANDBOX_FOLDER)
  const url = new URL(config.url)
  const isHere = url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  const sandbox = isHere && !(await listens(url)) ? await startDemoSandbox(session, folder, url) : undefined
  const password = isHere ? await readPassword(folder, DEMO_USER) : undefined
  if (password !== undefined) {
    const { XnatCredentials, XnatDataStore } = await import('@orbweaver/xnat')
    const { words, requests, idleTimeout } = config
    session.useStore(
      new XnatDataStore({
        url: config.url,
        words,
        requestLimit: requests,
        idleTimeoutMs: idleTimeout * 1000,
        credentials: new XnatCredentials(DEMO_USER, password, join(folder, PASSWORDS)),
      }),
    )
  }
  const { store } = await session.open()
  return {
    store,
    before: password === undefined ? [] : commandsFor(session, url, sandbox !== undefined),
    async fill() {
      if (sandbox !== undefined) return await fillSandbox(session, sandbox)
      const projects = await store.projects({ signal: session.signal })
      const wanted = site.settings.projects.map(({ id }) => id)
      const missing = wanted.filter((id) => !projects.includes(id))
      if (missing.length > 0) {
        throw new UsageError(
          `${config.url} has no project ${missing.join(', ')} that this user can see.`,
          'Make it there, or name a project of that server under `projects:` in the profile. Where nothing listens, the demo starts a server of its own.',
        )
      }
      const [project = ''] = wanted
      if (wanted.length > 1 || !(await isEmpty(store, project, session.signal))) {
        const shown = `${wanted.join(', ')} at ${config.url}`
        // The demo's own sandbox, started by hand, holds nothing else.
        if (password === undefined && !(await session.confirm(`Run on all images of ${shown}?`)))
          throw new UsageError('Nothing was done.', 'Name a smaller project in the profile.')
        return [`The images of ${shown}, which are left as they are.`]
      }
      return await fillProject(session, store as XnatDataStore, project, config.url)
    },
    async reports(views) {
      const found: string[] = []
      for (const { ref } of views) {
        const { project, subject = '', session: label, assessor = '' } = ref
        if (label === undefined) continue
        const place = [
          `projects/${project}/subjects/${subject}/experiments/${label}`,
          `assessors/${assessor}/out/resources/PDF/files`,
        ].join('/')
        for (const { path } of await store.listFiles(
          { node: ref, resource: 'PDF' },
          { signal: session.signal },
        ))
          found.push(`${config.url}/data/${place}/${path}`)
      }
      return found
    },
  }
}

async function startDemoSandbox(session: Session, folder: string, url: URL): Promise<Sandbox> {
  const { startSandbox } = await import('@orbweaver/xnat-sandbox')
  const sandbox = await startSandbox({
    directory: folder,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port === '' ? 80 : url.port),
    // Whoever runs the demo is no administrator: what an owner of the project may do is enough.
    users: [{ name: DEMO_USER, projects: { [SAMPLE_PROJECT]: 'owner' } }],
    ...(url.pathname !== '/' && { contextPath: url.pathname.replace(/\/$/, '') }),
  })
  session.onClose(() => sandbox.close())
  await writePasswords(sandbox)
  return sandbox
}

async function fillSandbox(session: Session, sandbox: Sandbox): Promise<readonly string[]> {
  const { files } = await withSample(session, (source) => sandbox.seed(source, { signal: session.signal }))
  const shown = shortPath(sandbox.directory, session.directory)
  return [
    `An XNAT sandbox at ${sandbox.url} until the demo ends; its data stay in ${shown}.`,
    files === 0
      ? 'The sample images were in it already.'
      : `Filled with the sample images: ${count(files, 'file')} in project ${SAMPLE_PROJECT}.`,
  ]
}

async function isEmpty(store: DataStore, project: string, signal: AbortSignal): Promise<boolean> {
  const { subjects } = await store.snapshot(project, { signal })
  for await (const _ of subjects) return false
  return true
}

/** A project of a real server, which has nothing in it. */
async function fillProject(
  session: Session,
  store: XnatDataStore,
  project: string,
  url: string,
): Promise<readonly string[]> {
  if (!(await session.confirm(`Bring the sample images into the empty project ${project} at ${url}?`)))
    throw new UsageError(`Project ${project} at ${url} has no images.`, 'Bring some in, and say it again.')
  const files = await withSample(session, (source) => copySample(source, store, project, session.signal))
  return [`Filled with the sample images: ${count(files, 'file')} in project ${project} at ${url}.`]
}

/** @returns how many files */
async function copySample(
  source: FolderStore,
  store: XnatDataStore,
  project: string,
  signal: AbortSignal,
): Promise<number> {
  const { client } = store
  const call = { signal }
  const labels = new Set<string>()
  let files = 0
  const send = async (
    from: ArchiveRef,
    node: ArchiveRef,
    resources: readonly ResourceNode[],
  ): Promise<void> => {
    for (const { label: resource } of resources) {
      const content = await source.source({ node: from, resource }, call)
      files += (await store.upload({ node, resource }, content, call)).length
    }
  }
  const { subjects } = await source.snapshot(SAMPLE_PROJECT, call)
  for await (const { label: subject, sessions } of subjects) {
    await client.putSubject({ project, subject }, {}, call)
    for (const { label, date, resources, scans } of sessions) {
      // Labels of sessions are unique in a project of XNAT.
      const session = labels.has(label) ? `${subject}_${label}` : label
      labels.add(session)
      const from = { project: SAMPLE_PROJECT, subject, session: label }
      const place = { project, subject, session }
      await client.putSession(place, 'xnat:mrSessionData', date === undefined ? {} : { date }, call)
      await send(from, place, resources)
      for (const { label: scan, type, quality, description, resources: own } of scans) {
        const about = { type, quality, ...(description !== undefined && { series_description: description }) }
        await client.putScan({ ...place, scan }, 'xnat:mrScanData', about, call)
        await send({ ...from, scan }, { ...place, scan }, own)
      }
    }
  }
  return files
}

/** The sandbox again, for a shell of its own, and who to be in the others. */
function commandsFor(session: Session, url: URL, ended: boolean): readonly string[] {
  const program = session.environment.npm_execpath === undefined ? 'orbweaver' : 'npx orbweaver'
  return [
    ...(ended ? [`${program} sandbox --directory ${SANDBOX_FOLDER} --port ${url.port} &`] : []),
    `export ORBWEAVER_PROFILE=${quoteForShell(session.globals.profile ?? '')}`,
    `export XNAT_HOST=${quoteForShell(url.origin)} XNAT_USER=${DEMO_USER} XNAT_PASS="$(sed -n 's/^${DEMO_USER} //p' ${SANDBOX_FOLDER}/${PASSWORDS})"`,
  ]
}

async function listens(url: URL): Promise<boolean> {
  const socket = connect({
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port === '' ? 80 : url.port),
  })
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    if (systemErrorCode(error) === 'ECONNREFUSED') return false
    throw error
  } finally {
    socket.destroy()
  }
}

/** For the site file: one that nobody listens at, so that demos of several people do not meet. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
