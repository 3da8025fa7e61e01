/** Zip and tar of a selection of files, streamed. */

import { PassThrough, type Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import tar from 'tar-stream'
import yazl from 'yazl'
import type { Exchange } from '../http/exchange.js'
import { HttpError, type Reply } from '../http/reply.js'
import type { Address } from './address.js'
import { memberPath, type Structure } from './file-uri.js'
import type { Placed } from './resources.js'
import type { Site } from './site.js'

interface Member {
  readonly placed: Placed
  readonly path: string
  readonly bytes: number
}

/** @returns undefined: neither zip nor tar was asked for */
export function archiveReply(
  site: Site,
  exchange: Exchange,
  address: Address,
  placed: readonly Placed[],
  only?: (path: string) => boolean,
): Reply | undefined {
  const format = exchange.format ?? exchange.accepts(['other', 'zip', 'tar', 'tar.gz'])
  if (format !== 'zip' && format !== 'tar' && format !== 'tar.gz') return undefined
  const members = placed.flatMap((one) =>
    [...one.resource.files.values()]
      .filter(({ path }) => only?.(path) ?? true)
      .map(({ path, bytes }): Member => ({ placed: one, path, bytes })),
  )
  const [first] = members
  if (first === undefined) throw new HttpError(404, 'Unable to find any files.')
  const { owner } = first.placed
  const structure = structureOf(exchange)
  const prefix = [
    ...(exchange.query.flag('projectIncludedInPath') ? [owner.project] : []),
    ...(exchange.query.flag('subjectIncludedInPath') ? [site.subjectOf(owner)?.label ?? ''] : []),
  ]
  const name = ({ placed: one, path }: Member): string =>
    memberPath(site, one, path, structure, format !== 'zip', prefix)
  const out = new PassThrough()
  const work =
    format === 'zip'
      ? writeZip(site, exchange, members, name, out)
      : writeTar(site, members, name, out, format === 'tar.gz')
  // A stream that breaks in the middle gives a short archive with status 200, as on the server.
  work.catch((error: unknown) => out.destroy(error instanceof Error ? error : new Error(String(error))))
  const label = address.resource ?? owner.label
  const type =
    format === 'zip' ? 'application/zip' : format === 'tar' ? 'application/x-tar' : 'application/x-gzip'
  return {
    status: 200,
    headers: {
      'Content-Type': type,
      'Content-Disposition': `attachment; filename="${label.replace(/[^\w.-]/g, '_')}.${format}"`,
    },
    body: out,
  }
}

function structureOf(exchange: Exchange): Structure {
  const asked = exchange.query.get('structure')
  return asked === 'simplified' || asked === 'improved' || asked === 'legacy' ? asked : 'default'
}

async function writeZip(
  site: Site,
  exchange: Exchange,
  members: readonly Member[],
  name: (member: Member) => string,
  out: PassThrough,
): Promise<void> {
  const zip = new yazl.ZipFile()
  zip.outputStream.pipe(out)
  const failed = new Promise<never>((_resolve, reject) => zip.on('error', reject))
  const level = Number(exchange.query.get('compression') ?? 1)
  const compressionLevel = Number.isInteger(level) && level >= 0 && level <= 9 ? level : 1
  let open: Readable | undefined
  out.on('close', () => open?.destroy())
  const add = async (): Promise<void> => {
    for (const member of members) {
      if (exchange.signal.aborted) throw new Error('the client went away')
      const { stream, bytes } = await site.blobs.read(member.placed.resource.record.folder, member.path)
      // One file is open at a time, however many there are.
      open = stream
      await new Promise<void>((resolve, reject) => {
        stream.on('close', resolve)
        stream.on('error', reject)
        // The published types lack `compressionLevel`.
        const options: Partial<yazl.ReadStreamOptions> & { compressionLevel: number } = {
          size: bytes,
          compress: compressionLevel > 0,
          compressionLevel,
        }
        zip.addReadStream(stream, name(member), options)
      })
    }
    zip.end()
  }
  await Promise.race([add(), failed])
}

async function writeTar(
  site: Site,
  members: readonly Member[],
  name: (member: Member) => string,
  out: PassThrough,
  gzip: boolean,
): Promise<void> {
  const pack = tar.pack()
  if (gzip) pack.pipe(createGzip()).pipe(out)
  else pack.pipe(out)
  for (const member of members) {
    const { stream, bytes } = await site.blobs.read(member.placed.resource.record.folder, member.path)
    await new Promise<void>((resolve, reject) => {
      const entry = pack.entry({ name: name(member), size: bytes }, (error) =>
        error == null ? resolve() : reject(error),
      )
      stream.on('error', reject)
      stream.pipe(entry)
    })
  }
  pack.finalize()
}
