/** Random numbers that a failed run can repeat: ORBWEAVER_TEST_SEED. */

export function seedOfThisRun(): number {
  const given = process.env['ORBWEAVER_TEST_SEED']
  return given === undefined ? Date.now() % 2 ** 31 : Number(given)
}

/** Mulberry32: 0 ≤ number < 1. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
