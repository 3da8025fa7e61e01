/** The engine over its ports. Usable without any container: `createEngine({ settings, store, backend, … })`. */

import type { Readable } from 'node:stream'
import { createHash, randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { ArchiveRef, AssessorNode, FileEntry, ProjectNode, SubjectNode } from '../domain/archive.js'
import { wildcard } from '../domain/labels.js'
import type { Processor } from '../domain/processor.js'
import { ACTIVE_STATES, attemptName, canBecome, type TaskRecord } from '../domain/task.js'
import { judge } from '../domain/verdict.js'
import { ConflictError, InputError, NotFoundError } from '../errors.js'
import { parseExitRecord, parseStartRecord } from '../job/job-script.js'
import { pathsOf } from '../job/workspace.js'
import { compareListings, findOutputs, LOG_RESOURCE } from './collect.js'
import { Controls } from './controls.js'
import { nameOf } from './candidates.js'
import { addCounts, emptyCounts } from './counts.js'
import { decide, looksAtSubjectResults, ProjectDecider, type DecideContext } from './decide.js'
import { messageOf, withSignal, type EngineDeps } from './deps.js'
import type {
  Engine,
  EngineProject,
  LogChunk,
  Pause,
  PlanOptions,
  RunOptions,
  RunSummary,
  TaskView,
  TryOptions,
  TryResult,
  VerifyResult,
} from './engine.js'
import { Lease } from './lease.js'
import type { Decision, Plan, PlanCounts } from './plan.js'
import { Records } from './records.js'
import { Run } from './run.js'
import { selectionTest, type Selection } from './selection.js'
import { stage } from './stage.js'
import type { AttemptRow } from '../ports/journal.js'
import type { BackendLimits } from '../ports/cluster-backend.js'
import type { CallOptions } from '../ports/options.js'
import { jobId, type JobStatus } from '../domain/job.js'

export function createEngine(deps: EngineDeps): Engine {
  return new PortsEngine(deps)
}

class PortsEngine implements Engine {
  private readonly controls: Controls

  constructor(private readonly deps: EngineDeps) {
    this.controls = new Controls(deps.settings.stateDirectory)
  }

  get settings(): EngineDeps['settings'] {
    return this.deps.settings
  }

  // ------------------------------------------------------------------ plan and run

  async plan(selection: Selection, options: PlanOptions = {}): Promise<PlanCounts> {
    let counts = emptyCounts()
    for (const project of this.selectedProjects(selection)) {
      const decider = await this.decider(project, selection, options.onDecision !== undefined, options.signal)
      const emit = async (decisions: readonly Decision[]): Promise<void> => {
        for (const decision of decisions) await options.onDecision?.(decision)
      }
      for await (const subject of decider.subjects) {
        options.signal?.throwIfAborted()
        await emit(decider.decider.subject(subject))
      }
      await emit(decider.decider.finish())
      counts = addCounts(counts, decider.decider.counts())
    }
    return counts
  }

  async planAll(selection: Selection, options: CallOptions = {}): Promise<Plan> {
    const decisions: Decision[] = []
    const counts = await this.plan(selection, {
      ...options,
      onDecision: (decision) => {
        decisions.push(decision)
      },
    })
    return { decisions, counts }
  }

  async run(selection: Selection, options: RunOptions = {}): Promise<RunSummary> {
    const { journal, clock, logger } = this.deps
    const projects = this.selectedProjects(selection)
    const lease = await Lease.acquire(
      journal,
      clock,
      projects.map(({ id }) => id),
      {
        purpose: options.purpose ?? 'run',
        wait: options.waitForLease === true,
        ...withSignal(options.signal),
        onWait: (message) => {
          logger.log('info', `${message} Waiting.`)
        },
      },
    )
    try {
      const signal = AbortSignal.any([
        lease.signal,
        ...(options.signal === undefined ? [] : [options.signal]),
      ])
      // Every transfer and write under way listens to it: many at once is the plan, not a leak.
      setMaxListeners(0, signal)
      const { projects: _selected, ...rest } = selection
      const settings = { ...this.settings, projects }
      return await new Run({ ...this.deps, settings }, this.controls, rest, options, signal).execute()
    } finally {
      lease.release()
    }
  }

  private selectedProjects(selection: Selection): readonly EngineProject[] {
    const { projects } = this.settings
    const { projects: patterns } = selection
    if (patterns === undefined) return projects
    const tests = patterns.map(wildcard)
    const chosen = projects.filter(({ id }) => tests.some((test) => test(id)))
    if (chosen.length === 0) {
      throw new InputError(`No configured project is called ${patterns.join(' or ')}.`, {
        details: { projects: projects.map(({ id }) => id) },
        hint: `Configured are: ${projects.map(({ id }) => id).join(', ') || 'none'}.`,
      })
    }
    return chosen
  }

  private async decider(
    project: EngineProject,
    selection: Selection,
    trace: boolean,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly decider: ProjectDecider; readonly subjects: AsyncIterable<SubjectNode> }> {
    const { store, journal, clock, backend } = this.deps
    const exact = exactSubjects(selection)
    const wholeNeeded = project.processors.some(({ level }) => level === 'project')
    const open = new Map(journal.openAttempts([project.id]).map((row) => [row.label, row]))
    const context: DecideContext = {
      nowMs: clock.now(),
      processors: project.processors,
      open,
      pauses: this.controls.pauses(),
      limits: await backend.limits(withSignal(signal)),
      trace,
      selection,
    }
    const snapshot = await store.snapshot(project.id, {
      ...withSignal(signal),
      ...(exact !== undefined && !wholeNeeded && { subjects: exact }),
      subjectResults: looksAtSubjectResults(project.processors),
    })
    return { decider: new ProjectDecider(snapshot.project, context), subjects: snapshot.subjects }
  }

  // ------------------------------------------------------------------ what there is

  async *tasks(selection: Selection, options: CallOptions = {}): AsyncGenerator<TaskView> {
    const { store, journal } = this.deps
    const test = selectionTest(selection)
    for (const project of this.selectedProjects(selection)) {
      const open = new Map(journal.openAttempts([project.id]).map((row) => [row.label, row]))
      const exact = exactSubjects(selection)
      const snapshot = await store.snapshot(project.id, {
        ...options,
        ...(exact !== undefined && { subjects: exact }),
      })
      const view = (parent: ArchiveRef, node: AssessorNode): TaskView | undefined => {
        const ref = { ...parent, assessor: node.label }
        if (node.state === undefined || !test(ref, node.procType, node.state)) return undefined
        const attempt = open.get(node.label)
        return {
          ref,
          label: node.label,
          processor: nameOf(node.procType),
          procType: node.procType,
          node,
          ...(attempt !== undefined && { attempt }),
        }
      }
      for await (const { parent, assessors } of hosts(snapshot.project, snapshot.subjects)) {
        for (const node of assessors) {
          const task = view(parent, node)
          if (task === undefined) continue
          if (selection.sinceMs !== undefined) {
            const record = await this.record(task.ref, options)
            if (record === undefined || record.updatedAtMs < selection.sinceMs) continue
          }
          yield task
        }
      }
    }
  }

  async record(ref: ArchiveRef, options: CallOptions = {}): Promise<TaskRecord | undefined> {
    return (await this.deps.store.readAssessor(ref, options)).record
  }

  attempts(label: string): readonly AttemptRow[] {
    return this.deps.journal.attemptsOf(label)
  }

  // ------------------------------------------------------------------ what a person asks for

  async retry(
    selection: Selection,
    options: CallOptions & { readonly force?: boolean } = {},
  ): Promise<readonly string[]> {
    const { journal } = this.deps
    return this.change(selection, options, (task) => {
      const { state } = task.node
      const wanted =
        state === 'failed' || state === 'cancelled' || (options.force === true && state === 'complete')
      if (!wanted || task.attempt !== undefined) return undefined
      return (record) => {
        const { cause: _cause, retryAtMs: _retryAtMs, ...rest } = record
        if (!canBecome(record.state, 'ready')) return undefined
        const { subject } = task.ref
        journal.putBacklog([
          {
            label: task.label,
            project: task.ref.project,
            ...(subject !== undefined && { subject }),
            notBeforeMs: 0,
          },
        ])
        return { ...rest, state: 'ready', reason: 'a person asked for another try', failures: {} }
      }
    })
  }

  async cancel(selection: Selection, options: CallOptions = {}): Promise<readonly string[]> {
    const { backend, journal } = this.deps
    const ended: string[] = []
    const jobs: AttemptRow[] = []
    for await (const task of this.tasks(selection, options)) {
      if (task.attempt !== undefined && task.attempt.stage !== 'collecting') {
        jobs.push(task.attempt)
        ended.push(task.label)
      }
    }
    // Said in the journal first: an engine that sees the job end knows whose doing it was.
    for (const row of jobs) journal.putAttempt({ ...row, cancelAsked: true })
    const ids = jobs.flatMap(({ jobId: id }) => (id === undefined ? [] : [id]))
    if (ids.length > 0) await backend.cancel(ids, options)
    const idle = await this.change(selection, options, (task) => {
      const { state } = task.node
      if (task.attempt !== undefined || state === undefined) return undefined
      if (state === 'complete' || state === 'cancelled' || ACTIVE_STATES.has(state)) return undefined
      return (record) => {
        const { retryAtMs: _retryAtMs, ...rest } = record
        return canBecome(record.state, 'cancelled')
          ? { ...rest, state: 'cancelled', reason: 'cancelled' }
          : undefined
      }
    })
    journal.removeBacklog(idle)
    return [...ended, ...idle]
  }

  async pause(selection: Selection, note: string): Promise<void> {
    this.controls.add({ ...scopeOf(selection), note, atMs: this.deps.clock.now() })
  }

  async resume(selection: Selection): Promise<number> {
    return this.controls.lift(scopeOf(selection))
  }

  pauses(): readonly Pause[] {
    return this.controls.pauses()
  }

  async approve(
    selection: Selection,
    quality: string,
    options: CallOptions = {},
  ): Promise<readonly string[]> {
    const { store } = this.deps
    const labels: string[] = []
    for await (const task of this.tasks(selection, options)) {
      for (let tries = 1; ; tries += 1) {
        try {
          const { node } = await store.readAssessor(task.ref, options)
          if (node.quality !== quality)
            await store.updateAssessor(task.ref, { quality }, node.revision, options)
          break
        } catch (error) {
          if (!(error instanceof ConflictError) || tries >= 5) throw error
        }
      }
      labels.push(task.label)
    }
    return labels
  }

  /** Change the records of selected tasks; labels of those that were changed. */
  private async change(
    selection: Selection,
    options: CallOptions,
    choose: (task: TaskView) => ((record: TaskRecord) => TaskRecord | undefined) | undefined,
  ): Promise<readonly string[]> {
    const records = new Records(this.deps.store, this.deps.clock)
    const labels: string[] = []
    for await (const task of this.tasks(selection, options)) {
      const change = choose(task)
      if (change === undefined) continue
      let changed = false
      await records.write(
        task.ref,
        (record) => {
          const next = change(record)
          changed = next !== undefined
          return next
        },
        withSignal(options.signal),
      )
      records.forget(task.label)
      if (changed) labels.push(task.label)
    }
    return labels
  }

  // ------------------------------------------------------------------ looking again

  async verify(
    selection: Selection,
    options: CallOptions & { readonly deep?: boolean; readonly onResult: (result: VerifyResult) => void },
  ): Promise<void> {
    for await (const task of this.tasks({ ...selection, states: ['complete'] }, withSignal(options.signal))) {
      // Another program's result has no record to be compared with.
      if (task.node.inputs !== undefined) continue
      options.onResult(await this.verifyTask(task, options))
    }
  }

  private async verifyTask(
    task: TaskView,
    options: CallOptions & { readonly deep?: boolean },
  ): Promise<VerifyResult> {
    const { store } = this.deps
    const { label, ref } = task
    const call = withSignal(options.signal)
    const record = await this.record(ref, call)
    const outputs = record?.outputs
    if (outputs === undefined) {
      return { label, ref, ok: false, problems: ['the record lists no outputs'], files: 0, bytes: 0 }
    }
    const problems: string[] = []
    let files = 0
    let bytes = 0
    for (const output of outputs) {
      const resource = { node: ref, resource: output.resource }
      let listed: readonly FileEntry[]
      try {
        listed = await store.listFiles(resource, call)
      } catch (error) {
        if (!(error instanceof NotFoundError)) throw error
        listed = []
      }
      problems.push(...compareListings(output.files, listed).map((text) => `${output.resource}/${text}`))
      files += listed.length
      bytes += listed.reduce((sum, file) => sum + file.bytes, 0)
      if (options.deep === true) {
        const recorded = new Map(output.files.map((file) => [file.path, file]))
        for (const file of listed) {
          const before = recorded.get(file.path)
          if (before?.checksum === undefined) continue
          const found = await this.hashInArchive(resource, file, before.checksum.algorithm, call)
          if (found !== before.checksum.hex.toLowerCase()) {
            problems.push(`${output.resource}/${file.path}: its content has changed (${found})`)
          }
        }
      }
    }
    return { label, ref, ok: problems.length === 0, problems, files, bytes }
  }

  /** The checksum of a file's bytes as they come out of the archive now; or what went wrong in getting them. */
  private async hashInArchive(
    resource: { readonly node: ArchiveRef; readonly resource: string },
    file: FileEntry,
    algorithm: 'sha256' | 'md5',
    options: CallOptions,
  ): Promise<string> {
    const hash = createHash(algorithm)
    try {
      await this.deps.store.download(
        resource,
        [file],
        {
          write: async (_path, content) => {
            for await (const chunk of content) hash.update(chunk as Buffer)
          },
        },
        options,
      )
    } catch (error) {
      if (
        error instanceof Error &&
        'code' in error &&
        (error.code === 'INTEGRITY' || error.code === 'NOT_FOUND')
      ) {
        return messageOf(error)
      }
      throw error
    }
    return hash.digest('hex')
  }

  async logs(
    label: string,
    options: CallOptions & {
      readonly attempt?: number
      readonly follow?: boolean
      readonly onChunk: (chunk: LogChunk) => void
    },
  ): Promise<void> {
    const { transport, clock, journal } = this.deps
    const rows = journal.attemptsOf(label)
    const row =
      options.attempt === undefined ? rows[0] : rows.find(({ attempt }) => attempt === options.attempt)
    const call = withSignal(options.signal)
    const shown = { stdout: 0, stderr: 0 }
    const streams = ['stdout', 'stderr'] as const
    const showNew = async (workspace: string): Promise<void> => {
      const paths = pathsOf(workspace)
      for (const stream of streams) {
        let text: string
        try {
          text = await transport.files.read(paths[stream], { ...call, maxBytes: MAX_LOG_BYTES, tail: true })
        } catch (error) {
          if (!(error instanceof NotFoundError)) throw error
          continue
        }
        if (text.length > shown[stream]) options.onChunk({ stream, text: text.slice(shown[stream]) })
        shown[stream] = text.length
      }
    }
    if (row !== undefined && (await transport.files.exists(row.workspace, call))) {
      await showNew(row.workspace)
      while (options.follow === true) {
        const now = journal.getAttempt(label, row.attempt)
        // Read once more after the end: the last lines may have come since.
        const over = now === undefined || now.stage === 'closed' || now.stage === 'collecting'
        if (over || !(await transport.files.exists(row.workspace, call))) break
        await clock.sleep(FOLLOW_MS, call)
        await showNew(row.workspace)
      }
      return
    }
    await this.archivedLogs(label, row, options)
  }

  private async archivedLogs(
    label: string,
    row: AttemptRow | undefined,
    options: CallOptions & { readonly onChunk: (chunk: LogChunk) => void },
  ): Promise<void> {
    const { store } = this.deps
    const call = withSignal(options.signal)
    let ref: ArchiveRef | undefined
    if (row !== undefined) {
      const { project, subject, session } = row
      ref = {
        project,
        ...(subject !== undefined && { subject }),
        ...(session !== undefined && { session }),
        assessor: label,
      }
    } else {
      for await (const task of this.tasks({ labels: [label] }, call)) ref = task.ref
    }
    if (ref === undefined) {
      throw new NotFoundError(`There is no task ${label}.`, {
        hint: 'See `orbweaver status` for the labels.',
      })
    }
    const resource = { node: ref, resource: LOG_RESOURCE }
    let files: readonly FileEntry[]
    try {
      files = await store.listFiles(resource, call)
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      throw new NotFoundError(`Task ${label} has no log: it has not run, or its workspace is gone.`, {
        cause: error,
      })
    }
    for (const stream of ['stdout', 'stderr'] as const) {
      const file = files.find(({ path }) => path === `log/${stream}.txt`)
      if (file === undefined || file.bytes === 0) continue
      let text = ''
      await store.download(
        resource,
        [file],
        {
          write: async (_path, content) => {
            text = await readText(content)
          },
        },
        call,
      )
      options.onChunk({ stream, text })
    }
  }

  // ------------------------------------------------------------------ try

  async try(
    processor: Processor,
    target: Selection,
    options: TryOptions = {},
  ): Promise<readonly TryResult[]> {
    const { store, clock, backend } = this.deps
    const call = withSignal(options.signal)
    const limits = await backend.limits(call)
    const decisions: Decision[] = []
    for (const project of this.selectedProjects(target)) {
      const exact = exactSubjects(target)
      const snapshot = await store.snapshot(project.id, {
        ...call,
        ...(exact !== undefined && { subjects: exact }),
      })
      const subjects: SubjectNode[] = []
      for await (const subject of snapshot.subjects) subjects.push(withoutTask(subject, processor.procType))
      const plan = decide(snapshot.project, subjects, {
        nowMs: clock.now(),
        processors: [processor],
        open: new Map(),
        pauses: [],
        limits,
        trace: true,
        selection: target,
      })
      decisions.push(...plan.decisions)
    }
    const ready = decisions.filter(({ action }) => action === 'submit')
    if (ready.length === 0) {
      const reasons = [...new Set(decisions.map(({ reason }) => reason))]
      throw new InputError(
        `Nothing to try: ${processor.name} cannot run on what was selected.${reasons.length === 0 ? ' No target matches.' : `\n  ${reasons.slice(0, 5).join('\n  ')}`}`,
        { hint: 'See `orbweaver explain` for every rule that was looked at.' },
      )
    }
    const results: TryResult[] = []
    for (const decision of ready) results.push(await this.tryOne(processor, decision, limits, options))
    return results
  }

  private async tryOne(
    processor: Processor,
    decision: Decision,
    _limits: BackendLimits,
    options: TryOptions,
  ): Promise<TryResult> {
    const { store, backend, transport, settings, clock } = this.deps
    const { task } = decision
    if (task === undefined) throw new TypeError('a decision to submit has a task')
    const call = withSignal(options.signal)
    // A name of its own each time: trying the same thing twice is two jobs.
    const identity = { ...task, label: `${task.label}-try-${randomUUID().slice(0, 8)}` }
    const root = options.directory ?? `${settings.workRoot.replace(/\/+$/, '')}/try/${identity.label}`
    if (options.directory !== undefined && (await transport.files.list(root, call)).length > 0) {
      throw new InputError(`The folder ${root} is not empty.`, { hint: 'Give an empty or new folder.' })
    }
    const paths = pathsOf(root)
    const announce = (to: 'ready' | 'queued' | 'running' | 'complete' | 'failed', reason: string): void =>
      options.onEvent?.({
        kind: 'task',
        label: task.label,
        ref: task.ref,
        processor: processor.name,
        to,
        reason,
        attempt: 0,
      })
    const staged = await stage(
      store,
      transport.files,
      {
        processor,
        task: identity,
        attempt: 0,
        name: attemptName(identity.label, 0, clock.now()),
        requirements: processor.requirementsFor(task),
        paths,
        ...(settings.containerRuntime !== undefined && { containerRuntime: settings.containerRuntime }),
      },
      options.signal,
    )
    options.onEvent?.({ kind: 'staging', label: task.label, bytes: staged.bytes, files: staged.files })
    const outcome = (await backend.submit([staged.spec], call))[0]
    const common = { label: task.label, workspace: root, command: staged.command }
    if (outcome?.kind !== 'accepted') {
      const summary = outcome?.kind === 'refused' ? outcome.error.message : (outcome?.reason ?? 'no answer')
      return { ...common, state: 'failed', outputs: [], cause: { kind: 'rejected', summary, evidence: [] } }
    }
    const id = outcome.id
    announce('queued', `submitted as job ${id}`)
    let missingSinceMs: number | undefined
    let last = 'queued'
    try {
      for (;;) {
        const status: JobStatus | undefined = (await backend.query([jobId(id)], call)).get(id)
        const texts = await transport.files.readMany([paths.exit, paths.started], call)
        const nowMs = clock.now()
        missingSinceMs = status === undefined ? (missingSinceMs ?? nowMs) : undefined
        const verdict = judge({
          status,
          exit: parseExitRecord(texts.get(paths.exit) ?? ''),
          start: parseStartRecord(texts.get(paths.started) ?? ''),
          missingForMs: missingSinceMs === undefined ? undefined : nowMs - missingSinceMs,
          graceMs: settings.timing.graceMs,
          cancelAsked: false,
          nowMs,
        })
        if (verdict.kind === 'succeeded') break
        if (verdict.kind === 'failed' || verdict.kind === 'cancelled') {
          const cause =
            verdict.kind === 'failed'
              ? verdict.cause
              : { kind: 'killed' as const, summary: verdict.note, evidence: [] }
          announce('failed', cause.summary)
          return { ...common, state: 'failed', cause, outputs: [] }
        }
        if (verdict.kind === 'running' && last === 'queued') announce('running', 'running')
        if (verdict.kind !== 'unclear') last = verdict.kind
        await (backend.changes?.(settings.timing.pollMs, call) ?? clock.sleep(settings.timing.pollMs, call))
      }
    } catch (error) {
      // Nobody would ever look after this job again.
      if (options.signal?.aborted === true) await backend.cancel([id])
      throw error
    }
    const found = await findOutputs(transport.files, processor, paths, clock.now(), options.signal)
    if (found.cause !== undefined) {
      announce('failed', found.cause.summary)
      return { ...common, state: 'failed', cause: found.cause, outputs: [] }
    }
    announce('complete', 'every required output is there')
    return {
      ...common,
      state: 'complete',
      outputs: found.resources.map(({ resource, files }) => ({ resource, files })),
    }
  }

  async close(): Promise<void> {
    const { store, backend, transport, journal } = this.deps
    await Promise.all([store.close(), backend.close(), transport.close()])
    journal.close()
  }
}

const MAX_LOG_BYTES = 16 * 1024 * 1024
const FOLLOW_MS = 500

/** `undefined`: every subject has to be looked at. */
function exactSubjects(selection: Selection): readonly string[] | undefined {
  const { subjects } = selection
  return subjects?.every((subject) => !/[*?]/.test(subject)) === true ? subjects : undefined
}

function scopeOf({ projects, processors, labels }: Selection): Omit<Pause, 'note' | 'atMs'> {
  return {
    ...(projects !== undefined && { projects }),
    ...(processors !== undefined && { processors }),
    ...(labels !== undefined && { labels }),
  }
}

/** Every node that assessors hang on. */
async function* hosts(
  project: ProjectNode,
  subjects: AsyncIterable<SubjectNode>,
): AsyncGenerator<{ readonly parent: ArchiveRef; readonly assessors: readonly AssessorNode[] }> {
  yield { parent: { project: project.label }, assessors: project.assessors }
  for await (const subject of subjects) {
    const parent = { project: project.label, subject: subject.label }
    yield { parent, assessors: subject.assessors }
    for (const session of subject.sessions) {
      yield { parent: { ...parent, session: session.label }, assessors: session.assessors }
    }
  }
}

/** For `try`: as if the processor had never run. */
function withoutTask(subject: SubjectNode, procType: string): SubjectNode {
  const others = (assessors: readonly AssessorNode[]): readonly AssessorNode[] =>
    assessors.filter((assessor) => assessor.procType !== procType)
  return {
    ...subject,
    assessors: others(subject.assessors),
    sessions: subject.sessions.map((session) => ({ ...session, assessors: others(session.assessors) })),
  }
}

async function readText(content: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of content) chunks.push(Buffer.from(chunk as Uint8Array))
  return Buffer.concat(chunks).toString('utf8')
}
