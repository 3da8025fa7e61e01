/** What mocha hands to a test or hook, as far as it is needed here. */
export interface SkippableContext {
  runnable(): object
  skip(): never
}

/**
 * Skip a test, or from a hook its whole suite, and say why: the reason is kept as `skipReason`, where the test runner of this
 * repository finds and prints it.
 */
export function skipTest(context: SkippableContext, reason: string): never {
  const runnable = context.runnable() as { readonly type?: string; readonly parent?: object }
  // A hook skips the tests of its suite; the runner looks for the reason on the test, then upwards.
  const holder = runnable.type === 'hook' ? runnable.parent : runnable
  if (holder !== undefined) Object.assign(holder, { skipReason: reason })
  context.skip()
}
