/** Small data sets for the importers, written byte by byte so that nothing but the formats is relied on. */

import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { ImportProblem } from '#src/import/problems.js'

export type Content = string | Buffer | object

/** A folder of its own for one test; files by relative path. Objects become JSON. */
export async function makeFolder(files: Readonly<Record<string, Content>> = {}): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'orbweaver-test-import-'))
  for (const [path, content] of Object.entries(files)) await put(root, path, content)
  return root
}

export async function put(root: string, path: string, content: Content): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true })
  const bytes = typeof content === 'string' || Buffer.isBuffer(content) ? content : JSON.stringify(content)
  await writeFile(join(root, path), bytes)
}

export async function removeFolder(root: string): Promise<void> {
  await rm(root, { recursive: true, force: true })
}

/** Collects problems. */
export function problemList(): {
  readonly onProblem: (problem: ImportProblem) => void
  readonly all: ImportProblem[]
} {
  const all: ImportProblem[] = []
  return { all, onProblem: (problem) => all.push(problem) }
}

/** Everything below is unreadable for an ordinary user. Root reads it all the same, so tests become one for a moment. */
export async function asOrdinaryUser<T>(root: string, work: () => Promise<T>): Promise<T> {
  const { geteuid, seteuid } = process
  if (geteuid?.call(process) !== 0 || seteuid === undefined) return await work()
  await chmod(root, 0o755)
  seteuid.call(process, 65534)
  try {
    return await work()
  } finally {
    seteuid.call(process, 0)
  }
}

/** A whole NIfTI-1 image of 16-bit voxels. */
export function nifti(dimensions: readonly number[] = [2, 2, 2], fill = 0): Buffer {
  const voxels = dimensions.reduce((product, size) => product * size, 1)
  const bytes = Buffer.alloc(352 + 2 * voxels, 0)
  bytes.writeInt32LE(348, 0)
  bytes.writeInt16LE(dimensions.length, 40)
  for (let i = 0; i < 7; i += 1) bytes.writeInt16LE(dimensions[i] ?? 1, 42 + 2 * i)
  bytes.writeInt16LE(4, 70)
  bytes.writeInt16LE(16, 72)
  bytes.writeFloatLE(352, 108)
  bytes.write('n+1\0', 344, 'latin1')
  for (let i = 0; i < voxels; i += 1) bytes.writeInt16LE((fill + i) % 30000, 352 + 2 * i)
  return bytes
}

export function niftiGz(dimensions?: readonly number[], fill?: number): Buffer {
  return gzipSync(nifti(dimensions, fill))
}

export interface DicomFields {
  readonly patientId?: string
  readonly patientName?: string
  readonly study?: string
  readonly series?: string
  readonly instance?: string
  readonly number?: number
  readonly seriesNumber?: string
  readonly description?: string
  readonly modality?: string
  readonly date?: string
  readonly time?: string
  readonly comments?: string
  readonly characterSet?: string
  readonly sopClass?: string
  /** Bytes of pixel data; 0: none at all. Default 32. */
  readonly pixels?: number
  /** A private element of that many bytes before the pixel data. */
  readonly padding?: number
  /** Encapsulated pixel data with these fragments instead of plain ones. */
  readonly fragments?: readonly number[]
}

const MR_IMAGE = '1.2.840.10008.5.1.4.1.1.4'
export const STRUCTURED_REPORT = '1.2.840.10008.5.1.4.1.1.88.11'
const LONG_FORM: ReadonlySet<string> = new Set(['OB', 'OW', 'UN', 'SQ', 'UT'])

/** A DICOM file in explicit little endian, with the elements that grouping looks at. */
export function dicom(fields: DicomFields = {}): Buffer {
  const number = fields.number ?? 1
  const series = fields.series ?? '1.2.3.1'
  const instance = fields.instance ?? `${series}.${number}`
  const sopClass = fields.sopClass ?? MR_IMAGE
  const syntax = fields.fragments === undefined ? '1.2.840.10008.1.2.1' : '1.2.840.10008.1.2.4.70'
  const meta = Buffer.concat([
    element(0x0002, 0x0001, 'OB', Buffer.from([0, 1])),
    element(0x0002, 0x0002, 'UI', sopClass),
    element(0x0002, 0x0003, 'UI', instance),
    element(0x0002, 0x0010, 'UI', syntax),
  ])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(meta.length)
  const parts = [
    Buffer.alloc(128),
    Buffer.from('DICM'),
    element(0x0002, 0x0000, 'UL', length),
    meta,
    text(0x0008, 0x0005, 'CS', fields.characterSet),
    element(0x0008, 0x0016, 'UI', sopClass),
    element(0x0008, 0x0018, 'UI', instance),
    text(0x0008, 0x0020, 'DA', fields.date ?? '20240305'),
    text(0x0008, 0x0030, 'TM', fields.time ?? '101502.000000'),
    text(0x0008, 0x0060, 'CS', fields.modality ?? 'MR'),
    text(0x0008, 0x103e, 'LO', fields.description ?? 'T1 MPRAGE'),
    text(0x0010, 0x0010, 'PN', fields.patientName),
    text(0x0010, 0x0020, 'LO', fields.patientId ?? 'SUBJ01'),
    text(0x0010, 0x4000, 'LT', fields.comments),
    element(0x0020, 0x000d, 'UI', fields.study ?? '1.2.3'),
    element(0x0020, 0x000e, 'UI', series),
    text(0x0020, 0x0011, 'IS', fields.seriesNumber ?? '3'),
    text(0x0020, 0x0013, 'IS', String(number)),
    ...(fields.padding === undefined ? [] : [element(0x0029, 0x1010, 'OB', Buffer.alloc(fields.padding, 7))]),
  ]
  if (fields.fragments !== undefined) {
    const head = Buffer.from([0xe0, 0x7f, 0x10, 0x00, 0x4f, 0x42, 0, 0, 0xff, 0xff, 0xff, 0xff])
    parts.push(
      head,
      item(0xe000, 0),
      ...fields.fragments.flatMap((size) => [item(0xe000, size), Buffer.alloc(size, 9)]),
    )
    parts.push(item(0xe0dd, 0))
  } else if (fields.pixels !== 0) {
    parts.push(element(0x7fe0, 0x0010, 'OW', Buffer.alloc(fields.pixels ?? 32, number % 256)))
  }
  return Buffer.concat(parts)
}

function item(tag: number, length: number): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt16LE(0xfffe, 0)
  head.writeUInt16LE(tag, 2)
  head.writeUInt32LE(length, 4)
  return head
}

function text(group: number, tag: number, vr: string, value: string | undefined): Buffer {
  return value === undefined ? Buffer.alloc(0) : element(group, tag, vr, value)
}

function element(group: number, tag: number, vr: string, value: string | Buffer): Buffer {
  const raw = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
  const pad = raw.length % 2 === 0 ? [] : [Buffer.from(vr === 'UI' || vr === 'OB' ? '\0' : ' ')]
  const body = Buffer.concat([raw, ...pad])
  const long = LONG_FORM.has(vr)
  const head = Buffer.alloc(long ? 12 : 8)
  head.writeUInt16LE(group, 0)
  head.writeUInt16LE(tag, 2)
  head.write(vr, 4, 'latin1')
  if (long) head.writeUInt32LE(body.length, 8)
  else head.writeUInt16LE(body.length, 6)
  return Buffer.concat([head, body])
}
