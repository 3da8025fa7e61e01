/** What Orbweaver relies on in an XNAT, each as one small experiment with the answer that the sandbox gives. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { ConflictError, NotFoundError, createFolderSource, isAbort, type CallOptions } from '@orbweaver/core'
import { fetchFiles, sendFiles, type XnatClient } from '@orbweaver/xnat'

export interface ServerCheck {
  readonly name: string
  readonly sandbox: string
  /** Why it matters. */
  readonly use: string
  readonly look: (bench: Bench) => Promise<string>
}

export interface CheckedBehaviour extends Omit<ServerCheck, 'look'> {
  readonly server: string
  readonly same: boolean
}

/** Where the experiments are made: a subject of their own in the scratch project. */
export interface Bench {
  readonly client: XnatClient
  readonly call: CallOptions
  readonly place: { readonly project: string; readonly subject: string; readonly session: string }
  readonly folder: string
}

const SCAN = '1'
const RESOURCE = 'CHECK'
const ODD = 'deep er/ümlaut & (1).txt'

export const SERVER_CHECKS: readonly ServerCheck[] = [
  {
    name: 'a project that is not there',
    sandbox: 'not found',
    use: 'missing and hidden are told from broken',
    look: ({ client, call, place }) =>
      outcome(client.item({ project: `${place.subject}_NONE` }, call), 'found'),
  },
  {
    name: 'making subject, session and scan',
    sandbox: 'made',
    use: 'imports',
    look: async ({ client, call, place }) => {
      const { project, subject } = place
      await client.putSubject({ project, subject }, {}, call)
      await client.putSession(place, 'xnat:mrSessionData', {}, call)
      await client.putScan(
        { ...place, scan: SCAN },
        'xnat:mrScanData',
        { type: 'T1w', quality: 'usable' },
        call,
      )
      return 'made'
    },
  },
  {
    name: 'sending a file twice',
    sandbox: 'stored, conflict',
    use: 'uploads that never overwrite in silence',
    look: async ({ client, call, place, folder }) => {
      await writeFile(join(folder, 'a.txt'), 'content')
      const source = await createFolderSource(folder, [{ path: 'a.txt', bytes: 7 }])
      const address = { node: { ...place, scan: SCAN }, resource: RESOURCE }
      await sendFiles(client, address, source, call)
      const duplicates = await client.uploadFile(address, 'a.txt', 'other', call)
      return duplicates.length > 0 ? 'stored, conflict' : 'stored, no word of the second'
    },
  },
  {
    name: 'checksums in listings',
    sandbox: 'md5',
    use: 'files that are the same are not moved again',
    look: async ({ client, call, place }) => {
      const [file] = await client.files({ node: { ...place, scan: SCAN }, resource: RESOURCE }, call)
      return file?.checksum?.algorithm ?? 'none'
    },
  },
  {
    name: 'scans of all sessions in one listing',
    sandbox: 'T1w, usable, CHECK',
    use: 'a pass costs the same number of requests at any size',
    look: async ({ client, call, place }) => {
      const rows = await client.allExperiments({
        xsiType: 'xnat:imageSessionData',
        where: { project: place.project },
        columns: [
          'label',
          'xnat:imageScanData/type',
          'xnat:imageScanData/quality',
          'xnat:imageScanData/file/label',
        ],
        ...call,
      })
      const row = rows.find(({ label }) => label === place.session)
      const cell = (name: string): string => row?.[`xnat:imagescandata/${name}`] ?? '-'
      return `${cell('type')}, ${cell('quality')}, ${cell('file/label')}`
    },
  },
  {
    name: 'a zip that is unpacked, with awkward names and an empty file',
    sandbox: 'stored',
    use: 'many files in one request',
    look: async ({ client, call, place, folder }) => {
      const from = await mkdtemp(join(folder, 'zip-'))
      await writeFile(join(from, 'empty.txt'), '')
      const files = [{ path: 'empty.txt', bytes: 0 }]
      const source = await createFolderSource(from, files)
      const odd = Buffer.from('odd')
      await sendFiles(client, { node: place, resource: RESOURCE }, {
        files: [...files, { path: ODD, bytes: odd.length }],
        open: async (path, options) => {
          return path === ODD ? Readable.from([odd], { objectMode: false }) : await source.open(path, options)
        },
      }, call) // prettier-ignore
      return 'stored'
    },
  },
  {
    name: 'the same files fetched',
    sandbox: 'the same',
    use: 'downloads that are verified',
    look: async ({ client, call, place, folder }) => {
      const to = await mkdtemp(join(folder, 'out-'))
      await fetchFiles(client, { node: place, resource: RESOURCE }, to, call)
      return (await readFile(join(to, ODD), 'utf8')) === 'odd' ? 'the same' : 'other content'
    },
  },
  {
    name: 'an assessor made twice',
    sandbox: 'made once',
    use: 'two engines cannot make one result twice',
    look: async ({ client, call, place }) => {
      const label = `${place.session}_QC`
      const xml = `<xnat:QCAssessment xmlns:xnat="http://nrg.wustl.edu/xnat" ID="${label}" project="${place.project}" label="${label}"><xnat:note>a &lt; b &amp; "c"</xnat:note></xnat:QCAssessment>`
      await client.createAssessor(place, xml, call)
      const second = await outcome(client.createAssessor(place, xml, call), 'made twice')
      return second === 'conflict' ? 'made once' : second
    },
  },
  {
    name: 'text of a document',
    sandbox: 'a < b & "c"',
    use: 'status records in notes',
    look: async ({ client, call, place }) => {
      const item = await client.item({ ...place, assessor: `${place.session}_QC` }, call)
      return item.fields.note ?? 'lost'
    },
  },
  {
    name: 'files of a resource that is not there',
    sandbox: 'empty list',
    use: 'missing is told from empty by other means',
    look: async ({ client, call, place }) =>
      outcome(client.files({ node: place, resource: 'NONE' }, call), 'empty list'),
  },
  {
    name: 'removing a file whose name begins another',
    sandbox: 'both are gone',
    use: 'removals that take no more than meant',
    look: async ({ client, call, place }) => {
      const address = { node: place, resource: 'PREFIX' }
      for (const name of ['a', 'ab'])
        await client.uploadFile(address, name, 'x', { overwrite: true, ...call })
      await client.deleteFile(address, 'a', call)
      const left = (await client.files(address, call)).map(({ path }) => path)
      return left.length === 0 ? 'both are gone' : `left: ${left.join(', ')}`
    },
  },
]

/** Runs every check, then removes what they made. */
export async function checkServer(
  client: XnatClient,
  project: string,
  call: CallOptions,
): Promise<{ readonly checks: readonly CheckedBehaviour[]; readonly left: string | undefined }> {
  const subject = `OWCHECK_${randomBytes(4).toString('hex')}`
  const folder = await mkdtemp(join(tmpdir(), 'orbweaver-check-'))
  const bench: Bench = { client, call, folder, place: { project, subject, session: `${subject}_MR1` } }
  const checks: CheckedBehaviour[] = []
  let left: string | undefined
  try {
    for (const { look, ...check } of SERVER_CHECKS) {
      call.signal?.throwIfAborted()
      const server = await look(bench).catch((error: unknown) => {
        if (isAbort(error)) throw error
        return error instanceof Error ? error.message : String(error)
      })
      checks.push({ ...check, server, same: server === check.sandbox })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
    // Also after Ctrl-C: nothing of ours stays in the project.
    left = await client.remove({ project, subject }).then(
      () => undefined,
      () => subject,
    )
  }
  return { checks, left }
}

async function outcome(work: Promise<unknown>, good: string): Promise<string> {
  return await work.then(
    () => good,
    (error: unknown) => {
      if (error instanceof NotFoundError) return 'not found'
      if (error instanceof ConflictError) return 'conflict'
      throw error
    },
  )
}
