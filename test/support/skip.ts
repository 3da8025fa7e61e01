/** A test that cannot run here says why: the reason is printed with the counts. */

import type { Context } from 'mocha'

export function skip(context: Context, reason: string): never {
  const runnable = context.runnable()
  // A hook skips the tests of its suite; the reporter looks for the reason on the test, then upwards.
  const holder = 'type' in runnable && runnable.type === 'hook' ? runnable.parent : runnable
  if (holder !== undefined) Object.assign(holder, { skipReason: reason })
  context.skip()
}
