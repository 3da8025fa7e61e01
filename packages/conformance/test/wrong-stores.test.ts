import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import {
  AccessDeniedError,
  ConflictError,
  NotFoundError,
  StoreUnavailableError,
  stateOfStatusWord,
  type AssessorNode,
  type DataStore,
  type FileEntry,
  type FileSource,
  type ProjectSnapshot,
  type ResourceRef,
  type SubjectNode,
  type TaskRecord,
} from '@orbweaver/core'
import type { InMemoryStore } from '@orbweaver/core/testing'
import { dataStoreSuite, listClaims, type StoreHarness } from '@orbweaver/conformance'
import { runClaims } from './doubles/failed-claims.js'
import { memoryStoreHarness, type MemoryStoreLabOptions } from './doubles/memory-store.js'
import { override } from './doubles/override.js'

type Change = (store: InMemoryStore) => Partial<DataStore>

function wrongStore(change: Change, options: MemoryStoreLabOptions = {}): StoreHarness {
  return memoryStoreHarness({ ...options, wrap: (store) => override<DataStore>(store, change(store)) })
}

/** Change each subject of a snapshot. */
function shown(
  change: (subjects: readonly SubjectNode[]) => readonly SubjectNode[],
  node: (snapshot: ProjectSnapshot) => ProjectSnapshot['project'] = ({ project }) => project,
): Change {
  return (store) => ({
    async snapshot(project, options) {
      const snapshot = await store.snapshot(project, options)
      return {
        project: node(snapshot),
        subjects: (async function* () {
          const all: SubjectNode[] = []
          for await (const subject of snapshot.subjects) all.push(subject)
          for (const subject of change(all)) {
            options?.signal?.throwIfAborted()
            yield subject
          }
        })(),
      }
    },
  })
}

/** A store that reads all of a source before it sends it. */
async function whole(source: FileSource): Promise<Map<string, Buffer>> {
  const content = new Map<string, Buffer>()
  for (const { path } of source.files) content.set(path, await buffer(await source.open(path)))
  return content
}

function sourceOf(files: readonly FileEntry[], content: ReadonlyMap<string, Buffer>): FileSource {
  return {
    files,
    open: async (path) => Readable.from([content.get(path) ?? Buffer.alloc(0)], { objectMode: false }),
  }
}

function ascii(record: TaskRecord): TaskRecord {
  return { ...record, reason: record.reason.replace(/[^ -~]/g, '?') }
}

const wrong: readonly {
  readonly name: string
  readonly harness: StoreHarness
  readonly fails: readonly string[]
}[] = [
  {
    name: 'overwrites an assessor that is there',
    harness: wrongStore((store) => ({
      async createAssessor(ref, init, options) {
        const made = await store.createAssessor(ref, init, options)
        if (made.created) return made
        const node = await store.updateAssessor(ref, { record: init.record }, made.node.revision)
        return { node, record: init.record, created: true }
      },
    })),
    fails: ['S2.2', 'S2.3'],
  },
  {
    name: 'updates whatever the revision',
    harness: wrongStore((store) => ({
      async updateAssessor(ref, change, _revision, options) {
        for (;;) {
          const { node } = await store.readAssessor(ref, options)
          try {
            return await store.updateAssessor(ref, change, node.revision, options)
          } catch (error) {
            if (!(error instanceof ConflictError)) throw error
          }
        }
      },
    })),
    fails: ['S3.2', 'S3.3', 'S3.5'],
  },
  {
    name: 'counts revisions from one for each assessor',
    harness: wrongStore((store) => {
      const counts = new Map<string, string[]>()
      const short = (node: AssessorNode): AssessorNode => {
        const known = counts.get(node.label) ?? []
        counts.set(node.label, known)
        if (!known.includes(node.revision)) known.push(node.revision)
        return { ...node, revision: String(known.indexOf(node.revision) + 1) }
      }
      return {
        async createAssessor(ref, init, options) {
          const made = await store.createAssessor(ref, init, options)
          if (made.created) counts.delete(made.node.label)
          return { ...made, node: short(made.node) }
        },
        async readAssessor(ref, options) {
          const detail = await store.readAssessor(ref, options)
          return { ...detail, node: short(detail.node) }
        },
        async updateAssessor(ref, change, revision, options) {
          const real = counts.get(ref.assessor ?? '')?.[Number(revision) - 1] ?? 'none'
          return short(await store.updateAssessor(ref, change, real, options))
        },
      }
    }),
    fails: ['S2.1', 'S2.6', 'S3.5', 'S3.6'],
  },
  {
    name: 'lets half a file be seen when an upload breaks',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const received = new Map<string, Buffer>()
        try {
          for (const { path } of source.files) {
            const chunks: Buffer[] = []
            try {
              for await (const chunk of await source.open(path, options))
                chunks.push(Buffer.from(chunk as Buffer))
            } finally {
              received.set(path, Buffer.concat(chunks))
            }
            options?.signal?.throwIfAborted()
          }
        } catch (error) {
          const files = [...received].map(([path, data]) => ({ path, bytes: data.length }))
          await store.upload(ref, sourceOf(files, received))
          throw error
        }
        return await store.upload(ref, sourceOf(source.files, received), options)
      },
    })),
    fails: ['S5.1', 'S5.4', 'S10.1'],
  },
  {
    name: 'removes what was there before an upload has come through',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const listed = await store.listFiles(ref).catch(() => [])
        await store.upload(ref, sourceOf([], new Map()))
        expect(listed).to.be.an('array')
        return await store.upload(ref, source, options)
      },
    })),
    fails: ['S4.4', 'S4.7', 'S5.3', 'S6.5', 'S10.1'],
  },
  {
    name: 'keeps old files of a resource',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const old = new Map<string, Buffer>()
        const entries: FileEntry[] = []
        for (const entry of await store.listFiles(ref).catch(() => [])) {
          if (source.files.some(({ path }) => path === entry.path)) continue
          entries.push(entry)
          await store.download(ref, [entry], {
            async write(path, content) {
              old.set(path, await buffer(content))
            },
          })
        }
        return await store.upload(
          ref,
          {
            files: [...source.files, ...entries],
            open: (path, call) =>
              old.has(path) ? sourceOf(entries, old).open(path) : source.open(path, call),
          },
          options,
        )
      },
    })),
    fails: ['S4.3', 'S4.8', 'S4.15', 'S5.4'],
  },
  {
    name: 'sends everything each time',
    harness: wrongStore((store) => ({
      upload: (ref, source, options) =>
        store.upload(
          ref,
          { ...source, files: source.files.map(({ path, bytes }) => ({ path, bytes })) },
          options,
        ),
    })),
    fails: ['S4.4', 'S4.7', 'S5.3'],
  },
  {
    name: 'takes files of the same name and size for identical',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const there = await store.listFiles(ref).catch(() => [])
        const same = new Map(there.map((entry) => [`${entry.path} ${entry.bytes}`, entry]))
        const files = source.files.map((entry) => same.get(`${entry.path} ${entry.bytes}`) ?? entry)
        return await store.upload(ref, { ...source, files }, options)
      },
    })),
    fails: ['S4.4', 'S4.5', 'S4.7'],
  },
  {
    name: 'checks nothing that it is sent',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const content = await whole(source)
        const files = [...content].map(([path, data]) => ({ path, bytes: data.length }))
        return await store.upload(ref, sourceOf(files, content), options)
      },
    })),
    fails: ['S4.4', 'S4.7', 'S5.3', 'S6.6'],
  },
  {
    name: 'checks nothing that it gives out',
    harness: wrongStore((store) => ({
      async download(ref, files, sink, options) {
        const listed = await store.listFiles(ref, options)
        const real = files.map((entry) => listed.find(({ path }) => path === entry.path) ?? entry)
        await store.download(ref, real, sink, options)
      },
    })),
    fails: ['S4.10'],
  },
  {
    name: 'brings every file whatever was asked for',
    harness: wrongStore((store) => ({
      async download(ref, _files, sink, options) {
        await store.download(ref, await store.listFiles(ref, options), sink, options)
      },
    })),
    fails: ['S4.9', 'S4.10', 'S6.7', 'S8.2'],
  },
  {
    name: 'reads text, not bytes',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        await store.upload(ref, source, options)
        const content = await whole(source)
        const texts = new Map([...content].map(([path, data]) => [path, Buffer.from(data.toString('utf8'))]))
        const files = [...texts].map(([path, data]) => ({ path, bytes: data.length }))
        return await store.upload(ref, sourceOf(files, texts))
      },
    })),
    fails: ['S4.1', 'S4.2', 'S4.4', 'S5.3'],
  },
  {
    name: 'loses empty files',
    harness: wrongStore((store) => ({
      upload: (ref, source, options) =>
        store.upload(ref, { ...source, files: source.files.filter(({ bytes }) => bytes > 0) }, options),
    })),
    fails: ['S4.1', 'S4.2'],
  },
  {
    name: 'gives back what it was told instead of what the archive lists',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        await store.upload(ref, source, options)
        return source.files.map(({ path, bytes }) => ({ path, bytes: bytes + 1 }))
      },
    })),
    fails: ['S4.2'],
  },
  {
    name: 'tells no progress',
    harness: wrongStore((store) => ({ upload: (ref, source) => store.upload(ref, source) })),
    fails: ['S4.11', 'S5.5', 'S10.1'],
  },
  {
    name: 'gives subjects in no order',
    harness: wrongStore(shown((subjects) => [...subjects].reverse())),
    fails: ['S1.2', 'S1.3', 'S1.4', 'S1.5', 'S1.6', 'S1.7', 'S1.8', 'S2.4', 'S4.6', 'S6.1'],
  },
  {
    name: 'leaves out sessions without scans and subjects without sessions',
    harness: wrongStore(
      shown((subjects) =>
        subjects
          .map((subject) => ({
            ...subject,
            sessions: subject.sessions.filter(({ scans }) => scans.length > 0),
          }))
          .filter(({ sessions }) => sessions.length > 0),
      ),
    ),
    fails: ['S1.2', 'S1.3', 'S1.4', 'S1.5', 'S1.6', 'S1.7', 'S4.6'],
  },
  {
    name: 'shows no resources',
    harness: wrongStore(
      shown((subjects) =>
        subjects.map((subject) => ({
          ...subject,
          resources: [],
          sessions: subject.sessions.map((session) => ({
            ...session,
            resources: [],
            scans: session.scans.map((scan) => ({ ...scan, resources: [] })),
          })),
        })),
      ),
    ),
    fails: ['S1.3', 'S4.6'],
  },
  {
    name: 'shows no assessors',
    harness: wrongStore(
      shown(
        (subjects) =>
          subjects.map((subject) => ({
            ...subject,
            assessors: [],
            sessions: subject.sessions.map((session) => ({ ...session, assessors: [] })),
          })),
        ({ project }) => ({ ...project, assessors: [] }),
      ),
    ),
    fails: ['S2.1', 'S2.3', 'S2.4', 'S2.6', 'S3.6', 'S4.2', 'S6.1', 'S6.2'],
  },
  {
    name: 'forgets scans of two digits',
    harness: wrongStore(
      shown((subjects) =>
        subjects.map((subject) => ({
          ...subject,
          sessions: subject.sessions.map((session) => ({
            ...session,
            scans: session.scans.filter(({ label }) => label.length === 1),
          })),
        })),
      ),
    ),
    fails: ['S1.10'],
  },
  {
    name: 'does not filter snapshots',
    harness: wrongStore((store) => ({
      snapshot: (project, { signal } = {}) => store.snapshot(project, signal === undefined ? {} : { signal }),
    })),
    fails: ['S1.5', 'S1.6'],
  },
  {
    name: 'numbers its snapshots',
    harness: wrongStore((store) => {
      let count = 0
      return shown((subjects) => subjects.map((subject) => ({ ...subject, id: String(++count) })))(store)
    }),
    fails: ['S1.8', 'S1.9', 'S6.4', 'S8.3', 'S10.1', 'S10.3'],
  },
  {
    name: 'lists projects as they come',
    harness: wrongStore((store) => ({
      projects: async (options) => [...(await store.projects(options))].reverse(),
    })),
    fails: ['S1.1'],
  },
  {
    name: 'keeps only what it understands of a record',
    harness: wrongStore((store) => ({
      createAssessor: (ref, init, options) =>
        store.createAssessor(ref, { ...init, record: ascii(init.record) }, options),
    })),
    fails: ['S2.5'],
  },
  {
    name: 'knows a state only by its status word',
    harness: wrongStore((store) => {
      const coarse = (node: AssessorNode): AssessorNode => {
        const { state: _exact, ...rest } = node
        const state = stateOfStatusWord(node.statusWord)
        return state === undefined ? rest : { ...rest, state }
      }
      return {
        updateAssessor: async (...call) => coarse(await store.updateAssessor(...call)),
      }
    }),
    fails: ['S2.6', 'S2.7'],
  },
  {
    name: "clears a person's verdict with every new record",
    harness: wrongStore((store) => ({
      updateAssessor: (ref, change, revision, options) =>
        store.updateAssessor(
          ref,
          change.record === undefined ? change : { ...change, quality: '' },
          revision,
          options,
        ),
    })),
    fails: ['S2.7'],
  },
  {
    name: 'throws when what is to be deleted is gone',
    harness: wrongStore((store) => ({
      async deleteAssessor(ref, options) {
        await store.readAssessor(ref, options)
        await store.deleteAssessor(ref, options)
      },
    })),
    fails: ['S2.8', 'S8.3'],
  },
  {
    name: 'makes an assessor again when it was deleted under an update',
    harness: wrongStore((store) => ({
      updateAssessor: (ref, change, revision, options) =>
        store.updateAssessor(ref, change, revision, options).catch(async (error: unknown) => {
          if (!(error instanceof NotFoundError) || change.quality === undefined) throw error
          const record = { label: ref.assessor, procType: 'x', state: 'ready' } as TaskRecord
          const init = { procType: 'x', procVersion: '1', scans: [], record }
          return (await store.createAssessor(ref, init)).node
        }),
    })),
    fails: ['S3.4', 'S8.1'],
  },
  {
    name: 'makes the session an assessor should hang on',
    harness: wrongStore((store) => ({
      createAssessor: (ref, init, options) =>
        store.createAssessor(ref, init, options).catch(async (error: unknown) => {
          if (!(error instanceof NotFoundError) || ref.subject === undefined) throw error
          const sessions = ref.session === undefined ? [] : [{ label: ref.session }]
          store.seed({ label: ref.project, subjects: [{ label: ref.subject, sessions }] })
          return await store.createAssessor(ref, init, options)
        }),
    })),
    fails: ['S2.9', 'S8.4'],
  },
  {
    name: 'hangs every assessor on a session',
    harness: wrongStore((store) => ({
      async createAssessor(ref, init, options) {
        if (ref.session === undefined) throw new NotFoundError('assessors have sessions')
        return await store.createAssessor(ref, init, options)
      },
    })),
    fails: ['S2.4', 'S9.4'],
  },
  {
    name: 'counts an upload as a change of the assessor',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const files = await store.upload(ref, source, options)
        if (ref.node.assessor !== undefined) store.setQuality(ref.node, '')
        return files
      },
    })),
    fails: ['S3.7'],
  },
  {
    name: 'has resources only at assessors',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        if (ref.node.assessor === undefined && ref.resource === 'EXTRA')
          throw new NotFoundError('no such node')
        return await store.upload(ref, source, options)
      },
    })),
    fails: ['S4.6'],
  },
  {
    name: 'reads files of this machine after the upload has come back',
    harness: wrongStore((store) => {
      const later = new Map<string, FileSource>()
      const keyOf = (ref: ResourceRef): string => JSON.stringify(ref)
      return {
        async upload(ref, source, options) {
          if (source.localPath !== undefined) later.set(keyOf(ref), source)
          return await store.upload(ref, source, options)
        },
        async download(ref, files, sink, options) {
          const source = later.get(keyOf(ref))
          if (source === undefined) await store.download(ref, files, sink, options)
          else for (const entry of files) await sink.write(entry.path, await source.open(entry.path), entry)
        },
      }
    }),
    fails: ['S4.13'],
  },
  {
    name: 'refuses a file where a folder was',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const there = await store.listFiles(ref).catch(() => [])
        for (const { path } of source.files) {
          if (there.some((entry) => entry.path.startsWith(`${path}/`) || path.startsWith(`${entry.path}/`))) {
            throw new StoreUnavailableError('EISDIR')
          }
        }
        return await store.upload(ref, source, options)
      },
    })),
    fails: ['S4.15'],
  },
  {
    name: 'uploads one thing at a time and refuses the rest',
    harness: wrongStore((store) => {
      let busy = false
      return {
        async upload(ref, source, options) {
          if (busy) throw new StoreUnavailableError('busy')
          busy = true
          try {
            return await store.upload(ref, source, options)
          } finally {
            busy = false
          }
        },
      }
    }),
    fails: ['S4.16'],
  },
  {
    name: 'tidies labels up',
    harness: wrongStore((store) => ({
      createAssessor: (ref, init, options) => store.createAssessor(tidy(ref), init, options),
      readAssessor: (ref, options) => store.readAssessor(tidy(ref), options),
      upload: (ref, source, options) => store.upload({ ...ref, node: tidy(ref.node) }, source, options),
      listFiles: (ref, options) => store.listFiles({ ...ref, node: tidy(ref.node) }, options),
      download: (ref, files, sink, options) =>
        store.download({ ...ref, node: tidy(ref.node) }, files, sink, options),
    })),
    fails: ['S6.1', 'S6.2', 'S6.4'],
  },
  {
    name: 'cleans file names',
    harness: wrongStore((store) => ({
      upload: (ref, source, options) => {
        const names = new Map(source.files.map(({ path }) => [path.replace(/[;$?#]/g, '_'), path]))
        return store.upload(
          ref,
          {
            files: source.files.map((entry) => ({ ...entry, path: entry.path.replace(/[;$?#]/g, '_') })),
            open: (path, call) => source.open(names.get(path) ?? path, call),
          },
          options,
        )
      },
    })),
    fails: ['S6.3'],
  },
  {
    name: 'refuses labels only when it looks for them',
    harness: wrongStore((store) => ({
      createAssessor: (ref, init, options) => store.createAssessor(ref, init, options).catch(asNotFound),
      readAssessor: (ref, options) => store.readAssessor(ref, options).catch(asNotFound),
    })),
    fails: ['S6.4'],
  },
  {
    name: 'sends files until it comes to one it cannot use',
    harness: wrongStore((store) => ({
      async upload(ref, source, options) {
        const [first] = source.files
        if (first !== undefined && source.files.length > 1) {
          await store.upload(ref, { ...source, files: [first] }, options).catch(() => undefined)
        }
        return await store.upload(ref, source, options)
      },
    })),
    fails: ['S4.4', 'S4.11', 'S6.5'],
  },
  {
    name: 'takes the last of two files of one path',
    harness: wrongStore((store) => ({
      upload: (ref, source, options) =>
        store.upload(
          ref,
          { ...source, files: [...new Map(source.files.map((entry) => [entry.path, entry])).values()] },
          options,
        ),
    })),
    fails: ['S6.6'],
  },
  {
    name: 'writes before it looks at paths',
    harness: wrongStore((store) => ({
      async download(ref, files, sink, options) {
        for (const entry of files) await sink.write(entry.path, new PassThrough().end('x'), entry, options)
        await store.download(ref, files, sink, options)
      },
    })),
    fails: ['S4.10', 'S4.14', 'S6.7', 'S7.1', 'S8.2'],
  },
  {
    name: 'damages large files',
    harness: wrongStore((store) => ({
      download: (ref, files, sink, options) =>
        store.download(
          ref,
          files,
          {
            async write(path, content, entry, call) {
              const data = await buffer(content)
              if (data.length > 1_000_000) data[500_000] = (data[500_000] ?? 0) ^ 1
              await sink.write(path, Readable.from([data], { objectMode: false }), entry, call)
            },
          },
          options,
        ),
    })),
    fails: ['S7.1'],
  },
  {
    name: 'shows the empty listing of what is not there',
    harness: wrongStore((store) => ({
      listFiles: (ref, options) =>
        store.listFiles(ref, options).catch((error: unknown) => {
          if (error instanceof NotFoundError) return []
          throw error
        }),
    })),
    fails: ['S2.8', 'S8.1', 'S8.2', 'S8.3', 'S8.4'],
  },
  {
    name: 'makes what it is asked about',
    harness: wrongStore((store) => ({
      async listFiles(ref, options) {
        try {
          return await store.listFiles(ref, options)
        } catch (error) {
          const { project, subject, session } = ref.node
          if (error instanceof NotFoundError && session === 'NOTHING' && subject === 'S01')
            store.seed({ label: project, subjects: [{ label: subject, sessions: [{ label: session }] }] })
          throw error
        }
      },
    })),
    fails: ['S8.1', 'S8.3'],
  },
  {
    name: 'says that a hidden project is there',
    harness: wrongStore((store) => ({
      async snapshot(project, options) {
        if (project.endsWith('_HIDDEN')) throw new AccessDeniedError('You may not see it.')
        return await store.snapshot(project, options)
      },
    })),
    fails: ['S8.4'],
  },
  {
    name: 'has a change feed that misses verdicts and files',
    harness: wrongStore((store) => {
      const quiet = new Set<string>()
      return {
        async updateAssessor(ref, change, revision, options) {
          const node = await store.updateAssessor(ref, change, revision, options)
          if (change.record === undefined) quiet.add(ref.subject ?? '')
          return node
        },
        async changedSince(project, cursor, options) {
          const changes = await store.changedSince?.(project, cursor, options)
          if (changes === undefined || changes.subjects === 'all')
            return changes ?? { cursor: '', subjects: 'all', project: true }
          const subjects = changes.subjects.filter((label) => !quiet.has(label))
          quiet.clear()
          return { ...changes, subjects }
        },
      }
    }),
    fails: ['S9.3'],
  },
  {
    name: 'has a change feed that tells each change once, to whoever asks first',
    harness: wrongStore((store) => {
      let told: string | undefined
      return {
        async changedSince(project, cursor, options) {
          const changes = await store.changedSince?.(
            project,
            cursor === undefined ? undefined : told,
            options,
          )
          if (changes === undefined) throw new Error('no feed')
          told = changes.cursor
          return changes
        },
      }
    }),
    fails: ['S9.6'],
  },
  {
    name: 'has a change feed without a beginning and without the project',
    harness: wrongStore((store) => ({
      async changedSince(project, cursor, options) {
        const changes = await store.changedSince?.(project, cursor ?? '0', options)
        if (changes === undefined) throw new Error('no feed')
        return { ...changes, project: false }
      },
    })),
    fails: ['S9.1', 'S9.4'],
  },
  {
    name: 'has a change feed that always says that everything changed once',
    harness: wrongStore((store) => ({
      async changedSince(project, cursor, options) {
        const changes = await store.changedSince?.(project, cursor, options)
        if (changes === undefined) throw new Error('no feed')
        return { ...changes, subjects: ['S01', 'S0001'], project: true }
      },
    })),
    fails: ['S9.1', 'S9.2', 'S9.5'],
  },
  {
    name: 'has a change feed that it does not own up to',
    harness: wrongStore(
      () => ({ changedSince: async () => ({ cursor: '1', subjects: 'all', project: true }) }),
      { changeFeed: false },
    ),
    fails: ['S9.7', 'S10.1', 'S10.3'],
  },
  {
    name: 'does not listen to abort signals',
    harness: wrongStore((store) => ({
      upload: (ref, source) => store.upload(ref, source),
      download: (ref, files, sink) => store.download(ref, files, sink),
      snapshot: (project, { signal: _ignored, ...options } = {}) => store.snapshot(project, options),
    })),
    fails: ['S4.11', 'S5.5', 'S5.7', 'S10.1', 'S10.2'],
  },
  {
    name: 'shows an empty archive while it is away',
    harness: wrongStore((store) => ({
      projects: (options) =>
        store.projects(options).catch((error: unknown) => {
          if (error instanceof StoreUnavailableError) return []
          throw error
        }),
    })),
    fails: ['S10.3'],
  },
  {
    name: 'sees problems where there are none',
    harness: wrongStore((store) => ({
      diagnose: async () => (await store.diagnose()).map((one) => ({ ...one, status: 'problem' })),
    })),
    fails: ['S10.4'],
  },
  {
    name: 'swallows the error of a source',
    harness: wrongStore((store) => ({
      upload: (ref, source, options) =>
        store.upload(ref, source, options).catch((error: unknown) => {
          if (error instanceof Error && /cable/.test(error.message)) return []
          throw error
        }),
    })),
    fails: ['S5.1'],
  },
  {
    name: 'swallows the error of a sink',
    harness: wrongStore((store) => ({
      download: (ref, files, sink, options) =>
        store.download(ref, files, sink, options).catch((error: unknown) => {
          if (!(error instanceof Error && /disk is full/.test(error.message))) throw error
        }),
    })),
    fails: ['S5.6'],
  },
  {
    name: 'never gets over a broken upload',
    harness: wrongStore((store) => {
      let broken = false
      return {
        async upload(ref, source, options) {
          if (broken) throw new StoreUnavailableError('locked')
          try {
            return await store.upload(ref, source, options)
          } catch (error) {
            broken = true
            throw error
          }
        },
      }
    }),
    fails: ['S4.7', 'S5.2', 'S5.3', 'S5.4', 'S5.5', 'S6.4', 'S6.5', 'S6.6', 'S8.1'],
  },
  {
    name: 'gives the old revision back after an update',
    harness: wrongStore((store) => ({
      async updateAssessor(ref, change, revision, options) {
        return { ...(await store.updateAssessor(ref, change, revision, options)), revision }
      },
    })),
    fails: ['S2.6', 'S2.7', 'S3.1', 'S9.3'],
  },
  {
    name: 'lists only the first page of files',
    harness: wrongStore((store) => ({
      listFiles: async (ref, options) => (await store.listFiles(ref, options)).slice(0, 25),
    })),
    fails: ['S4.12'],
  },
  {
    name: 'can read one snapshot at a time',
    harness: wrongStore((store) => {
      let reading = false
      return {
        async snapshot(project, options) {
          if (reading) throw new StoreUnavailableError('busy')
          reading = true
          const snapshot = await store.snapshot(project, options)
          return {
            ...snapshot,
            subjects: (async function* () {
              for await (const subject of snapshot.subjects) yield subject
              reading = false
            })(),
          }
        },
      }
    }),
    fails: ['S1.8', 'S6.4', 'S8.4', 'S10.1', 'S10.2', 'S10.3'],
  },
]

/** Only the chapters that a store is wrong about: the whole kit on each would take a minute. */
function chaptersOf(ids: readonly string[]): readonly string[] {
  return [...new Set(ids.map((id) => id.split('.')[0] ?? id))]
}

function tidy<T extends { readonly session?: string; readonly assessor?: string }>(ref: T): T {
  const assessor = ref.assessor?.replace(/[ +]/g, '_')
  return assessor === undefined ? ref : { ...ref, assessor }
}

function asNotFound(error: unknown): never {
  throw error instanceof Error && error.name === 'InputError' ? new NotFoundError(error.message) : error
}

describe('the kit on stores', () => {
  for (const { name, harness, fails } of wrong) {
    it(`sees that a store is wrong that ${name}`, async function () {
      this.timeout(60_000)
      const { failed } = await runClaims((options) =>
        dataStoreSuite(harness, { ...options, claimTimeoutMs: 10_000, only: chaptersOf(fails) }),
      )
      expect(failed).to.deep.equal(fails)
    })
  }

  it('has seen every one of its claims fail', () => {
    const seen = new Set(wrong.flatMap(({ fails }) => fails))
    const all = listClaims().filter(({ port }) => port === 'store')
    expect(all.map(({ id }) => id).filter((id) => !seen.has(id))).to.deep.equal([])
  })

  it('finds nothing wrong with a right one', async () => {
    const { failed, passed } = await runClaims((options) => dataStoreSuite(memoryStoreHarness(), options))
    expect(failed).to.deep.equal([])
    expect(passed.length).to.be.above(50)
  })
})
