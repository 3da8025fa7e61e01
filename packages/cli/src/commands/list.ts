import {
  formatDuration,
  formatMemory,
  formatRef,
  wildcard,
  type ArchiveRef,
  type AssessorNode,
  type Processor,
  type ResourceNode,
  type Selection,
} from '@orbweaver/core'
import { Argument, type Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { addSelectors, selectsEverything, type SelectorOptions } from '../selectors.js'
import type { Session } from '../session.js'
import { nothingMatches, streamJson } from '../tasks.js'
import type { Column } from '../terminal/table.js'
import { count } from '../terminal/text.js'

const KINDS = ['projects', 'subjects', 'sessions', 'scans', 'assessors', 'processors'] as const
type Kind = (typeof KINDS)[number]

export function registerList(program: Command, bind: Bind): void {
  const command = program
    .command('list')
    .summary('what the archive and the site have')
    .description('List what the archive holds, or the processors of the site.')
    .addArgument(new Argument('[what]', 'what to list').choices(KINDS).default('projects'))
  addSelectors(command, ['status', 'failed', 'since'])
  bind<SelectorOptions, [Kind]>(command, async (session, options, kind) => {
    const selection = await session.selection(options)
    if (kind === 'processors') return listProcessors(session, selection)
    const rows = rowsOf(session, selection, kind)
    let total = 0
    const counted = (async function* () {
      for await (const row of rows) {
        total += 1
        yield row
      }
    })()
    if (session.json) {
      await streamJson(session, 'list', kind, async (add) => {
        for await (const { ref, fields } of counted) await add({ ref, ...fields })
        return { total }
      })
    } else {
      await session.streamTable(columnsOf(kind), counted)
      if (total === 0 && selectsEverything(selection))
        session.note(`The archive has no ${kind} for this site.`)
      else if (total > 0) session.note(session.terminal.paintError.dim(count(total, kind.slice(0, -1))))
    }
    if (total === 0 && !selectsEverything(selection)) throw nothingMatches(selection, kind)
    return EXIT.good
  })
}

interface Row {
  readonly ref: ArchiveRef
  readonly fields: Readonly<Record<string, unknown>>
  /** For the table. */
  readonly cells: Readonly<Record<string, string>>
}

async function* rowsOf(session: Session, selection: Selection, kind: Kind): AsyncGenerator<Row> {
  const { store, engine } = await session.open()
  const { signal } = session
  const served = new Map(engine.settings.projects.map(({ id, processors }) => [id, processors]))
  for (const project of await store.projects({ signal })) {
    if (!matches(selection.projects, project)) continue
    if (kind === 'projects') {
      const processors = served.get(project)?.map(({ name }) => name)
      yield {
        ref: { project },
        fields: { served: processors !== undefined, processors: processors ?? [] },
        cells: { detail: processors === undefined ? 'not in the site file' : processors.join(', ') },
      }
      continue
    }
    yield* nodesOf(session, selection, kind, project)
  }
}

async function* nodesOf(
  session: Session,
  selection: Selection,
  kind: Kind,
  project: string,
): AsyncGenerator<Row> {
  const { store } = await session.open()
  const snapshot = await store.snapshot(project, { signal: session.signal })
  const made = ({ procType }: AssessorNode): boolean =>
    matches(selection.processors, procType) || matches(selection.processors, procType.replace(/_v\d+$/, ''))
  const whole = selection.subjects === undefined && selection.sessions === undefined
  if (kind === 'assessors' && whole) {
    yield* snapshot.project.assessors.filter(made).map((assessor) => assessorRow({ project }, assessor))
  }
  for await (const subject of snapshot.subjects) {
    if (!matches(selection.subjects, subject.label)) continue
    const at = { project, subject: subject.label }
    const sessions = subject.sessions.filter(({ label }) => matches(selection.sessions, label))
    if (kind === 'subjects') {
      if (selection.sessions !== undefined && sessions.length === 0) continue
      yield {
        ref: at,
        fields: { sessions: sessions.length, resources: subject.resources },
        cells: { sessions: String(sessions.length), detail: resourceWords(subject.resources) },
      }
      continue
    }
    if (kind === 'assessors' && selection.sessions === undefined) {
      yield* subject.assessors.filter(made).map((assessor) => assessorRow(at, assessor))
    }
    for (const node of sessions) {
      const ref = { ...at, session: node.label }
      if (kind === 'sessions') {
        yield {
          ref,
          fields: {
            modality: node.modality,
            date: node.date,
            scans: node.scans.length,
            assessors: node.assessors.length,
            resources: node.resources,
          },
          cells: {
            modality: node.modality ?? '',
            date: node.date ?? '',
            scans: String(node.scans.length),
            assessors: String(node.assessors.length),
          },
        }
      } else if (kind === 'scans') {
        for (const scan of node.scans) {
          yield {
            ref: { ...ref, scan: scan.label },
            fields: {
              type: scan.type,
              quality: scan.quality,
              description: scan.description,
              resources: scan.resources,
            },
            cells: {
              type: scan.type,
              quality: scan.quality,
              description: scan.description ?? '',
              detail: resourceWords(scan.resources),
            },
          }
        }
      } else yield* node.assessors.filter(made).map((assessor) => assessorRow(ref, assessor))
    }
  }
}

function assessorRow(at: ArchiveRef, assessor: AssessorNode): Row {
  return {
    ref: { ...at, assessor: assessor.label },
    fields: {
      procType: assessor.procType,
      version: assessor.procVersion,
      state: assessor.state,
      statusWord: assessor.statusWord,
      quality: assessor.quality,
      resources: assessor.resources,
    },
    cells: {
      type: assessor.procType,
      state: assessor.state ?? assessor.statusWord,
      quality: assessor.quality,
      detail: resourceWords(assessor.resources),
    },
  }
}

function columnsOf(kind: Kind): readonly Column<Row>[] {
  const cell = (head: string, key: string, options: Partial<Column<Row>> = {}): Column<Row> => ({
    head,
    value: ({ cells }) => cells[key] ?? '',
    ...options,
  })
  const place: Column<Row> = {
    head: kind.slice(0, -1).toUpperCase(),
    value: ({ ref }) => formatRef(ref),
    narrow: 'middle',
    least: 20,
  }
  const resources = cell('RESOURCES', 'detail', { narrow: 'wrap', least: 16 })
  const right = { align: 'right' } as const
  switch (kind) {
    case 'projects':
      return [place, cell('PROCESSORS', 'detail', { narrow: 'wrap', least: 20 })]
    case 'subjects':
      return [place, cell('SESSIONS', 'sessions', right), resources]
    case 'sessions':
      return [
        place,
        cell('MODALITY', 'modality'),
        cell('DATE', 'date'),
        cell('SCANS', 'scans', right),
        cell('RESULTS', 'assessors', right),
      ]
    case 'scans':
      return [
        place,
        cell('TYPE', 'type', { narrow: 'end' }),
        cell('QUALITY', 'quality'),
        cell('DESCRIPTION', 'description', { narrow: 'end' }),
        resources,
      ]
    default:
      return [
        place,
        cell('TYPE', 'type', { narrow: 'middle' }),
        cell('STATE', 'state'),
        cell('QUALITY', 'quality', { narrow: 'end' }),
        resources,
      ]
  }
}

/** `NIFTI 1, DICOM 181`: labels with their number of files. */
function resourceWords(resources: readonly ResourceNode[]): string {
  return resources
    .map(({ label, fileCount }) => (fileCount === undefined ? label : `${label} ${fileCount}`))
    .join(', ')
}

function matches(words: readonly string[] | undefined, label: string): boolean {
  return words === undefined || words.some((word) => wildcard(word)(label))
}

async function listProcessors(session: Session, selection: Selection): Promise<number> {
  const { settings } = await session.site()
  const used = new Map<string, { readonly processor: Processor; readonly projects: string[] }>()
  for (const { id, processors } of settings.projects) {
    if (!matches(selection.projects, id)) continue
    for (const processor of processors) {
      const { name, procType, version } = processor
      if (!matches(selection.processors, name) && !matches(selection.processors, procType)) continue
      const key = `${name} ${version}`
      const known = used.get(key)
      if (known === undefined) used.set(key, { processor, projects: [id] })
      else known.projects.push(id)
    }
  }
  const rows = [...used.values()].sort((a, b) => (a.processor.name < b.processor.name ? -1 : 1))
  if (session.json) {
    await session.answer('list', {
      processors: rows.map(({ processor, projects }) => ({
        name: processor.name,
        version: processor.version,
        procType: processor.procType,
        level: processor.level,
        description: processor.description,
        requirements: processor.requirements,
        inputs: processor.inputs.map(({ name, kind, choose, optional }) => ({
          name,
          kind,
          choose,
          optional,
        })),
        outputs: processor.outputs,
        projects,
      })),
      total: rows.length,
    })
    return EXIT.good
  }
  await session.table(
    [
      { head: 'PROCESSOR', value: ({ processor }) => processor.name, narrow: 'middle' },
      { head: 'VERSION', value: ({ processor }) => processor.version },
      { head: 'LEVEL', value: ({ processor }) => processor.level },
      {
        head: 'ASKS FOR',
        value: ({ processor: { requirements: r } }) =>
          `${count(r.cpus, 'cpu')}, ${formatMemory(r.memoryBytes)}, ${formatDuration(r.walltimeSeconds)}`,
        narrow: 'wrap',
      },
      { head: 'PROJECTS', value: ({ projects }) => projects.join(', '), narrow: 'wrap' },
      { head: 'WHAT IT DOES', value: ({ processor }) => processor.description, narrow: 'wrap', least: 20 },
    ],
    rows,
  )
  return EXIT.good
}
