/** Asks the witnesses of a dialect, and remembers how each can be asked. */

import { NotFoundError } from '../errors.js'
import type { CallOptions } from '../ports/options.js'
import type { Clock } from '../ports/services.js'
import type { Caller } from './caller.js'
import type { FindStep, QueryStep, ReadingFailure, Reply } from './dialect.js'

/** A service that the site does not have is asked for again after this. */
const ABSENT_MS = 3_600_000

export class Asker {
  readonly #caller: Caller
  readonly #clock: Clock
  readonly #noted: (text: string | undefined) => void
  /** Step → when and why it was found absent. */
  readonly #absent = new Map<string, { readonly atMs: number; readonly message: string }>()
  /** Step → form of the question that its program understands. */
  readonly #forms = new Map<string, number>()
  /** Step → why it failed last; gone when it answers again. */
  readonly #notes = new Map<string, string>()

  /** @param noted - told with each word on the notes; with the text when it is new */
  constructor(caller: Caller, clock: Clock, noted: (text: string | undefined) => void) {
    this.#caller = caller
    this.#clock = clock
    this.#noted = noted
  }

  /** Why a witness fails, of those that fail now. */
  get notes(): readonly string[] {
    return [...this.#notes.values()]
  }

  /** One question, in the newest form that the program understands. */
  async ask<Value>(
    step: QueryStep | FindStep,
    ask: (form: number) => {
      readonly command: Parameters<Caller['call']>[0]
      readonly read: (reply: Reply) => { readonly kind: 'answer'; readonly value: Value } | ReadingFailure
    },
    options: CallOptions,
  ): Promise<Value | undefined> {
    for (let form = this.#forms.get(step.name) ?? 0; ; form++) {
      const { command, read } = ask(form)
      let raw: Reply | undefined
      const reading = await this.#caller
        .call(
          command,
          (reply) => {
            raw = reply
            return read(reply)
          },
          { ...options, what: step.name, idempotent: true, apart: step.source === 'accounting' },
        )
        .catch((error: unknown) => {
          if (!step.optional || !(error instanceof NotFoundError)) throw error
          return { kind: 'absent' as const, message: error.message }
        })
      if (reading.kind === 'answer') {
        this.#forms.set(step.name, form)
        return reading.value
      }
      if (reading.kind === 'unsupported' && form + 1 < (step.forms ?? 1)) continue
      if (reading.kind === 'absent' && step.optional) {
        this.#absent.set(step.name, { atMs: this.#clock.now(), message: reading.message })
        this.isAbsent(step.name)
        return undefined
      }
      throw this.#caller.error(step.name, reading, raw)
    }
  }

  isAbsent(step: string): boolean {
    const found = this.#absent.get(step)
    if (found === undefined || this.#clock.now() - found.atMs >= ABSENT_MS) return false
    this.note(step, `${step} is not to be had at this site: ${found.message}`)
    return true
  }

  /** A witness failed, and the work goes on without it. */
  note(step: string, text: string): void {
    const fresh = !this.#notes.has(step)
    this.#notes.set(step, text)
    this.#noted(fresh ? text : undefined)
  }

  /** It answers again. */
  heard(step: string): void {
    if (this.#notes.delete(step)) this.#noted(undefined)
  }
}
