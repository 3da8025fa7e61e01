/** A folder of DICOM files, however named and nested, as items for the folder archive. */

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { InputError } from '@orbweaver/core'
import type { IngestFile, IngestItem } from '../store/ingest.js'
import {
  DICOM_KEYWORDS,
  readDicomHeader,
  type DicomHeader,
  type DicomKeyword,
  type DicomReading,
} from './dicom-header.js'
import { labelFromText } from './label-map.js'
import { shownPath, type ImportProblem, type ReadOptions } from './problems.js'
import { SourceFolder, type SourceEntry } from './source-folder.js'

/**
 * How labels are made from headers, where the defaults do not fit: texts with DICOM keywords in braces, as
 * `{PatientID}` or `{StudyDate}_{AccessionNumber}`. A rule of which a keyword is empty in a file falls back to the default.
 */
export interface DicomLabelRules {
  readonly project?: string
  readonly subject?: string
  readonly session?: string
}

export interface ReadDicomOptions extends ReadOptions {
  /** Project of everything. Default: what the header says (see {@link readDicom}). */
  readonly project?: string
  readonly map?: DicomLabelRules
  /** Called for each file whose header has been read. */
  readonly onFile?: (count: number) => void
}

/** What was found, with nothing but paths kept of each file. */
export interface DicomSurvey {
  readonly root: string
  /** In order: project, subject, session, scan, resource. */
  readonly items: readonly SurveyItem[]
  readonly dicomFiles: number
  readonly otherFiles: number
}

interface SurveyItem extends Omit<IngestItem, 'files'> {
  readonly files: readonly { readonly name: string; readonly path: string }[]
}

/** Resource for images, and for everything else of a series: reports, presentation states, registrations. XNAT's labels. */
const IMAGES = 'DICOM'
const OTHERS = 'secondary'

const FILES_AT_ONCE = 8
/** Files that are not DICOM and are named one by one; the rest is counted. */
const NAMED_FOREIGN_FILES = 20

/**
 * SOP classes that hold measured data though no pixel data: MR spectroscopy. Everything else without pixel data (structured reports, presentation states, key objects, plans) is secondary.
 * Source: PS3.4 B.5.
 */
const DATA_WITHOUT_PIXELS: ReadonlySet<string> = new Set(['1.2.840.10008.5.1.4.1.1.4.2'])
/** Modalities that do not name a session. Source: PS3.3 C.7.3.1.1.1. */
const NO_SESSION_MODALITY: ReadonlySet<string> = new Set([
  'SR',
  'PR',
  'KO',
  'SEG',
  'OT',
  'DOC',
  'REG',
  'RTSTRUCT',
  'RTPLAN',
  'RTDOSE',
  'RTRECORD',
  'AU',
  'PLAN',
])

/**
 * Read a folder of DICOM files: any names, any nesting; DICOMDIR is ignored. Headers are read up to the pixel data.
 *
 * Labels, unless `map` says otherwise:
 * - project: the option; else `Project:` in PatientComments or StudyComments (XNAT's rule
 *   `Project:X Subject:Y Session:Z`).
 * - subject: `Subject:` of that rule, else PatientID, else PatientName.
 * - session: `Session:` of that rule, else `YYYYMMDD_HHMM` of the study. Two studies with one label are kept apart: the
 *   later one gets four digits of a hash of its UID.
 * - scan: SeriesNumber; a second series of that number is `3-MR2`. Its type is SeriesDescription, else ProtocolName.
 *
 * Characters that a label cannot hold are written as `%XX` (see {@link labelFromText}), so nothing is lost or merged.
 * Files become `000001.dcm` by InstanceNumber. A damaged file is an error; when the rest of its series is imported all
 * the same, the scan is marked `unusable`. Copies of one instance are imported once.
 *
 * @throws InputError nothing in the folder is DICOM, or a rule names an unknown keyword
 * @throws NotFoundError, AccessDeniedError the folder itself cannot be read; anything below it is reported
 */
export async function* readDicom(
  directory: string,
  options: ReadDicomOptions = {},
): AsyncGenerator<IngestItem> {
  yield* surveyItems(await surveyDicom(directory, options))
}

/** The items of a survey; may be called several times. */
export function* surveyItems(survey: DicomSurvey): Generator<IngestItem> {
  for (const { files, ...item } of survey.items) {
    yield {
      ...item,
      files: files.map(({ name, path }) => ({ path: name, source: path })) satisfies IngestFile[],
    }
  }
}

/** Read all headers and group them. */
export async function surveyDicom(directory: string, options: ReadDicomOptions = {}): Promise<DicomSurvey> {
  for (const rule of Object.values(options.map ?? {}) as (string | undefined)[]) checkRule(rule)
  const report = options.onProblem ?? ((): void => undefined)
  const folder = await SourceFolder.open(directory, report)
  const census = new Census(options, report)
  // Several headers are read at once, but looked at in the order of the files: the outcome never depends on timing.
  const pending: {
    readonly entry: SourceEntry
    readonly reading: Promise<DicomReading | { readonly error: unknown }>
  }[] = []
  const settle = async (limit: number): Promise<void> => {
    while (pending.length > limit) {
      const { entry, reading } = pending.shift() ?? {}
      const result = await reading
      if (entry === undefined || result === undefined) continue
      if ('error' in result) folder.unreadable(entry.path, result.error)
      else census.look(entry, result)
    }
  }
  for await (const entry of folder.walk('', options.signal)) {
    // Broken ones are common on discs that were copied in part, and nothing is lost without them.
    if (entry.name.toUpperCase() === 'DICOMDIR') continue
    const reading = readDicomHeader(entry.absolute).catch((error: unknown) => ({ error }))
    pending.push({ entry, reading })
    await settle(FILES_AT_ONCE - 1)
  }
  await settle(0)
  return await census.survey(folder.root, options.signal)
}

interface Instance {
  /** Relative to the folder: for messages and for order. */
  readonly path: string
  readonly absolute: string
  readonly uid: string
  readonly number: number | undefined
}

interface Series {
  readonly uid: string
  readonly number: string | undefined
  readonly type: string
  readonly modality: string
  /** Date and time, for order. */
  readonly startedAt: string
  readonly instances: { readonly [IMAGES]: Instance[]; readonly [OTHERS]: Instance[] }
  refused: number
}

interface Study {
  readonly uid: string
  /** Undefined: the header does not say, and neither does an option. */
  readonly project: string | undefined
  readonly subject: string | undefined
  readonly session: string
  readonly date: string | undefined
  readonly startedAt: string
  /** A file of it, for messages. */
  readonly example: string
  readonly series: Map<string, Series>
  refused: boolean
}

class Census {
  private readonly studies = new Map<string, Study>()
  private readonly foreign: string[] = []
  private foreignCount = 0
  private dicomCount = 0
  private seen = 0
  private readonly noted = new Set<string>()

  constructor(
    private readonly options: ReadDicomOptions,
    private readonly report: (problem: ImportProblem) => void,
  ) {}

  look(entry: SourceEntry, reading: DicomReading): void {
    this.seen += 1
    this.options.onFile?.(this.seen)
    if (reading.kind === 'foreign') {
      this.foreignCount += 1
      if (this.foreign.length < NAMED_FOREIGN_FILES) this.foreign.push(entry.path)
      return
    }
    this.dicomCount += 1
    if (reading.kind === 'index') return
    if (reading.kind === 'damaged') {
      this.report({
        kind: 'error',
        path: shownPath(entry.path),
        reason: reading.reason,
        hint: 'Get a whole copy of the file, or leave it out: then its scan is marked unusable.',
      })
      if (reading.header !== undefined) this.seriesOf(reading.header, entry).refused += 1
      return
    }
    const { header } = reading
    const series = this.seriesOf(header, entry)
    const image = header.hasPixelData || DATA_WITHOUT_PIXELS.has(header.sopClassUid)
    series.instances[image ? IMAGES : OTHERS].push({
      path: entry.path,
      absolute: entry.absolute,
      uid: header.sopInstanceUid,
      number: header.instanceNumber,
    })
  }

  async survey(root: string, signal: AbortSignal | undefined): Promise<DicomSurvey> {
    this.reportForeign()
    if (this.dicomCount === 0) {
      throw new InputError(
        `Cannot import ${shownPath(root)} as DICOM: none of its ${this.foreignCount} files is DICOM.`,
        {
          details: { path: root, files: this.foreignCount },
          hint: 'Name the folder that holds the DICOM files, or choose another kind of import.',
        },
      )
    }
    const items: SurveyItem[] = []
    for (const [study, session] of this.sessionLabels()) {
      signal?.throwIfAborted()
      const { project, subject } = study
      if (project === undefined || subject === undefined) continue
      const modality = modalityOf(study)
      for (const [series, label] of scanLabels([...study.series.values()])) {
        for (const resource of [IMAGES, OTHERS] as const) {
          const files = await this.files(series.instances[resource], signal)
          if (files.length === 0) continue
          items.push({
            project,
            subject,
            session,
            ...(modality !== undefined && { modality }),
            ...(study.date !== undefined && { date: study.date }),
            // Without damage no word on quality: a person's verdict that is in the archive already stays.
            scan: { label, type: series.type, ...(series.refused > 0 && { quality: 'unusable' }) },
            resource,
            files,
          })
        }
      }
    }
    return { root, items, dicomFiles: this.dicomCount, otherFiles: this.foreignCount }
  }

  private seriesOf(header: DicomHeader, entry: SourceEntry): Series {
    const study = this.studyOf(header, entry)
    let series = study.series.get(header.seriesInstanceUid)
    if (series === undefined) {
      const { texts } = header
      series = {
        uid: header.seriesInstanceUid,
        number: texts.SeriesNumber,
        type: oneLine(
          texts.SeriesDescription ?? texts.ProtocolName ?? texts.SequenceName ?? texts.Modality ?? 'unknown',
        ),
        modality: texts.Modality ?? '',
        startedAt: [
          texts.SeriesDate ?? texts.AcquisitionDate ?? '',
          texts.SeriesTime ?? texts.AcquisitionTime ?? '',
        ].join(' '),
        instances: { [IMAGES]: [], [OTHERS]: [] },
        refused: 0,
      }
      study.series.set(series.uid, series)
    }
    return series
  }

  private studyOf(header: DicomHeader, entry: SourceEntry): Study {
    const labels = this.labelsOf(header, entry)
    const known = this.studies.get(header.studyInstanceUid)
    if (known !== undefined) {
      if (known.subject !== labels.subject && !known.refused) {
        known.refused = true
        this.report({
          kind: 'error',
          path: shownPath(entry.path),
          reason: `it is of the same study as ${shownPath(known.example)}, but of another subject`,
          hint: 'Find out whose images these are; import them apart, or correct the headers.',
        })
      }
      return known
    }
    const date = isoDate(header.texts.StudyDate ?? header.texts.SeriesDate)
    const study: Study = {
      uid: header.studyInstanceUid,
      ...labels,
      date,
      startedAt: `${header.texts.StudyDate ?? ''} ${header.texts.StudyTime ?? ''}`,
      example: entry.path,
      series: new Map(),
      refused: false,
    }
    this.studies.set(study.uid, study)
    if (study.project === undefined) {
      this.report({
        kind: 'error',
        path: shownPath(entry.path),
        reason: 'nothing says which project it is of',
        hint: 'Give the project with --project; or write "Project:X" into PatientComments or StudyComments.',
      })
    }
    if (study.subject === undefined) {
      this.report({
        kind: 'error',
        path: shownPath(entry.path),
        reason: 'its header names no subject: PatientID and PatientName are empty or too long',
        hint: 'Give a rule for the subject, or correct the header.',
      })
    }
    return study
  }

  private labelsOf(
    header: DicomHeader,
    entry: SourceEntry,
  ): {
    readonly project: string | undefined
    readonly subject: string | undefined
    readonly session: string
  } {
    const { texts } = header
    const { map = {} } = this.options
    const stated = statedLabels(texts)
    const label = (what: string, ...choices: readonly (string | undefined)[]): string | undefined => {
      const text = choices.find((choice) => choice !== undefined)
      const made = text === undefined ? undefined : labelFromText(text)
      if (made !== undefined && made !== text && !this.noted.has(`${what} ${made}`)) {
        this.noted.add(`${what} ${made}`)
        this.report({
          kind: 'note',
          path: shownPath(entry.path),
          reason: `its ${what} cannot be a label as it is and becomes ${made}`,
        })
      }
      return made
    }
    return {
      project: this.options.project ?? label('project', applied(map.project, texts), stated.project),
      subject: label(
        'subject',
        applied(map.subject, texts),
        stated.subject,
        texts.PatientID,
        texts.PatientName,
      ),
      session:
        label('session', applied(map.session, texts), stated.session, studyLabel(header)) ??
        `study_${shortHash(header.studyInstanceUid, 8)}`,
    }
  }

  /** Studies in order with labels that are unique in their subject. */
  private sessionLabels(): (readonly [Study, string])[] {
    const key = (study: Study): string => [study.project, study.subject].join('/')
    const studies = [...this.studies.values()]
      .filter((study) => !study.refused)
      .sort((a, b) => order(key(a), key(b)) || order(a.startedAt, b.startedAt) || order(a.uid, b.uid))
    const taken = new Set<string>()
    return studies.map((study) => {
      let label = study.session
      if (taken.has(`${key(study)}/${label}`)) {
        label = `${label}-${shortHash(study.uid, 4)}`
        this.report({
          kind: 'note',
          path: shownPath(study.example),
          reason: `another study of this subject has the session label ${study.session} too; this one becomes ${label}`,
        })
      }
      taken.add(`${key(study)}/${label}`)
      return [study, label] as const
    })
  }

  /** Names in the resource: unique, and the same whenever the same series is imported. */
  private async files(
    instances: readonly Instance[],
    signal: AbortSignal | undefined,
  ): Promise<SurveyItem['files']> {
    const sorted = [...instances].sort((a, b) => order(a.path, b.path))
    const kept = new Map<string, Instance>()
    for (const instance of sorted) {
      const first = kept.get(instance.uid)
      if (first === undefined) kept.set(instance.uid, instance)
      else if (await sameFile(first.absolute, instance.absolute, signal)) {
        this.report({
          kind: 'skipped',
          path: shownPath(instance.path),
          reason: `it is a copy of ${shownPath(first.path)}`,
        })
      } else {
        this.report({
          kind: 'error',
          path: shownPath(instance.path),
          reason: `it has the same SOPInstanceUID as ${shownPath(first.path)}, but other content`,
          hint: 'Keep one of the two.',
        })
      }
    }
    const count = new Map<number, number>()
    for (const { number } of kept.values())
      if (number !== undefined) count.set(number, (count.get(number) ?? 0) + 1)
    return [...kept.values()]
      .map((instance) => {
        const { number, uid, absolute } = instance
        const padded = number === undefined ? 'instance' : String(number).padStart(6, '0')
        const alone = number !== undefined && count.get(number) === 1
        return { name: alone ? `${padded}.dcm` : `${padded}-${shortHash(uid, 12)}.dcm`, path: absolute }
      })
      .sort((a, b) => order(a.name, b.name))
  }

  private reportForeign(): void {
    for (const path of this.foreign) {
      this.report({ kind: 'skipped', path: shownPath(path), reason: 'it is not DICOM' })
    }
    const more = this.foreignCount - this.foreign.length
    if (more > 0) this.report({ kind: 'skipped', path: '.', reason: `${more} more files are not DICOM` })
  }
}

/** Series in order with labels that are unique in their session: `3`, `3-MR2`, `3-MR3`. */
function scanLabels(all: readonly Series[]): (readonly [Series, string])[] {
  const taken = new Set<string>()
  return [...all]
    .sort(
      (a, b) =>
        Number(a.number ?? Infinity) - Number(b.number ?? Infinity) ||
        order(a.startedAt, b.startedAt) ||
        order(a.uid, b.uid),
    )
    .map((series) => {
      const base =
        (series.number === undefined ? undefined : labelFromText(series.number)) ??
        `series_${shortHash(series.uid, 8)}`
      let label = base
      const modality = /^[A-Z]{2}/.exec(series.modality)?.[0] ?? 'OT'
      for (let copy = 2; taken.has(label); copy += 1) label = `${base}-${modality}${copy}`
      taken.add(label)
      return [series, label] as const
    })
}

/** XNAT's rule: `Project:X Subject:Y Session:Z` in a comment; each part may be missing. */
function statedLabels(texts: DicomHeader['texts']): {
  readonly project?: string
  readonly subject?: string
  readonly session?: string
} {
  for (const comment of [texts.PatientComments, texts.StudyComments]) {
    const stated = (key: string): string | undefined =>
      new RegExp(`(?:^|[\\s;,])${key}\\s*:\\s*([^\\s;,]+)`, 'i').exec(comment ?? '')?.[1]
    const [project, subject, session] = [stated('Project'), stated('Subject'), stated('Session')]
    if (project === undefined && subject === undefined && session === undefined) continue
    return {
      ...(project !== undefined && { project }),
      ...(subject !== undefined && { subject }),
      ...(session !== undefined && { session }),
    }
  }
  return {}
}

const KEYWORD = /\{([^{}]*)\}/g

function checkRule(rule: string | undefined): void {
  for (const [, keyword = ''] of rule?.matchAll(KEYWORD) ?? []) {
    if (!Object.hasOwn(DICOM_KEYWORDS, keyword)) {
      throw new InputError(`The label rule ${JSON.stringify(rule)} names the unknown keyword {${keyword}}.`, {
        details: { rule, keyword },
        hint: `Known are ${Object.keys(DICOM_KEYWORDS).join(', ')}.`,
      })
    }
  }
}

/** A rule with its keywords filled in; undefined when one of them is empty. */
function applied(rule: string | undefined, texts: DicomHeader['texts']): string | undefined {
  if (rule === undefined) return undefined
  let complete = true
  const text = rule.replace(KEYWORD, (_, keyword: string) => {
    const value = texts[keyword as DicomKeyword]
    if (value === undefined) complete = false
    return value ?? ''
  })
  return complete && text !== '' ? text : undefined
}

/** From the study alone, so that it does not depend on what else is imported with it. */
function studyLabel({ texts, studyInstanceUid }: DicomHeader): string | undefined {
  const day = isoDate(texts.StudyDate)?.replaceAll('-', '')
  if (day === undefined) return undefined
  const time = /^\d{4}/.exec((texts.StudyTime ?? '').replaceAll(':', ''))?.[0]
  return `${day}_${time ?? shortHash(studyInstanceUid, 4)}`
}

/** DICOM's `YYYYMMDD` (also the older `YYYY.MM.DD`) as `YYYY-MM-DD`. */
function isoDate(text: string | undefined): string | undefined {
  const [, year, month, day] = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(text ?? '') ?? []
  return year === undefined ? undefined : `${year}-${month ?? ''}-${day ?? ''}`
}

function modalityOf(study: Study): string | undefined {
  const found = [...study.series.values()]
    .map((series) => series.modality)
    .filter((word) => /^[A-Z]{2,16}$/.test(word))
  if (found.includes('PT')) return 'PET'
  return found.includes('MR') ? 'MR' : found.filter((word) => !NO_SESSION_MODALITY.has(word)).sort(order)[0]
}

/** Scan types are shown in tables and matched by rules: one line, single blanks. */
function oneLine(text: string): string {
  return (
    text
      .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
      .trim()
      .slice(0, 200) || 'unknown'
  )
}

function shortHash(text: string, digits: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, digits)
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

async function sameFile(a: string, b: string, signal: AbortSignal | undefined): Promise<boolean> {
  const [first, second] = await Promise.all([stat(a), stat(b)])
  if (first.size !== second.size) return false
  if (first.dev === second.dev && first.ino === second.ino) return true
  const [left, right] = await Promise.all([digest(a, signal), digest(b, signal)])
  return left === right
}

async function digest(path: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash, signal === undefined ? {} : { signal })
  return hash.digest('hex')
}
