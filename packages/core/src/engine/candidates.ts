/** Which nodes of the tree an input matches, and what stands in the way of using them. Pure. */

import { satisfies, validRange } from 'semver'
import type {
  ArchiveRef,
  AssessorNode,
  ResourceNode,
  ScanNode,
  SessionNode,
  SubjectNode,
} from '../domain/archive.js'
import { wildcard } from '../domain/labels.js'
import { PASSED_QUALITIES, type ResolvedInput } from '../domain/processor.js'
import type { InputSource } from '../domain/task.js'

/** A node that an input matches. */
export interface Candidate {
  readonly ref: ArchiveRef
  /** Scan type or procType. */
  readonly type: string
  /** What the task's label is made from; to be staged only when not {@link blocked}. */
  readonly source: InputSource
  /** Why it cannot be used yet. */
  readonly blocked?: {
    readonly by: 'waiting' | 'held'
    readonly reason: string
    /** The resource is just not there, and nothing under way will bring it: an optional input does without. */
    readonly missing?: boolean
  }
  /** The scans an assessor was made from. */
  readonly scans?: readonly string[]
}

/** A session where it stands. */
export interface SessionPlace {
  readonly project: string
  readonly subject: string
  readonly session: SessionNode
}

/** An input with its words made into functions, once per pass. */
export interface Matcher {
  readonly input: ResolvedInput
  /** Candidates among these sessions, in scan order. */
  inSessions(places: readonly SessionPlace[]): Candidate[]
  /** A scan by itself, when it matches. */
  scan(place: SessionPlace, scan: ScanNode): Candidate | undefined
  /** Candidates among assessors that hang on this very node (a subject or project). */
  inAssessors(parent: ArchiveRef, assessors: readonly AssessorNode[]): Candidate[]
  /** The node's own resource. */
  own(ref: ArchiveRef, type: string, resources: readonly ResourceNode[]): Candidate
}

export function matcherOf(input: ResolvedInput): Matcher {
  const scanTypes = anyOf(input.scan?.types)
  const scanDescriptions = anyOf(input.scan?.descriptions)
  const scanLabels = anyOf(input.scan?.labels)
  const qualities = anyOf(input.scan?.qualities)
  const wanted = input.assessor === undefined ? undefined : assessorTest(input.assessor)
  const fallback = input.orFrom === undefined ? undefined : assessorTest(input.orFrom)

  const scanMatches = (scan: ScanNode): boolean =>
    scanTypes(scan.type) &&
    (input.scan?.qualities === undefined
      ? scan.quality.toLowerCase() !== 'unusable'
      : qualities(scan.quality)) &&
    (input.scan?.descriptions === undefined || scanDescriptions(scan.description ?? '')) &&
    scanLabels(scan.label)

  const canonical = input.resources[0] ?? ''
  // The label must not depend on which of several resources is there, nor on whether it is there yet.
  const sourceOf = (node: ArchiveRef, resource: string, type: string, standsForNode = node): InputSource => ({
    node,
    resource,
    type,
    ...(input.files !== undefined && { files: input.files }),
    ...((node !== standsForNode || resource !== canonical) && {
      standsFor: { node: standsForNode, resource: canonical },
    }),
  })
  const blockedBy = (
    ref: ArchiveRef,
    type: string,
    blocked: NonNullable<Candidate['blocked']>,
  ): Candidate => ({
    ref,
    type,
    source: sourceOf(ref, canonical, type),
    blocked,
  })

  const scanCandidate = (place: SessionPlace, scan: ScanNode): Candidate => {
    const ref: ArchiveRef = {
      project: place.project,
      subject: place.subject,
      session: place.session.label,
      scan: scan.label,
    }
    const label = presentResource(scan.resources, input.resources)
    if (label !== undefined) return { ref, type: scan.type, source: sourceOf(ref, label, scan.type) }
    const names = input.resources.join(' or ')
    const lacks = `scan ${scan.label} (${scan.type}) has no ${names}`
    if (fallback === undefined || input.orFrom === undefined) {
      return blockedBy(ref, scan.type, { by: 'waiting', reason: lacks, missing: true })
    }
    const made = place.session.assessors.filter(
      (assessor) => assessor.scans?.includes(scan.label) === true && fallback(assessor),
    )
    const best = made.find((assessor) => assessor.state === 'complete') ?? made[0]
    if (best === undefined) {
      const how = input.orFrom.types.join(' or ')
      return blockedBy(ref, scan.type, {
        by: 'waiting',
        reason: `${lacks}, and no ${how} result of it is there yet`,
      })
    }
    const blocked = blockedAssessor(best, input.orFrom.passed, input.resources)
    if (blocked !== undefined) return blockedBy(ref, scan.type, blocked)
    const node: ArchiveRef = {
      project: place.project,
      subject: place.subject,
      session: place.session.label,
      assessor: best.label,
    }
    const from = presentResource(best.resources, input.resources) ?? canonical
    return { ref, type: scan.type, source: sourceOf(node, from, scan.type, ref) }
  }

  const assessorCandidate = (parent: ArchiveRef, assessor: AssessorNode): Candidate => {
    const ref: ArchiveRef = { ...parent, assessor: assessor.label }
    const blocked = blockedAssessor(assessor, input.assessor?.passed === true, input.resources)
    const label = presentResource(assessor.resources, input.resources)
    return {
      ref,
      type: assessor.procType,
      source: sourceOf(ref, label ?? canonical, assessor.procType),
      ...(assessor.scans !== undefined && { scans: assessor.scans }),
      ...(blocked !== undefined && { blocked }),
    }
  }

  const inAssessors = (parent: ArchiveRef, assessors: readonly AssessorNode[]): Candidate[] => {
    const found: Candidate[] = []
    if (wanted !== undefined) {
      for (const assessor of assessors) if (wanted(assessor)) found.push(assessorCandidate(parent, assessor))
    }
    return found
  }

  return {
    input,
    inAssessors,
    scan: (place, scan) => (scanMatches(scan) ? scanCandidate(place, scan) : undefined),
    inSessions: (places) => {
      const found: Candidate[] = []
      for (const place of places) {
        if (input.kind === 'scan') {
          const scans = place.session.scans.filter(scanMatches)
          if (scans.length > 1) scans.sort((a, b) => compareLabels(a.label, b.label))
          for (const scan of scans) found.push(scanCandidate(place, scan))
        } else {
          const parent = { project: place.project, subject: place.subject, session: place.session.label }
          found.push(...inAssessors(parent, place.session.assessors))
        }
      }
      return found
    },
    own: (ref, type, resources) => {
      const label = presentResource(resources, input.resources)
      return label === undefined
        ? blockedBy(ref, type, {
            by: 'waiting',
            reason: `it has no resource ${input.resources.join(' or ')}`,
            missing: true,
          })
        : { ref, type, source: sourceOf(ref, label, type) }
    },
  }
}

/** Sessions of a subject in the order people expect: by date where there is one, then by label. */
export function placesOf(project: string, subject: SubjectNode): SessionPlace[] {
  const places = subject.sessions.map((session) => ({ project, subject: subject.label, session }))
  if (places.length > 1) {
    places.sort(
      (a, b) =>
        (a.session.date ?? '').localeCompare(b.session.date ?? '') ||
        compareLabels(a.session.label, b.session.label),
    )
  }
  return places
}

const collator = new Intl.Collator('en', { numeric: true })
/** `2` before `10`. */
export function compareLabels(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0)
}

function presentResource(there: readonly ResourceNode[], wanted: readonly string[]): string | undefined {
  for (const label of wanted) {
    for (const resource of there) if (resource.label === label && resource.fileCount !== 0) return label
  }
  return undefined
}

function blockedAssessor(
  assessor: AssessorNode,
  mustPass: boolean,
  resources: readonly string[],
): Candidate['blocked'] {
  if (assessor.state !== 'complete') {
    const state = assessor.state ?? (assessor.statusWord || 'of unknown state')
    return { by: 'waiting', reason: `${assessor.label} is ${state}` }
  }
  if (mustPass && !PASSED_QUALITIES.has(assessor.quality.toLowerCase())) {
    const verdict =
      assessor.quality === '' ? 'nobody has looked at it yet' : `its quality is "${assessor.quality}"`
    return { by: 'held', reason: `${assessor.label} must be passed by a person; ${verdict}` }
  }
  if (presentResource(assessor.resources, resources) === undefined) {
    return { by: 'waiting', reason: `${assessor.label} has no ${resources.join(' or ')}` }
  }
  return undefined
}

/** Processor name patterns against `NAME_vMAJOR` or the bare name, and a version range. */
function assessorTest(selector: {
  readonly types: readonly string[]
  readonly version?: string
}): (assessor: AssessorNode) => boolean {
  const names = anyOf(selector.types)
  const byType = memo((procType: string) => names(procType) || names(nameOf(procType)))
  const { version } = selector
  if (version === undefined) return (assessor) => byType(assessor.procType)
  if (validRange(version) === null)
    throw new TypeError(`"${version}" is no version range; write 7, ^2.1 or >=2.1 <3`)
  const inRange = memo((text: string) => satisfies(text, version))
  return (assessor) =>
    byType(assessor.procType) && inRange(assessor.procVersion ?? `${majorOf(assessor.procType)}.0.0`)
}

/** `fmri-qa` of `fmri-qa_v1`. */
export function nameOf(procType: string): string {
  return procType.replace(/_v\d+$/, '')
}
const majorOf = (procType: string): string => /_v(\d+)$/.exec(procType)?.[1] ?? '0'

function anyOf(patterns: readonly string[] | undefined): (text: string) => boolean {
  if (patterns === undefined || patterns.includes('*')) return () => true
  const tests = patterns.map(wildcard)
  // An archive has few different words and very many nodes: each word is matched once.
  return memo((text: string) => tests.some((test) => test(text)))
}

function memo(test: (text: string) => boolean): (text: string) => boolean {
  const known = new Map<string, boolean>()
  return (text) => {
    let answer = known.get(text)
    if (answer === undefined) {
      answer = test(text)
      if (known.size < 10_000) known.set(text, answer)
    }
    return answer
  }
}
