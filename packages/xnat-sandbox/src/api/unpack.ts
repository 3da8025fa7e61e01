/** Zip and tar files that a client asks to have unpacked. No name is trusted. */

import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { pipeline } from 'node:stream/promises'
import tar from 'tar-stream'
import yauzl from 'yauzl'
import { HttpError } from '../http/reply.js'
import { pathProblem, type Blobs, type Received } from '../state/blobs.js'

export type ArchiveKind = 'zip' | 'tar' | 'tar.gz'

/** The site's usual `zipExtensions`. */
const ZIP = /\.(zip|jar|rar|ear|gar|mrb)$/i

export function archiveKind(path: string, contentType: string): ArchiveKind | undefined {
  if (/\.(tar\.gz|tgz)$/i.test(path)) return 'tar.gz'
  if (/\.tar$/i.test(path)) return 'tar'
  if (ZIP.test(path) || contentType === 'application/zip') return 'zip'
  return undefined
}

export interface Unpacked {
  readonly path: string
  readonly received: Received
}

/**
 * @param folder - put in front of every path; empty, or with a final slash
 * @throws HttpError 400 a name leaves the folder; 500 the archive is broken
 */
export async function unpack(
  blobs: Blobs,
  file: string,
  kind: ArchiveKind,
  folder: string,
  signal: AbortSignal,
): Promise<readonly Unpacked[]> {
  const unpacked: Unpacked[] = []
  const onFile = async (name: string, content: Readable): Promise<void> => {
    const path = `${folder}${name.replace(/^(\.\/)+/, '')}`
    const problem = pathProblem(path)
    if (problem !== undefined) throw new HttpError(400, problem)
    unpacked.push({ path, received: await blobs.receive(content, { signal }) })
  }
  try {
    if (kind === 'zip') await readZip(file, onFile)
    else await readTar(file, kind === 'tar.gz', onFile)
    return unpacked
  } catch (error) {
    for (const { received } of unpacked) await blobs.discard(received)
    if (error instanceof HttpError || signal.aborted) throw error
    throw new HttpError(500, `Unable to unpack: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Catalogs of another resource are of no use here, and the server skips them. */
const isCatalog = (name: string): boolean => /_catalog\.xml$/i.test(name)

async function readZip(
  file: string,
  onFile: (name: string, content: Readable) => Promise<void>,
): Promise<void> {
  const zip = await new Promise<yauzl.ZipFile>((resolve, reject) => {
    yauzl.open(file, { lazyEntries: true, decodeStrings: false }, (error, opened) =>
      error === null ? resolve(opened) : reject(error),
    )
  })
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: unknown): void => reject(error instanceof Error ? error : new Error(String(error)))
      zip.on('error', fail)
      zip.on('end', resolve)
      zip.on('entry', (entry: yauzl.Entry) => {
        // Names are decoded and checked here: the library's own check also refuses `a:b`, which is a fine name.
        const name = (entry.fileName as unknown as Buffer).toString('utf8').replaceAll('\\', '/')
        if (name.endsWith('/') || isCatalog(name)) {
          zip.readEntry()
          return
        }
        zip.openReadStream(entry, (error, content) => {
          if (error !== null) fail(error)
          else onFile(name, content).then(() => zip.readEntry(), fail)
        })
      })
      zip.readEntry()
    })
  } finally {
    zip.close()
  }
}

async function readTar(
  file: string,
  gzip: boolean,
  onFile: (name: string, content: Readable) => Promise<void>,
): Promise<void> {
  const extract = tar.extract()
  const reading = gzip
    ? pipeline(createReadStream(file), createGunzip(), extract)
    : pipeline(createReadStream(file), extract)
  const writing = (async () => {
    for await (const entry of extract) {
      const { name, type } = entry.header
      if (type === 'file' && !isCatalog(name)) await onFile(name, Readable.from(entry))
      else entry.resume()
    }
  })()
  await Promise.all([reading, writing])
}
