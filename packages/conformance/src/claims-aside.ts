/** Claims of the kit that run aside, one after the other, while mocha goes on; mocha reports them when it comes to them. */

import type { Context } from 'mocha'
import { clusterBackendSuite } from './backend/suite.js'
import { NotClaimed, type SuiteOptions } from './claims.js'
import type { BackendHarness } from './harness.js'

type Result = { readonly error?: unknown; readonly notClaimed?: string }

/** What {@link claimsAside} gives. */
export interface ClaimsAside {
  /** Begin with the first claim. */
  start(): void
  /** Register with mocha: one test a claim, which waits for its claim. */
  report(): void
}

/**
 * The suite of a backend, run aside: claims wait for a scheduler most of the time, so several harnesses, or parts of one
 * (`only`), may go on at once. Each claim of one call runs after the one before it.
 */
export function claimsAside(harness: BackendHarness, options: SuiteOptions): ClaimsAside {
  const claims: {
    title: string
    body: (this: Context) => Promise<void>
    result: Promise<Result>
    settle: (result: Result) => void
  }[] = []
  clusterBackendSuite(harness, {
    ...options,
    ui: {
      describe: (_title, body) => body(),
      it: (title, body) => {
        let settle: (result: Result) => void = () => undefined
        const result = new Promise<Result>((resolve) => (settle = resolve))
        claims.push({ title, body, result, settle })
      },
    },
  })

  const runOne = async ({ title, body }: (typeof claims)[number]): Promise<Result> => {
    const test = { title }
    // Of mocha's context the kit uses these three.
    const context = {
      test,
      timeout: () => undefined,
      skip: () => {
        throw new NotClaimed(/\[not claimed: (.*)\]$/.exec(test.title)?.[1])
      },
    } as unknown as Context
    try {
      await body.call(context)
      return {}
    } catch (error) {
      return error instanceof NotClaimed ? { notClaimed: error.message } : { error }
    }
  }
  const runAll = async (): Promise<void> => {
    for (const claim of claims) claim.settle(await runOne(claim))
  }

  return {
    start: () => void runAll(),
    report: () => {
      for (const { title, result } of claims) {
        it(title, async function () {
          const { error, notClaimed } = await result
          if (error !== undefined) throw asError(error)
          if (notClaimed === undefined) return
          if (this.test !== undefined) this.test.title += ` [not claimed: ${notClaimed}]`
          this.skip()
        })
      }
    },
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('a claim failed', { cause: error })
}
