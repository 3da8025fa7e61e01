/** The notebook's loops: visit every scan, session, subject or project and do what its processors need. */

import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import type { Level } from '../domain/archive.js'
import { InputError } from '../errors.js'
import type { CallOptions } from '../ports/options.js'
import type { Engine, RunOptions, RunSummary } from './engine.js'
import type { Decision } from './plan.js'
import type { Selection } from './selection.js'
import { Task } from './task.js'

abstract class Loop {
  protected abstract readonly level: Level

  /**
   * @param where - projects, subjects, sessions; absent: everything configured
   * @param processors - names of configured processors of this loop's level; absent: all of them
   */
  constructor(
    protected readonly engine: Engine,
    protected readonly where: Selection = {},
    protected readonly processors?: readonly string[],
  ) {}

  /** Every task, one by one, in archive order. Memory does not grow with their number. */
  async *tasks(options: CallOptions = {}): AsyncGenerator<Task> {
    // Decisions pass through a stream, so that planning waits for whoever consumes them.
    const decisions = new PassThrough({ objectMode: true, highWaterMark: 64 })
    const left = new AbortController()
    const signal = AbortSignal.any([left.signal, ...(options.signal === undefined ? [] : [options.signal])])
    const planned = this.engine
      .plan(this.selection(), {
        signal,
        onDecision: async (decision) => {
          if (this.isOfLevel(decision) && !decisions.write(decision))
            await once(decisions, 'drain', { signal })
        },
      })
      .then(
        () => decisions.end(),
        (error: unknown) => decisions.destroy(left.signal.aborted ? undefined : (error as Error)),
      )
    try {
      for await (const decision of decisions) yield Task.from(this.engine, decision as Decision)
    } finally {
      // A consumer that leaves early ends the planning.
      left.abort()
      await planned
    }
  }

  /** Plan and apply for everything in the loop; see {@link Engine.run}. */
  async update(options: RunOptions = {}): Promise<RunSummary> {
    return this.engine.run(this.selection(), options)
  }

  private selection(): Selection {
    const configured = new Map(
      this.engine.settings.projects.flatMap(({ processors }) =>
        processors.map((processor) => [processor.name, processor]),
      ),
    )
    for (const name of this.processors ?? []) {
      const processor = configured.get(name)
      if (processor === undefined || processor.level !== this.level) {
        const why = processor === undefined ? 'is not configured' : `runs on ${processor.level} level`
        throw new InputError(`Processor ${name} cannot be used in a ${this.level} loop: it ${why}.`)
      }
    }
    const names =
      this.processors ??
      [...configured.values()].filter(({ level }) => level === this.level).map(({ name }) => name)
    return { ...this.where, processors: names }
  }

  private isOfLevel(decision: Decision): boolean {
    return this.engine.settings.projects.some(({ processors }) =>
      processors.some(({ name, level }) => name === decision.processor && level === this.level),
    )
  }
}

export class ScanLoop extends Loop {
  protected readonly level = 'scan'
}
export class SessionLoop extends Loop {
  protected readonly level = 'session'
}
export class SubjectLoop extends Loop {
  protected readonly level = 'subject'
}
export class ProjectLoop extends Loop {
  protected readonly level = 'project'
}
