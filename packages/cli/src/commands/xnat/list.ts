import { wildcard, type CallOptions } from '@orbweaver/core'
import type { XnatClient, XnatRow } from '@orbweaver/xnat'
import { Argument, type Command } from 'commander'
import type { Bind } from '../../program.js'
import { EXIT, UsageError } from '../../exit.js'
import { csvCell } from '../report.js'
import { addPlace, placeOf, withClient, type PlaceOptions } from './connect.js'

const KINDS = ['projects', 'subjects', 'sessions', 'scans', 'assessors', 'resources', 'files'] as const
type Kind = (typeof KINDS)[number]
type Cells = Readonly<Record<string, string>>

interface XnatListOptions extends PlaceOptions {
  readonly csv?: boolean
  readonly type?: string
}

const COLUMNS: Readonly<Record<Kind, readonly string[]>> = {
  projects: ['id', 'name', 'description'],
  subjects: ['id', 'label', 'project'],
  sessions: ['id', 'label', 'subject_label', 'date', 'xsitype'],
  scans: ['id', 'type', 'quality', 'series_description', 'xsitype'],
  assessors: ['id', 'label', 'date', 'xsitype'],
  resources: ['label', 'category', 'owner', 'files', 'bytes', 'format', 'content'],
  files: ['path', 'bytes', 'md5', 'format', 'content', 'tags'],
}

export function registerXnatList(parent: Command, bind: Bind): void {
  const command = parent
    .command('list')
    .summary('what is there')
    .description('List projects, or what lies in a place. Labels may hold * and ? in --type only.')
    .addArgument(new Argument('<kind>', 'what').choices(KINDS))
    .option(
      '--type <word>',
      'only this type: of scans (T1*), or of sessions and assessors (xnat:mrSessionData)',
    )
    .option('--csv', 'comma-separated, for a spreadsheet')
  addPlace(command)
  bind<XnatListOptions, [Kind]>(command, async (session, options, kind) => {
    if (options.csv === true && session.json) {
      throw new UsageError('--csv and --json are two forms of one answer.', 'Give one of them.')
    }
    const call: CallOptions = { signal: session.signal }
    const all = await withClient(session, options, (client) => cellsOf(client, kind, options, call))
    const { type } = options
    const rows =
      type === undefined
        ? all
        : all.filter((row) => wildcard(type)((kind === 'scans' ? row.type : row.xsitype) ?? ''))
    const columns = COLUMNS[kind]
    if (session.json) await session.answer('xnat-list', { kind, items: rows })
    else if (options.csv === true) {
      await session.terminal.lines([
        columns.join(','),
        ...rows.map((row) => columns.map((name) => csvCell(row[name])).join(',')),
      ])
    } else {
      await session.table(
        columns.map((name) => ({ head: name.toUpperCase(), value: (row: Cells) => row[name] ?? '' })),
        rows,
      )
      if (rows.length === 0) session.note(`No ${kind} there.`)
    }
    return EXIT.good
  })
}

async function cellsOf(
  client: XnatClient,
  kind: Kind,
  options: XnatListOptions,
  call: CallOptions,
): Promise<readonly Cells[]> {
  const list = { columns: COLUMNS[kind], ...call }
  const pick = (rows: readonly XnatRow[]): readonly Cells[] =>
    rows.map((row) => Object.fromEntries(COLUMNS[kind].map((name) => [name, row[name] ?? ''])))
  if (kind === 'projects') return pick(await client.projects(call))
  const place = placeOf(options)
  const demand = (level: 'session' | 'resource'): void => {
    if (options[level] === undefined)
      throw new UsageError(`${kind} are those of a ${level}.`, `Give --${level}.`)
  }
  // An empty list is also XNAT's answer for a place that is not there.
  if (place.subject !== undefined || kind === 'resources' || kind === 'files') await client.item(place, call)
  switch (kind) {
    case 'subjects':
      return pick(await client.subjects(place.project, list))
    case 'sessions':
      return pick(await client.experiments(place, list))
    case 'scans':
      demand('session')
      return pick(await client.scans(sessionOf(place), list))
    case 'assessors':
      demand('session')
      return pick(await client.assessors(sessionOf(place), list))
    case 'resources':
      return (await client.resources(place, { all: place.session !== undefined, ...call })).map((one) => ({
        label: one.label,
        category: one.category,
        owner: one.ownerId,
        files: String(one.fileCount ?? ''),
        bytes: String(one.bytes ?? ''),
        format: one.format,
        content: one.content,
      }))
    case 'files':
      demand('resource')
      return (await client.files({ node: place, resource: options.resource ?? '' }, call)).map((file) => ({
        path: file.path,
        bytes: String(file.bytes),
        md5: file.checksum?.hex ?? '',
        format: file.format,
        content: file.content,
        tags: file.tags,
      }))
  }
}

function sessionOf<T extends { readonly scan?: string; readonly assessor?: string }>({
  scan: _scan,
  assessor: _assessor,
  ...session
}: T): Omit<T, 'scan' | 'assessor'> {
  return session
}
