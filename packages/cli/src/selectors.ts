/** The selector set that every command has: words of the command line → {@link Selection}. */

import {
  TASK_STATES,
  nearest,
  parseDuration,
  wildcard,
  type Selection,
  type TaskState,
} from '@orbweaver/core'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { NoMatchError, UsageError, didYouMean } from './exit.js'

export interface SelectorOptions {
  readonly project?: readonly string[]
  readonly subject?: readonly string[]
  readonly session?: readonly string[]
  readonly processor?: readonly string[]
  readonly status?: readonly TaskState[]
  readonly failed?: boolean
  readonly since?: number
}

export type SelectorName = keyof SelectorOptions

const HEADING = 'Selectors (repeatable; * and ? are wildcards):'

/** Adds the selectors to a command; `without` leaves some out where they mean nothing. */
export function addSelectors(command: Command, without: readonly SelectorName[] = []): Command {
  const options: Readonly<Record<SelectorName, Option>> = {
    project: new Option('--project <label>', 'only this project').argParser(collect),
    subject: new Option('--subject <label>', 'only this subject').argParser(collect),
    session: new Option('--session <label>', 'only this session').argParser(collect),
    processor: new Option('--processor <name>', 'only this processor (or type, as dti-qa_v1)').argParser(
      collect,
    ),
    status: new Option('--status <state>', `only tasks in this state: ${TASK_STATES.join(', ')}`).argParser(
      collectStates,
    ),
    failed: new Option('--failed', 'the same as --status failed'),
    since: new Option('--since <when>', 'only what changed since: 2d, 12h, 2026-01-31').argParser(parseSince),
  }
  for (const [name, option] of Object.entries(options)) {
    if (!without.includes(name as SelectorName)) command.addOption(option.helpGroup(HEADING))
  }
  return command
}

/** For options that may be given several times. */
export function collect(value: string, previous: readonly string[] = []): readonly string[] {
  if (value === '') throw new InvalidArgumentError('It is empty.')
  return [...previous, value]
}

function collectStates(value: string, previous: readonly TaskState[] = []): readonly TaskState[] {
  const state = TASK_STATES.find((known) => known === value.toLowerCase())
  if (state !== undefined) return [...previous, state]
  const near = nearest(value, TASK_STATES)
  throw new InvalidArgumentError(
    `${near === undefined ? '' : `Did you mean ${near}? `}States: ${TASK_STATES.join(', ')}.`,
  )
}

/** `2d` (ago), or an ISO date or time; a date alone means its midnight here. Epoch milliseconds. */
export function parseSince(value: string): number {
  const date = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value)
  const ms =
    date !== null
      ? new Date(Number(date[1]), Number(date[2]) - 1, Number(date[3])).getTime()
      : /^\d{4}-\d{2}-\d{2}[T ]/.test(value)
        ? Date.parse(value.replace(' ', 'T'))
        : Date.now() - secondsOf(value) * 1000
  // `Date` takes February 30 for March 1 and month 13 for next January.
  const valid =
    Number.isFinite(ms) &&
    (date === null ||
      (new Date(ms).getMonth() + 1 === Number(date[2]) && new Date(ms).getDate() === Number(date[3])))
  if (!valid) throw new InvalidArgumentError('This is no date. Write 2026-01-31 or 2026-01-31T08:00.')
  if (ms > Date.now()) throw new InvalidArgumentError('This is in the future.')
  return ms
}

function secondsOf(value: string): number {
  try {
    return parseDuration(value)
  } catch {
    throw new InvalidArgumentError('Write how long ago, as 2d or 12h, or a date, as 2026-01-31.')
  }
}

export function toSelection(options: SelectorOptions): Selection {
  const states = [
    ...new Set([...(options.status ?? []), ...(options.failed === true ? ['failed' as const] : [])]),
  ]
  return {
    ...(options.project !== undefined && { projects: options.project }),
    ...(options.subject !== undefined && { subjects: options.subject }),
    ...(options.session !== undefined && { sessions: options.session }),
    ...(options.processor !== undefined && { processors: options.processor }),
    ...(states.length > 0 && { states }),
    ...(options.since !== undefined && { sinceMs: options.since }),
  }
}

/** Nothing at all was selected: the command would work on everything. */
export function selectsEverything(selection: Selection): boolean {
  return Object.values(selection).every((value) => value === undefined)
}

/** What a site knows, as far as selectors are concerned. */
export interface KnownNames {
  readonly projects: readonly string[]
  readonly processors: readonly { readonly name: string; readonly procType: string }[]
}

/**
 * A project or processor that the site does not have is a slip of the pen: nothing would be selected, in silence.
 *
 * @throws NoMatchError with the nearest name
 */
export function checkSelection(selection: Selection, known: KnownNames): void {
  for (const word of selection.projects ?? []) {
    if (known.projects.some(wildcard(word))) continue
    throw new NoMatchError(
      `The site has no project ${word}.`,
      didYouMean(word, known.projects, 'projects') ?? 'See: orbweaver list projects',
    )
  }
  const processors = [...new Set(known.processors.flatMap(({ name, procType }) => [name, procType]))]
  for (const word of selection.processors ?? []) {
    if (processors.some(wildcard(word))) continue
    throw new NoMatchError(
      `The site has no processor ${word}.`,
      didYouMean(word, [...new Set(known.processors.map(({ name }) => name))], 'processors') ??
        'See: orbweaver list processors',
    )
  }
}

/** `--project P1 --session S*`: the selection as it could be typed, for messages. */
export function describeSelection(selection: Selection): string {
  const words: string[] = []
  const add = (option: string, values: readonly string[] | undefined): void => {
    for (const value of values ?? [])
      words.push(`--${option} ${/^[\w.*?/-]+$/.test(value) ? value : `'${value}'`}`)
  }
  add('project', selection.projects)
  add('subject', selection.subjects)
  add('session', selection.sessions)
  add('processor', selection.processors)
  add('status', selection.states)
  if (selection.sinceMs !== undefined) words.push(`--since ${new Date(selection.sinceMs).toISOString()}`)
  return [...words, ...(selection.labels ?? [])].join(' ')
}

/** A whole number from 1. */
export function parseCount(value: string): number {
  const number = Number(value)
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < 1) {
    throw new InvalidArgumentError('Write a whole number of at least 1.')
  }
  return number
}

/** @throws UsageError unless something was selected */
export function demandSelection(selection: Selection, verb: string): void {
  if (!selectsEverything(selection)) return
  throw new UsageError(
    `Say what to ${verb}: task labels, or selectors such as --project, --session, --processor or --failed.`,
    `To ${verb} everything there is: --project '*'`,
  )
}
