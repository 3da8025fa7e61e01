/** Which of the candidates of an input are taken, and how that is told. Pure. */

import type { ResolvedInput } from '../domain/processor.js'
import type { InputBinding } from '../domain/task.js'
import type { Candidate } from './candidates.js'
import type { TraceStep } from './plan.js'

export type Choice =
  | { readonly none: string; readonly options?: undefined }
  | { readonly none?: undefined; readonly options: readonly (readonly Candidate[])[] }

export function choose(input: ResolvedInput, candidates: readonly Candidate[]): Choice {
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

export function traceOf(input: ResolvedInput, candidates: readonly Candidate[], choice: Choice): TraceStep {
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

export function describeInputs(inputs: readonly InputBinding[]): string {
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
