/** The header of a DICOM file: read in pieces up to the pixel data, and checked to be whole. */

import { open, type FileHandle } from 'node:fs/promises'
import { constants, inflateRawSync } from 'node:zlib'
import dicomParser, { type DataSet, type Element } from 'dicom-parser'

/** What grouping needs of one file. Texts are decoded and trimmed; absent when the header has none. */
export interface DicomHeader {
  readonly sopClassUid: string
  readonly sopInstanceUid: string
  readonly studyInstanceUid: string
  readonly seriesInstanceUid: string
  readonly instanceNumber?: number
  readonly hasPixelData: boolean
  /** Header texts by DICOM keyword; only those of {@link DICOM_KEYWORDS}. */
  readonly texts: Readonly<Partial<Record<DicomKeyword, string>>>
}

export type DicomReading =
  | { readonly kind: 'header'; readonly header: DicomHeader }
  /** Some other file. */
  | { readonly kind: 'foreign' }
  /** A DICOM file that cannot be used; with its header when that much could be read. */
  | { readonly kind: 'damaged'; readonly reason: string; readonly header?: DicomHeader }
  /** An index of other files: of no use of its own. */
  | { readonly kind: 'index' }

/** Keywords that may be used in label rules. Source: DICOM PS3.6. */
export const DICOM_KEYWORDS = {
  StudyDate: 'x00080020',
  SeriesDate: 'x00080021',
  AcquisitionDate: 'x00080022',
  StudyTime: 'x00080030',
  SeriesTime: 'x00080031',
  AcquisitionTime: 'x00080032',
  AccessionNumber: 'x00080050',
  Modality: 'x00080060',
  InstitutionName: 'x00080080',
  ReferringPhysicianName: 'x00080090',
  StationName: 'x00081010',
  StudyDescription: 'x00081030',
  SeriesDescription: 'x0008103e',
  PatientName: 'x00100010',
  PatientID: 'x00100020',
  PatientComments: 'x00104000',
  ProtocolName: 'x00181030',
  SequenceName: 'x00180024',
  StudyID: 'x00200010',
  SeriesNumber: 'x00200011',
  StudyComments: 'x00324000',
} as const satisfies Readonly<Record<string, string>>
export type DicomKeyword = keyof typeof DICOM_KEYWORDS

const PIXEL_DATA = 'x7fe00010'
/** Float and double pixel data (PS3.3 C.7.6.24) come without the ordinary one. */
const OTHER_PIXEL_DATA: readonly string[] = ['x7fe00008', 'x7fe00009']
/**
 * Storage classes of images, below `1.2.840.10008.5.1.4.1.1.`: CR and DX, CT, ultrasound, MR, secondary capture, X-ray,
 * nuclear medicine, PET, RT image. Source: PS3.4 B.5. One without pixel data has lost them.
 */
const IMAGE_CLASS =
  /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:1(?:\.[1-3](?:\.1)?)?|2(?:\.[12])?|3\.1|4(?:\.[134])?|6\.[12]|7(?:\.[1-4])?|1[23]\.1(?:\.\d)?|12\.2(?:\.1)?|20|128(?:\.1)?|130|481\.1)$/
const ROWS = 'x00280010'
const MEDIA_STORAGE_DIRECTORY = '1.2.840.10008.1.3.10'
const DEFLATED = '1.2.840.10008.1.2.1.99'
const EXPLICIT_LITTLE = '1.2.840.10008.1.2.1'
const IMPLICIT_LITTLE = '1.2.840.10008.1.2'
const BIG_ENDIAN = '1.2.840.10008.1.2.2'
const UNDEFINED_LENGTH = 0xffffffff

const FIRST_READ = 64 * 1024
const GROWTH = 4
/** Headers larger than this are not read to their end: what grouping needs lies far before. */
const LARGEST_READ = 16 * 1024 * 1024
const LARGEST_INFLATED = 256 * 1024 * 1024

/**
 * Read a file's header. At most 16 MiB are held, usually 64 kB.
 *
 * A file is `damaged` when it ends before its header or its pixel data do; the reason has the byte counts.
 *
 * @throws system errors of the file system
 */
export async function readDicomHeader(path: string): Promise<DicomReading> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    let bytes = await readAt(file, 0, Math.min(size, FIRST_READ))
    const syntax = transferSyntaxHint(bytes)
    if (syntax === undefined) return { kind: 'foreign' }
    for (;;) {
      const whole = bytes.length >= size
      const { dataSet, failure } = parse(bytes, syntax, whole)
      if (dataSet !== undefined && failure === undefined) {
        const pixels = dataSet.elements[PIXEL_DATA]
        if (pixels !== undefined || whole) return await judge(file, size, dataSet, pixels)
      }
      const overrun = dataSet === undefined ? undefined : lastElement(dataSet)
      if (whole) return damaged(size, dataSet, overrun, failure)
      if (bytes.length >= LARGEST_READ) {
        // A value of many megabytes that is no pixel data, such as an embedded document: it must lie in the file whole.
        if (dataSet === undefined || overrun === undefined) return damaged(size, dataSet, overrun, failure)
        const end = endOf(overrun)
        return end !== undefined && end > size ? cutShort(size, end, dataSet) : headerOf(dataSet, 'unread')
      }
      bytes = await readAt(file, 0, Math.min(size, bytes.length * GROWTH, LARGEST_READ))
    }
  } finally {
    await file.close()
  }
}

/** The transfer syntax to try where the file does not state one; empty: it does; undefined: no DICOM. */
function transferSyntaxHint(bytes: Buffer): string | undefined {
  if (bytes.length >= 132 && bytes.toString('latin1', 128, 132) === 'DICM') return ''
  // Files from before Part 10 start with the data set itself; the first element is of group 0008 (or 0002).
  if (bytes.length < 16) return undefined
  const group = bytes.readUInt16LE(0)
  const element = bytes.readUInt16LE(2)
  if ((group !== 0x0008 && group !== 0x0002) || element > 0x0100) return undefined
  if (/^[A-Z]{2}$/.test(bytes.toString('latin1', 4, 6))) return EXPLICIT_LITTLE
  return bytes.readUInt32LE(4) <= 128 ? IMPLICIT_LITTLE : undefined
}

function parse(
  bytes: Buffer,
  syntax: string,
  whole: boolean,
): { readonly dataSet?: DataSet; readonly failure?: string } {
  try {
    const dataSet = dicomParser.parseDicom(bytes, {
      untilTag: PIXEL_DATA,
      ...(syntax !== '' && { TransferSyntaxUID: syntax }),
      inflater: (all: Uint8Array, position: number) => inflate(Buffer.from(all), position, whole),
    })
    return { dataSet }
  } catch (error) {
    // The parser throws plain strings and `{ exception, dataSet }` with what it had read so far.
    if (typeof error === 'object' && error !== null && 'dataSet' in error && 'exception' in error) {
      return { dataSet: error.dataSet as DataSet, failure: textOf(error.exception) }
    }
    return { failure: textOf(error) }
  }
}

function inflate(bytes: Buffer, position: number, whole: boolean): Buffer {
  const inflated = inflateRawSync(bytes.subarray(position), {
    maxOutputLength: LARGEST_INFLATED,
    ...(!whole && { finishFlush: constants.Z_SYNC_FLUSH }),
  })
  return Buffer.concat([bytes.subarray(0, position), inflated])
}

/** The header was read to its end, or up to the pixel data: is all there that it promises? */
async function judge(
  file: FileHandle,
  size: number,
  dataSet: DataSet,
  pixels: Element | undefined,
): Promise<DicomReading> {
  const syntax = textAt(dataSet, 'x00020010')
  if (syntax === DEFLATED) {
    const end = pixels === undefined ? undefined : endOf(pixels)
    return end !== undefined && end > dataSet.byteArray.length
      ? cutShort(dataSet.byteArray.length, end, dataSet)
      : headerOf(dataSet, pixels !== undefined)
  }
  if (pixels === undefined) {
    const last = lastElement(dataSet)
    const end = last === undefined ? undefined : endOf(last)
    return end !== undefined && end > size ? cutShort(size, end, dataSet) : headerOf(dataSet, false)
  }
  const end = endOf(pixels)
  if (end !== undefined) return end > size ? cutShort(size, end, dataSet) : headerOf(dataSet, true)
  const problem = await fragmentsProblem(file, pixels.dataOffset, size, syntax === BIG_ENDIAN)
  return problem === undefined ? headerOf(dataSet, true) : damagedBy(problem, dataSet)
}

/** Compressed pixel data is a chain of items that ends with a delimiter (PS3.5 A.4). Only the item heads are read. */
async function fragmentsProblem(
  file: FileHandle,
  start: number,
  size: number,
  bigEndian: boolean,
): Promise<string | undefined> {
  let position = start
  while (position + 8 <= size) {
    const head = await readAt(file, position, 8)
    const tag = bigEndian
      ? head.readUInt16BE(0) * 0x10000 + head.readUInt16BE(2)
      : head.readUInt16LE(0) * 0x10000 + head.readUInt16LE(2)
    if (tag === 0xfffee0dd) return undefined
    if (tag !== 0xfffee000) return `its compressed pixel data is damaged at byte ${position}`
    position += 8 + (bigEndian ? head.readUInt32BE(4) : head.readUInt32LE(4))
  }
  return `it is cut short: ${size} bytes, and its compressed pixel data goes on to byte ${position} or farther`
}

/** @param pixels - whether there is pixel data; `unread`: it was not looked that far */
function headerOf(dataSet: DataSet, pixels: boolean | 'unread'): DicomReading {
  const sopClassUid = textAt(dataSet, 'x00080016') ?? textAt(dataSet, 'x00020002') ?? ''
  if (sopClassUid === MEDIA_STORAGE_DIRECTORY || dataSet.elements.x00041220 !== undefined) {
    return { kind: 'index' }
  }
  const sopInstanceUid = textAt(dataSet, 'x00080018') ?? textAt(dataSet, 'x00020003')
  const studyInstanceUid = textAt(dataSet, 'x0020000d')
  const seriesInstanceUid = textAt(dataSet, 'x0020000e')
  const uids = {
    SOPInstanceUID: sopInstanceUid,
    StudyInstanceUID: studyInstanceUid,
    SeriesInstanceUID: seriesInstanceUid,
  }
  for (const [keyword, uid] of Object.entries(uids)) {
    if (uid === undefined) return { kind: 'damaged', reason: `its header has no ${keyword}` }
  }
  const image = IMAGE_CLASS.test(sopClassUid) || dataSet.elements[ROWS] !== undefined
  const hasPixelData =
    pixels === true ||
    (pixels === 'unread' && image) ||
    OTHER_PIXEL_DATA.some((tag) => dataSet.elements[tag] !== undefined)
  if (image && !hasPixelData) {
    return { kind: 'damaged', reason: 'its header is that of an image, and there is no pixel data' }
  }
  const decode = decoderOf(textAt(dataSet, 'x00080005'))
  const texts: Partial<Record<DicomKeyword, string>> = {}
  for (const [keyword, tag] of Object.entries(DICOM_KEYWORDS) as [DicomKeyword, string][]) {
    const text = decodedAt(dataSet, tag, decode)
    if (text !== undefined) texts[keyword] = text
  }
  const instanceNumber = Number(textAt(dataSet, 'x00200013') ?? Number.NaN)
  return {
    kind: 'header',
    header: {
      sopClassUid,
      sopInstanceUid: sopInstanceUid ?? '',
      studyInstanceUid: studyInstanceUid ?? '',
      seriesInstanceUid: seriesInstanceUid ?? '',
      ...(Number.isSafeInteger(instanceNumber) && instanceNumber >= 0 && { instanceNumber }),
      hasPixelData,
      texts,
    },
  }
}

function damaged(
  size: number,
  dataSet: DataSet | undefined,
  overrun: Element | undefined,
  failure: string | undefined,
): DicomReading {
  const end = overrun === undefined ? undefined : endOf(overrun)
  if (dataSet !== undefined && end !== undefined && end > size) return cutShort(size, end, dataSet)
  if (/past end of buffer|overread|overrun|eof|maxP ?osition/i.test(failure ?? '')) {
    return damagedBy(`it is cut short: it ends after ${size} bytes, inside its header`, dataSet)
  }
  return damagedBy(`its header cannot be read (${failure ?? 'it is empty'})`, dataSet)
}

function cutShort(size: number, end: number, dataSet: DataSet): DicomReading {
  return damagedBy(`it is cut short: ${size} bytes, its header says ${end}`, dataSet)
}

function damagedBy(reason: string, dataSet: DataSet | undefined): DicomReading {
  const reading = dataSet === undefined ? undefined : headerOf(dataSet, 'unread')
  return { kind: 'damaged', reason, ...(reading?.kind === 'header' && { header: reading.header }) }
}

/** The element that ends last; undefined when there is none. */
function lastElement(dataSet: DataSet): Element | undefined {
  let last: Element | undefined
  for (const element of Object.values(dataSet.elements)) {
    if (last === undefined || element.dataOffset > last.dataOffset) last = element
  }
  return last
}

function endOf(element: Element): number | undefined {
  const { length } = element
  // A length of -1 or 0xffffffff means: up to a delimiter.
  return length < 0 || length === UNDEFINED_LENGTH ? undefined : element.dataOffset + length
}

function bytesAt(dataSet: DataSet, tag: string): Buffer | undefined {
  const element = dataSet.elements[tag]
  if (element === undefined || element.length <= 0 || element.items !== undefined) return undefined
  const end = element.dataOffset + element.length
  if (end > dataSet.byteArray.length) return undefined
  return Buffer.from(
    dataSet.byteArray.buffer,
    dataSet.byteArray.byteOffset + element.dataOffset,
    element.length,
  )
}

/** For texts of the default repertoire: UIDs, numbers, codes. Padding is a blank or a zero byte. */
function textAt(dataSet: DataSet, tag: string): string | undefined {
  return trimmed(bytesAt(dataSet, tag)?.toString('latin1'))
}

function decodedAt(dataSet: DataSet, tag: string, decode: (bytes: Buffer) => string): string | undefined {
  const bytes = bytesAt(dataSet, tag)
  return bytes === undefined ? undefined : trimmed(decode(bytes))
}

function trimmed(text: string | undefined): string | undefined {
  // eslint-disable-next-line no-control-regex
  const value = text?.replace(/[\s\u0000]+$/, '').trimStart()
  return value === '' ? undefined : value
}

/**
 * DICOM's character sets as names that TextDecoder knows. Source: PS3.3 C.12.1.1.2. The first term is the one in force
 * at the start of a text; of the ISO 2022 terms those that escape into another set are decoded by it as a whole.
 */
const CHARACTER_SETS: Readonly<Record<string, string>> = {
  'ISO_IR 100': 'iso-8859-1',
  'ISO_IR 101': 'iso-8859-2',
  'ISO_IR 109': 'iso-8859-3',
  'ISO_IR 110': 'iso-8859-4',
  'ISO_IR 144': 'iso-8859-5',
  'ISO_IR 127': 'iso-8859-6',
  'ISO_IR 126': 'iso-8859-7',
  'ISO_IR 138': 'iso-8859-8',
  'ISO_IR 148': 'windows-1254',
  'ISO_IR 203': 'iso-8859-15',
  'ISO_IR 166': 'windows-874',
  'ISO_IR 13': 'shift_jis',
  'ISO_IR 192': 'utf-8',
  GB18030: 'gb18030',
  GBK: 'gbk',
  'ISO 2022 IR 87': 'iso-2022-jp',
  'ISO 2022 IR 159': 'iso-2022-jp',
  'ISO 2022 IR 149': 'euc-kr',
  'ISO 2022 IR 58': 'gb2312',
}

function decoderOf(characterSet: string | undefined): (bytes: Buffer) => string {
  const terms = (characterSet ?? '').split('\\').map((term) => term.trim())
  const extended = terms.find((term) => /^ISO 2022 IR (?:87|159|149|58)$/.test(term))
  const first = extended ?? (terms[0] ?? '').replace(/^ISO 2022 IR /, 'ISO_IR ')
  const name = CHARACTER_SETS[first]
  if (name === undefined) return (bytes) => bytes.toString('latin1')
  const decoder = new TextDecoder(name)
  return (bytes) => decoder.decode(bytes)
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.replace(/^dicomParser[.:]\S*\s*/, '')
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}
