/** For harnesses over a scheduler that others use as well: it cannot be stopped, and only our own jobs may be ended. */

import type { ClusterBackend, CommandResult, CommandRunner, JobId } from '@orbweaver/core'

/** What {@link unreliable} gives. */
export interface UnreliableRunner {
  readonly runner: CommandRunner
  /** The scheduler is away from now on, or back. */
  setAway(away: boolean): void
  /** The next submit reaches the scheduler, and its answer nobody. */
  loseNextAnswer(): void
}

/**
 * A runner over another one, whose scheduler goes away when told so: its programs then are not run, and answer as they do when
 * they reach nobody.
 *
 * @param isProgram - whether a command is one of the scheduler's; others are always run
 * @param isSubmit - whether it hands over a job
 */
export function unreliable(
  runner: CommandRunner,
  scheduler: {
    readonly isProgram: (argv: readonly string[]) => boolean
    readonly isSubmit: (argv: readonly string[]) => boolean
    readonly away: (argv: readonly string[]) => CommandResult
  },
): UnreliableRunner {
  let away = false
  let losesAnswer = false
  return {
    runner: {
      async run(command, options) {
        const { argv } = command
        if (away && scheduler.isProgram(argv)) return scheduler.away(argv)
        const result = await runner.run(command, options)
        if (!losesAnswer || !scheduler.isSubmit(argv)) return result
        losesAnswer = false
        return scheduler.away(argv)
      },
    },
    setAway: (now) => {
      away = now
    },
    loseNextAnswer: () => {
      losesAnswer = true
    },
  }
}

/** The same backend; ids of the jobs that it accepts are put into the list, so that nothing but those is cancelled at the end. */
export function remembering(backend: ClusterBackend, ids: JobId[]): ClusterBackend {
  const submit: ClusterBackend['submit'] = async (specs, options) => {
    const outcomes = await backend.submit(specs, options)
    for (const outcome of outcomes) if (outcome.kind === 'accepted') ids.push(outcome.id)
    return outcomes
  }
  return replacingSubmit(backend, submit)
}

/** The same backend, with another `submit`. */
export function replacingSubmit(backend: ClusterBackend, submit: ClusterBackend['submit']): ClusterBackend {
  return new Proxy(backend, {
    get: (target, key) => {
      if (key === 'submit') return submit
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
