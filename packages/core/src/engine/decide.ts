/**
 * What is to become of every processor on every target. Pure: archive tree, open jobs, processors and policy in, decisions out.
 * Works a subject at a time, so that a project of any size passes through bounded memory.
 */

import type { ArchiveRef, AssessorNode, Level, ProjectNode, SubjectNode } from '../domain/archive.js'
import type { Processor, TargetView } from '../domain/processor.js'
import type { InputBinding, TaskState } from '../domain/task.js'
import type { BackendLimits } from '../ports/cluster-backend.js'
import type { AttemptRow } from '../ports/journal.js'
import { matcherOf, placesOf, type Candidate, type Matcher, type SessionPlace } from './candidates.js'
import { choose, traceOf } from './choose.js'
import { Tally } from './counts.js'
import { decideTask, withoutTask, type Formed } from './decide-task.js'
import type { Pause } from './engine.js'
import { knownAssessors, type KnownAssessors } from './made-elsewhere.js'
import type { Decision, Plan, PlanCounts, TraceStep } from './plan.js'
import { anyWildcard, isNamed, type Selection } from './selection.js'

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

/** Whether any of these looks at results that hang on subjects. */
export function looksAtSubjectResults(processors: readonly Processor[]): boolean {
  const levels: readonly Level[] = ['subject', 'project', 'assessor']
  return processors.some(
    ({ level, inputs }) =>
      levels.includes(level) || inputs.some(({ within }) => within === 'subject' || within === 'project'),
  )
}

/** Everything at once, for projects that fit in memory. Streams use {@link ProjectDecider}. */
export function decide(project: ProjectNode, subjects: readonly SubjectNode[], context: DecideContext): Plan {
  const decider = new ProjectDecider(project, context)
  const decisions = [...subjects.flatMap((subject) => decider.subject(subject)), ...decider.finish()]
  return { decisions, counts: decider.counts() }
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
      const known = knownAssessors(place.session.assessors)
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
    const known = knownAssessors(subject.assessors)
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
    const known = knownAssessors(this.project.assessors)
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
    known: KnownAssessors,
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
    known: KnownAssessors,
    scopes: Scopes,
    targetMatch?: Candidate,
  ): void {
    const { processor } = prepared
    for (const formed of this.form(prepared, view.ref, scopes, targetMatch)) {
      const decision =
        formed.inputs === undefined
          ? withoutTask(processor, view.ref, formed.none, formed.trace)
          : decideTask(this.context, this.project.label, processor, view, parent, formed, known)
      if (this.labels !== undefined && !isNamed(decision, this.labels)) continue
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
