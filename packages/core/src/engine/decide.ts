/**
 * What is to become of every processor on every target. Pure: archive tree, open jobs, processors and policy in, decisions out.
 * Works a subject at a time, so that a project of any size passes through bounded memory.
 */

import type {
  ArchiveRef,
  AssessorNode,
  Level,
  ProjectNode,
  SessionNode,
  SubjectNode,
} from '../domain/archive.js'
import {
  DO_NOT_RUN_QUALITIES,
  RERUN_QUALITIES,
  type Processor,
  type ResolvedInput,
  type TargetView,
} from '../domain/processor.js'
import { formatDuration, formatMemory } from '../domain/requirements.js'
import {
  ACTIVE_STATES,
  taskLabel,
  TASK_STATES,
  type InputBinding,
  type TaskIdentity,
  type TaskState,
} from '../domain/task.js'
import { wildcard } from '../domain/labels.js'
import type { BackendLimits } from '../ports/cluster-backend.js'
import type { AttemptRow } from '../ports/journal.js'
import { matcherOf, nameOf, placesOf, type Candidate, type Matcher, type SessionPlace } from './candidates.js'
import type { Pause } from './engine.js'
import type { Action, Decision, Plan, PlanCounts, TraceStep } from './plan.js'
import type { Selection } from './selection.js'

export interface DecideContext {
  readonly nowMs: number
  readonly processors: readonly Processor[]
  /** Attempts under way, by task label. */
  readonly open: ReadonlyMap<string, AttemptRow>
  readonly pauses: readonly Pause[]
  readonly limits: BackendLimits
  /** Keep the answer to "why" with each decision. Off: faster, for passes that only act. */
  readonly trace: boolean
  readonly selection?: Selection
}

/** Everything at once, for projects that fit in memory. Streams use {@link ProjectDecider}. */
export function decide(project: ProjectNode, subjects: readonly SubjectNode[], context: DecideContext): Plan {
  const decider = new ProjectDecider(project, context)
  const decisions = [...subjects.flatMap((subject) => decider.subject(subject)), ...decider.finish()]
  return { decisions, counts: decider.counts() }
}

/** One set of inputs for one target, or why there is none. */
type Formed =
  | {
      readonly inputs: readonly InputBinding[]
      readonly blocked: Candidate['blocked'] | undefined
      readonly target: ArchiveRef
      readonly trace: readonly TraceStep[]
    }
  | {
      readonly inputs?: undefined
      readonly none: string
      readonly target: ArchiveRef
      readonly trace: readonly TraceStep[]
    }

interface Prepared {
  readonly processor: Processor
  /** In an order in which `sameScanAs` finds its partner chosen. */
  readonly matchers: readonly Matcher[]
  /** The input whose match is the target, on scan and assessor level. */
  readonly targetMatcher: Matcher | undefined
  readonly selected: boolean
}

/** Where an input may look. */
interface Scope {
  readonly places: readonly SessionPlace[]
  readonly hosts: readonly { readonly ref: ArchiveRef; readonly assessors: readonly AssessorNode[] }[]
  readonly own: (matcher: Matcher) => Candidate
}

export class ProjectDecider {
  private readonly prepared: readonly Prepared[]
  private readonly tally = new Tally()
  private readonly gathered = new Map<Matcher, Candidate[]>()
  private readonly subjectTest: (label: string) => boolean
  private readonly sessionTest: (label: string) => boolean
  private readonly labels: ReadonlySet<string> | undefined
  private readonly states: ReadonlySet<TaskState> | undefined

  constructor(
    private readonly project: ProjectNode,
    private readonly context: DecideContext,
  ) {
    const { selection = {} } = context
    const processorTest = anyWildcard(selection.processors)
    this.prepared = context.processors.map((processor) =>
      prepare(processor, processorTest(processor.name) || processorTest(processor.procType)),
    )
    this.subjectTest = anyWildcard(selection.subjects)
    this.sessionTest = anyWildcard(selection.sessions)
    this.labels = selection.labels === undefined ? undefined : new Set(selection.labels)
    this.states = selection.states === undefined ? undefined : new Set(selection.states)
  }

  /** Decisions for one subject, in the order scan, session, subject level of each processor as configured. */
  subject(subject: SubjectNode): Decision[] {
    const decisions: Decision[] = []
    const places = placesOf(this.project.label, subject)
    for (const prepared of this.prepared) {
      if (prepared.processor.level === 'project') this.gather(prepared, subject, places)
    }
    if (!this.subjectTest(subject.label)) return decisions
    this.tally.subject(subject)
    const subjectRef = { project: this.project.label, subject: subject.label }
    const subjectHosts = { ref: subjectRef, assessors: subject.assessors }
    for (const place of places) {
      if (!this.sessionTest(place.session.label)) continue
      const sessionRef = { ...subjectRef, session: place.session.label }
      const known = byLabel(place.session.assessors)
      const view = { project: this.project, subject, session: place.session }
      const scopes = (own: Scope['own']): Scopes => ({
        session: { places: [place], hosts: [], own },
        subject: {
          places,
          hosts: [subjectHosts],
          own: (matcher) => matcher.own(subjectRef, 'subject', subject.resources),
        },
        project: this.projectScope(),
      })
      for (const prepared of this.prepared) {
        if (!prepared.selected) continue
        switch (prepared.processor.level) {
          case 'session': {
            const own = (matcher: Matcher): Candidate =>
              matcher.own(sessionRef, 'session', place.session.resources)
            this.conclude(decisions, prepared, { ref: sessionRef, ...view }, sessionRef, known, scopes(own))
            break
          }
          case 'scan':
            for (const scan of place.session.scans) {
              const match = prepared.targetMatcher?.scan(place, scan)
              if (match === undefined) continue
              const own = (matcher: Matcher): Candidate => matcher.own(match.ref, scan.type, scan.resources)
              this.conclude(
                decisions,
                prepared,
                { ref: match.ref, ...view, scan },
                sessionRef,
                known,
                scopes(own),
                match,
              )
            }
            break
          case 'assessor':
            this.assessorTargets(
              decisions,
              prepared,
              sessionRef,
              place.session.assessors,
              view,
              known,
              scopes,
            )
            break
          default:
        }
      }
    }
    const known = byLabel(subject.assessors)
    for (const prepared of this.prepared) {
      if (!prepared.selected || this.context.selection?.sessions !== undefined) continue
      const scopes = (own: Scope['own']): Scopes => {
        const scope = { places, hosts: [subjectHosts], own }
        return { session: scope, subject: scope, project: this.projectScope() }
      }
      const view = { project: this.project, subject }
      if (prepared.processor.level === 'subject') {
        const own = (matcher: Matcher): Candidate => matcher.own(subjectRef, 'subject', subject.resources)
        this.conclude(decisions, prepared, { ref: subjectRef, ...view }, subjectRef, known, scopes(own))
      } else if (prepared.processor.level === 'assessor') {
        this.assessorTargets(decisions, prepared, subjectRef, subject.assessors, view, known, scopes)
      }
    }
    return decisions
  }

  /** Decisions of project level; after the last subject. */
  finish(): Decision[] {
    const decisions: Decision[] = []
    const { selection } = this.context
    if (selection?.subjects !== undefined || selection?.sessions !== undefined) return decisions
    const ref = { project: this.project.label }
    const known = byLabel(this.project.assessors)
    for (const prepared of this.prepared) {
      if (!prepared.selected || prepared.processor.level !== 'project') continue
      const scope = this.projectScope()
      this.conclude(decisions, prepared, { ref, project: this.project }, ref, known, {
        session: scope,
        subject: scope,
        project: scope,
      })
    }
    return decisions
  }

  /** Whether any processor needs the whole project to be seen. */
  get needsWholeProject(): boolean {
    return this.prepared.some(({ processor, selected }) => selected && processor.level === 'project')
  }

  counts(): PlanCounts {
    return this.tally.counts()
  }

  private projectScope(): Scope {
    const ref = { project: this.project.label }
    return {
      places: [],
      hosts: [{ ref, assessors: this.project.assessors }],
      own: (matcher) => matcher.own(ref, 'project', this.project.resources),
    }
  }

  private gather(prepared: Prepared, subject: SubjectNode, places: readonly SessionPlace[]): void {
    const ref = { project: this.project.label, subject: subject.label }
    for (const matcher of prepared.matchers) {
      if (matcher.input.kind === 'own') continue
      const found = matcher.inSessions(places)
      if (matcher.input.kind === 'assessor') found.push(...matcher.inAssessors(ref, subject.assessors))
      const list = this.gathered.get(matcher)
      if (list === undefined) this.gathered.set(matcher, found)
      else for (const candidate of found) list.push(candidate)
    }
  }

  private assessorTargets(
    decisions: Decision[],
    prepared: Prepared,
    parent: ArchiveRef,
    assessors: readonly AssessorNode[],
    view: Omit<TargetView, 'ref'>,
    known: ReadonlyMap<string, AssessorNode>,
    scopes: (own: Scope['own']) => Scopes,
  ): void {
    const matcher = prepared.targetMatcher
    if (matcher === undefined) return
    for (const assessor of assessors) {
      const match = matcher.inAssessors(parent, [assessor])[0]
      if (match === undefined) continue
      const own = (other: Matcher): Candidate => other.own(match.ref, assessor.procType, assessor.resources)
      this.conclude(
        decisions,
        prepared,
        { ...view, ref: match.ref, assessor },
        parent,
        known,
        scopes(own),
        match,
      )
    }
  }

  /** Form the tasks of one processor on one target, decide each, keep what is selected. */
  private conclude(
    decisions: Decision[],
    prepared: Prepared,
    view: TargetView,
    parent: ArchiveRef,
    known: ReadonlyMap<string, AssessorNode>,
    scopes: Scopes,
    targetMatch?: Candidate,
  ): void {
    const { processor } = prepared
    for (const formed of this.form(prepared, view.ref, scopes, targetMatch)) {
      const decision =
        formed.inputs === undefined
          ? this.withoutTask(processor, view.ref, formed.none, formed.trace)
          : this.forTask(processor, view, parent, formed, known)
      if (this.labels !== undefined && !this.labels.has(decision.task?.label ?? '')) continue
      if (this.states !== undefined && !this.states.has(decision.from ?? decision.to)) continue
      this.tally.decision(decision)
      decisions.push(decision)
    }
  }

  /** All sets of inputs a target offers: one, or one per match of an `each` input. */
  private form(prepared: Prepared, target: ArchiveRef, scopes: Scopes, targetMatch?: Candidate): Formed[] {
    interface Partial {
      readonly chosen: ReadonlyMap<string, readonly Candidate[]>
      readonly trace: readonly TraceStep[]
    }
    const tracing = this.context.trace
    let partials: Partial[] = [{ chosen: new Map(), trace: [] }]
    for (const matcher of prepared.matchers) {
      const { input } = matcher
      const next: Partial[] = []
      for (const partial of partials) {
        const candidates =
          matcher === prepared.targetMatcher && targetMatch !== undefined
            ? [targetMatch]
            : this.candidates(prepared, matcher, scopes, partial.chosen)
        const choice = choose(input, candidates)
        const step = tracing ? [traceOf(input, candidates, choice)] : []
        if (choice.none !== undefined) {
          return [{ none: `${input.name}: ${choice.none}`, target, trace: [...partial.trace, ...step] }]
        }
        for (const option of choice.options) {
          const chosen = new Map(partial.chosen).set(input.name, option)
          next.push({ chosen, trace: tracing ? [...partial.trace, ...step] : partial.trace })
        }
      }
      partials = next
    }
    return partials.map(({ chosen, trace }) => {
      const inputs: InputBinding[] = []
      let blocked: Candidate['blocked']
      for (const { name } of prepared.processor.inputs) {
        const candidates = chosen.get(name) ?? []
        inputs.push({ name, sources: candidates.map((candidate) => candidate.source) })
        for (const candidate of candidates) {
          if (candidate.blocked === undefined) continue
          // A missing input weighs more than a verdict that is still to come.
          if (blocked === undefined || (blocked.by === 'held' && candidate.blocked.by === 'waiting')) {
            blocked = { by: candidate.blocked.by, reason: `${name}: ${candidate.blocked.reason}` }
          }
        }
      }
      return { inputs, blocked, target, trace }
    })
  }

  private candidates(
    prepared: Prepared,
    matcher: Matcher,
    scopes: Scopes,
    chosen: ReadonlyMap<string, readonly Candidate[]>,
  ): Candidate[] {
    const { input } = matcher
    const scope = scopes[input.within ?? defaultScope(prepared.processor.level)]
    let found: Candidate[]
    if (input.kind === 'own') {
      found = [scope.own(matcher)]
    } else if (prepared.processor.level === 'project') {
      found = [...(this.gathered.get(matcher) ?? [])]
      if (input.kind === 'assessor')
        found.push(...matcher.inAssessors({ project: this.project.label }, this.project.assessors))
    } else {
      found = matcher.inSessions(scope.places)
      for (const host of scope.hosts) found.push(...matcher.inAssessors(host.ref, host.assessors))
    }
    if (input.optional) found = found.filter(({ blocked }) => blocked?.missing !== true)
    if (input.sameScanAs === undefined) return found
    const partners = chosen.get(input.sameScanAs) ?? []
    return found.filter((candidate) =>
      partners.some(
        (partner) =>
          partner.ref.subject === candidate.ref.subject &&
          partner.ref.session === candidate.ref.session &&
          candidate.ref.scan !== undefined &&
          (partner.scans?.includes(candidate.ref.scan) === true || partner.ref.scan === candidate.ref.scan),
      ),
    )
  }

  private withoutTask(
    processor: Processor,
    target: ArchiveRef,
    reason: string,
    trace: readonly TraceStep[],
  ): Decision {
    return {
      processor: processor.name,
      procVersion: processor.version,
      procType: processor.procType,
      target,
      to: 'waiting',
      action: 'none',
      reason,
      trace,
    }
  }

  private forTask(
    processor: Processor,
    view: TargetView,
    parent: ArchiveRef,
    formed: Extract<Formed, { inputs: readonly InputBinding[] }>,
    known: ReadonlyMap<string, AssessorNode>,
  ): Decision {
    const label = taskLabel(processor.procType, view.ref, formed.inputs)
    const existing = known.get(label)
    const task: TaskIdentity = {
      label,
      ref: { ...parent, assessor: label },
      procType: processor.procType,
      target: view.ref,
      inputs: formed.inputs,
    }
    const trace = [...formed.trace]
    const note = (rule: string, result: TraceStep['result'], found: string): void => {
      if (this.context.trace) trace.push({ rule, result, found })
    }
    if (existing === undefined) note('already in the archive', 'no', 'no assessor of this label')
    else {
      const version = existing.procVersion === undefined ? '' : ` by version ${existing.procVersion}`
      note(
        'already in the archive',
        'yes',
        `${existing.state ?? existing.statusWord}${version}, attempt ${existing.attempt}`,
      )
    }
    const make = (to: TaskState, action: Action, reason: string, more: Partial<Decision> = {}): Decision => ({
      processor: processor.name,
      procVersion: processor.version,
      procType: processor.procType,
      target: view.ref,
      task,
      ...(existing?.state !== undefined && { from: existing.state }),
      ...(existing !== undefined && { revision: existing.revision }),
      to,
      action,
      reason,
      ...more,
      trace,
    })

    const running = this.context.open.get(label)
    if (running !== undefined) {
      note('an attempt is under way', 'yes', `${running.name} (${running.stage})`)
      return make(existing?.state ?? 'queued', 'follow', `attempt ${running.attempt} is under way`, {
        attempt: running.attempt,
      })
    }

    const quality = existing?.quality.toLowerCase() ?? ''
    if (existing !== undefined && quality !== '') note('quality status', 'info', existing.quality)
    if (DO_NOT_RUN_QUALITIES.has(quality)) {
      return make(existing?.state ?? 'waiting', 'none', 'a person has said: do not run')
    }
    const state = existing?.state
    const rerun =
      existing !== undefined &&
      RERUN_QUALITIES.has(quality) &&
      !(state !== undefined && ACTIVE_STATES.has(state))
    if (existing !== undefined && !rerun) {
      if (state === undefined) {
        return make('waiting', 'none', `made elsewhere, with status "${existing.statusWord}"; left alone`)
      }
      if (state === 'complete') return make('complete', 'none', 'complete')
      if (state === 'cancelled')
        return make('cancelled', 'none', 'cancelled by a person; `retry` makes it ready again')
      if (ACTIVE_STATES.has(state)) {
        return make(
          state,
          'follow',
          `${state} in the archive, and this engine does not know the attempt yet`,
          {
            attempt: existing.attempt,
          },
        )
      }
      if (state === 'failed') {
        const cause = existing.cause ?? 'unknown cause'
        if (existing.retryAtMs === undefined) {
          return make('failed', 'none', `failed (${cause}), and is not tried again by itself`)
        }
        if (existing.retryAtMs > this.context.nowMs) {
          const wait = formatDuration(Math.ceil((existing.retryAtMs - this.context.nowMs) / 1000))
          return make('failed', 'none', `failed (${cause}); tried again in ${wait}`, {
            notBeforeMs: existing.retryAtMs,
          })
        }
        note('time to try again', 'yes', `failed (${cause}) in attempt ${existing.attempt}`)
      }
    }

    const answer = processor.canRun(view)
    if (answer !== true) {
      note('processor says it can run', 'no', answer)
      if (existing === undefined)
        return this.withoutTask(processor, view.ref, `the processor says no: ${answer}`, trace)
      return make(state ?? 'waiting', 'none', `the processor says no: ${answer}`)
    }
    if (formed.blocked !== undefined) {
      const { by, reason } = formed.blocked
      note('all inputs are there', 'no', reason)
      // A failed or rerun task whose input has gone away since waits for it.
      if (existing === undefined) return make(by, 'create', reason)
      return make(by, state === by ? 'none' : 'mark', reason)
    }
    note('all inputs are there', 'yes', describeInputs(formed.inputs))

    const pause = this.context.pauses.find((item) => pauseApplies(item, this.project.label, processor, label))
    if (pause !== undefined) {
      note('paused', 'yes', pause.note)
      return make('held', 'none', `paused by an operator${pause.note === '' ? '' : `: ${pause.note}`}`)
    }
    const beyond = beyondLimits(processor, task, this.context.limits)
    if (beyond !== undefined) {
      note('fits the cluster', 'no', beyond)
      return make('held', 'none', beyond)
    }
    const attempt = (existing?.attempt ?? 0) + 1
    if (rerun)
      return make('ready', 'rerun', `a person asked for a rerun ("${existing.quality}")`, { attempt })
    return make('ready', 'submit', attempt === 1 ? 'all inputs are there' : `ready for attempt ${attempt}`, {
      attempt,
    })
  }
}

type Scopes = Readonly<Record<'session' | 'subject' | 'project', Scope>>

function defaultScope(level: Level): 'session' | 'subject' | 'project' {
  return level === 'subject' || level === 'project' ? level : 'session'
}

function prepare(processor: Processor, selected: boolean): Prepared {
  const matchers = processor.inputs.map(matcherOf)
  const kind = processor.level === 'scan' ? 'scan' : processor.level === 'assessor' ? 'assessor' : undefined
  const targetMatcher = kind === undefined ? undefined : matchers.find(({ input }) => input.kind === kind)
  // The target first, then what has no partner, then the partners' followers.
  const rank = (matcher: Matcher): number =>
    matcher === targetMatcher ? 0 : matcher.input.sameScanAs === undefined ? 1 : 2
  return { processor, targetMatcher, selected, matchers: [...matchers].sort((a, b) => rank(a) - rank(b)) }
}

type Choice =
  | { readonly none: string; readonly options?: undefined }
  | { readonly none?: undefined; readonly options: readonly (readonly Candidate[])[] }

function choose(input: ResolvedInput, candidates: readonly Candidate[]): Choice {
  if (candidates.length === 0) {
    return input.optional ? { options: [[]] } : { none: `no match for ${describe(input)}` }
  }
  switch (input.choose) {
    case 'each':
      return { options: candidates.map((candidate) => [candidate]) }
    case 'all':
      return { options: [candidates] }
    case 'first':
      return { options: [candidates.slice(0, 1)] }
    case 'last':
      return { options: [candidates.slice(-1)] }
    case 'one':
      if (candidates.length === 1) return { options: [candidates] }
      return {
        none: `${candidates.length} matches for ${describe(input)} (${candidates.map(shortName).join(', ')}), and one is wanted: add pick, each or all`,
      }
    default: {
      const nth = candidates[input.choose - 1]
      if (nth !== undefined) return { options: [[nth]] }
      return input.optional
        ? { options: [[]] }
        : {
            none: `${candidates.length} matches for ${describe(input)}, and number ${input.choose} is wanted`,
          }
    }
  }
}

/** The rule in words, as a person would say it. */
function describe(input: ResolvedInput): string {
  const parts: string[] = []
  if (input.scan !== undefined) {
    parts.push(`scans of type ${input.scan.types.join(' or ')}`)
    parts.push(
      input.scan.qualities === undefined ? 'not unusable' : `quality ${input.scan.qualities.join(' or ')}`,
    )
    if (input.scan.descriptions !== undefined)
      parts.push(`described as ${input.scan.descriptions.join(' or ')}`)
    if (input.scan.labels !== undefined) parts.push(`labelled ${input.scan.labels.join(' or ')}`)
  } else if (input.assessor !== undefined) {
    parts.push(`results of ${input.assessor.types.join(' or ')}`)
    if (input.assessor.version !== undefined) parts.push(`version ${input.assessor.version}`)
    if (input.assessor.passed) parts.push('passed by a person')
  } else parts.push('its own files')
  if (input.sameScanAs !== undefined) parts.push(`from the same scan as ${input.sameScanAs}`)
  if (input.within !== undefined) parts.push(`within the ${input.within}`)
  return parts.join(', ')
}

function traceOf(input: ResolvedInput, candidates: readonly Candidate[], choice: Choice): TraceStep {
  const rule = `${input.name}: ${describe(input)}, resource ${input.resources.join(' or ')}`
  if (choice.none !== undefined) return { rule, result: 'no', found: choice.none }
  const matched = `${candidates.length === 0 ? 'no' : candidates.length} match${candidates.length === 1 ? '' : 'es'}`
  if (candidates.length === 0) return { rule, result: 'info', found: `${matched}; the input is optional` }
  const how = typeof input.choose === 'number' ? `number ${input.choose}` : input.choose
  const names = candidates.slice(0, 8).map((candidate) => {
    const blocked = candidate.blocked === undefined ? '' : ` (${candidate.blocked.by})`
    return `${shortName(candidate)} ${candidate.type}${blocked}`
  })
  const more = candidates.length > 8 ? ', …' : ''
  return { rule, result: 'yes', found: `${matched}, taking ${how}: ${names.join(', ')}${more}` }
}

const shortName = ({ ref }: Candidate): string =>
  ref.scan === undefined ? (ref.assessor ?? ref.session ?? ref.subject ?? ref.project) : `scan ${ref.scan}`

function describeInputs(inputs: readonly InputBinding[]): string {
  return inputs
    .map(({ name, sources }) => {
      const what = sources.map(({ node, resource }) =>
        [node.assessor ?? (node.scan === undefined ? undefined : `scan ${node.scan}`), resource]
          .filter(Boolean)
          .join(' '),
      )
      return `${name} = ${what.length === 0 ? 'none' : what.slice(0, 3).join(', ')}${what.length > 3 ? ` and ${what.length - 3} more` : ''}`
    })
    .join('; ')
}

function byLabel(assessors: readonly AssessorNode[]): ReadonlyMap<string, AssessorNode> {
  return new Map(assessors.map((assessor) => [assessor.label, assessor]))
}

function anyWildcard(patterns: readonly string[] | undefined): (text: string) => boolean {
  if (patterns === undefined || patterns.length === 0) return () => true
  const tests = patterns.map(wildcard)
  return (text) => tests.some((test) => test(text))
}

function pauseApplies(pause: Pause, project: string, processor: Processor, label: string): boolean {
  const processorTest = anyWildcard(pause.processors)
  return (
    anyWildcard(pause.projects)(project) &&
    (processorTest(processor.name) || processorTest(processor.procType)) &&
    (pause.labels === undefined || pause.labels.includes(label))
  )
}

/** Which rule of the cluster the task breaks, with both numbers; undefined when it fits. */
function beyondLimits(processor: Processor, task: TaskIdentity, limits: BackendLimits): string | undefined {
  const asked = processor.requirementsFor(task)
  const plain = (value: number): string => String(value)
  const checks: readonly (readonly [
    string,
    number,
    number | undefined,
    (value: number) => string,
    string,
  ])[] = [
    ['memory', asked.memoryBytes, limits.maxMemoryBytes, formatMemory, 'maxMemoryBytes'],
    ['walltime', asked.walltimeSeconds, limits.maxWalltimeSeconds, formatDuration, 'maxWalltimeSeconds'],
    ['cpus', asked.cpus, limits.maxCpus, plain, 'maxCpus'],
    ['gpus', asked.gpus, limits.maxGpus, plain, 'maxGpus'],
  ]
  for (const [what, value, most, print, key] of checks) {
    if (most === undefined || value <= most) continue
    const source = limits.source[key] === undefined ? '' : ` (${limits.source[key]})`
    return `can never run here: it asks for ${what} ${print(value)}, and the cluster allows ${print(most)}${source}`
  }
  return undefined
}

/** Whether a task label, session and so on are named by a selection; for lists that come from the archive. */
export function selectionTest(
  selection: Selection,
): (ref: ArchiveRef, procType: string, state: TaskState | undefined) => boolean {
  const project = anyWildcard(selection.projects)
  const subject = anyWildcard(selection.subjects)
  const session = anyWildcard(selection.sessions)
  const processor = anyWildcard(selection.processors)
  const labels = selection.labels === undefined ? undefined : new Set(selection.labels)
  return (ref, procType, state) =>
    project(ref.project) &&
    (selection.subjects === undefined || (ref.subject !== undefined && subject(ref.subject))) &&
    (selection.sessions === undefined || (ref.session !== undefined && session(ref.session))) &&
    (processor(procType) || processor(nameOf(procType))) &&
    (labels === undefined || labels.has(ref.assessor ?? '')) &&
    (selection.states === undefined || (state !== undefined && selection.states.includes(state)))
}

class Tally {
  private subjects = 0
  private sessions = 0
  private scans = 0
  private noTask = 0
  private readonly actions: Record<Action, number> = {
    none: 0,
    create: 0,
    mark: 0,
    submit: 0,
    rerun: 0,
    follow: 0,
  }
  private readonly states = Object.fromEntries(TASK_STATES.map((state) => [state, 0])) as Record<
    TaskState,
    number
  >

  subject({ sessions }: { readonly sessions: readonly SessionNode[] }): void {
    this.subjects += 1
    this.sessions += sessions.length
    for (const session of sessions) this.scans += session.scans.length
  }

  decision(decision: Decision): void {
    this.actions[decision.action] += 1
    if (decision.task === undefined) this.noTask += 1
    else this.states[decision.to] += 1
  }

  counts(): PlanCounts {
    return {
      subjects: this.subjects,
      sessions: this.sessions,
      scans: this.scans,
      actions: { ...this.actions },
      states: { ...this.states },
      noTask: this.noTask,
    }
  }
}

/** Sums of several projects. */
export function addCounts(a: PlanCounts, b: PlanCounts): PlanCounts {
  const sum = <K extends string>(
    x: Readonly<Record<K, number>>,
    y: Readonly<Record<K, number>>,
  ): Record<K, number> =>
    Object.fromEntries((Object.keys(x) as K[]).map((key) => [key, x[key] + y[key]])) as Record<K, number>
  return {
    subjects: a.subjects + b.subjects,
    sessions: a.sessions + b.sessions,
    scans: a.scans + b.scans,
    actions: sum(a.actions, b.actions),
    states: sum(a.states, b.states),
    noTask: a.noTask + b.noTask,
  }
}

export function emptyCounts(): PlanCounts {
  return new Tally().counts()
}
