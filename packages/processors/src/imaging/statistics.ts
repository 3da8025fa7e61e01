/** Statistics of plain arrays. Quantiles interpolate linearly between order statistics, as numpy's default does. */

export type Numbers = ArrayLike<number>

export function mean(values: Numbers): number {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i] as number
  return sum / values.length
}

/** @param ddof - 1: of a sample (default); 0: of a population */
export function standardDeviation(values: Numbers, ddof = 1): number {
  const centre = mean(values)
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += ((values[i] as number) - centre) ** 2
  return values.length > ddof ? Math.sqrt(sum / (values.length - ddof)) : NaN
}

export function sorted(values: Numbers): Float64Array {
  return new Float64Array(values).sort()
}

/** Of sorted values; NaN when there are none. */
export function quantile(ascending: Numbers, q: number): number {
  const at = (ascending.length - 1) * q
  const low = Math.floor(at)
  const below = ascending[low]
  if (below === undefined) return NaN
  const above = ascending[Math.min(low + 1, ascending.length - 1)] as number
  return below + (above - below) * (at - low)
}

export const median = (values: Numbers): number => quantile(sorted(values), 0.5)

/** A normal distribution's standard deviation is this times its median absolute deviation. */
export const MAD_TO_SD = 1.4826

/** Robust standard deviation: {@link MAD_TO_SD} times the median absolute deviation from the median. */
export function robustDeviation(values: Numbers, centre = median(values)): number {
  const distances = new Float64Array(values)
  for (let i = 0; i < distances.length; i++) distances[i] = Math.abs((distances[i] as number) - centre)
  return MAD_TO_SD * quantile(distances.sort(), 0.5)
}

/** `(x - median) / robust SD`; 0 for all where the spread is 0 (a constant series has no outliers to speak of). */
export function robustZ(values: Numbers): Float64Array {
  const centre = median(values)
  const spread = robustDeviation(values, centre)
  return Float64Array.from(values, (value) => (spread > 0 ? (value - centre) / spread : 0))
}

export interface Line {
  /** Per step of the index. */
  readonly slope: number
  /** At index 0. */
  readonly start: number
}

/** Least-squares line through values at 0, 1, 2, … */
export function fitLine(values: Numbers): Line {
  return lineThrough([...Array(values.length).keys()], values)
}

export function withoutLine(values: Numbers, { slope, start } = fitLine(values)): Float64Array {
  return Float64Array.from(values, (value, t) => value - (start + slope * t))
}

/**
 * What is left of a series when a line is taken away that its outliers do not pull at: fitted again without the values
 * that lie more than `limit` robust standard deviations off, until these no longer change (at most ten times).
 */
export function withoutRobustLine(values: Numbers, limit = 3.5): Float64Array {
  let rest = withoutLine(values)
  let before = ''
  for (let round = 0; round < 10; round++) {
    const z = robustZ(rest)
    const kept = Array.from(z.keys()).filter((t) => Math.abs(z[t] as number) <= limit)
    if (kept.join() === before || kept.length < 3) break
    before = kept.join()
    rest = withoutLine(values, lineThrough(kept, values))
  }
  return rest
}

function lineThrough(times: readonly number[], values: Numbers): Line {
  const middle = mean(times)
  const average = mean(times.map((t) => values[t] as number))
  let cross = 0
  let square = 0
  for (const t of times) {
    cross += (t - middle) * ((values[t] as number) - average)
    square += (t - middle) ** 2
  }
  const slope = square > 0 ? cross / square : 0
  return { slope, start: average - slope * middle }
}

/** Values where the mask is not 0. */
export function inside(values: Numbers, mask: Uint8Array): Float64Array {
  let count = 0
  for (let v = 0; v < mask.length; v++) count += mask[v] ? 1 : 0
  const chosen = new Float64Array(count)
  for (let v = 0, n = 0; v < mask.length; v++) if (mask[v]) chosen[n++] = values[v] as number
  return chosen
}

export interface Histogram {
  readonly counts: Float64Array
  readonly low: number
  readonly high: number
}

/** Equal bins from `low` to `high`; what lies outside counts in the first or last bin. */
export function histogram(
  values: Numbers,
  bins: number,
  low: number,
  high: number,
  mask?: Uint8Array,
): Histogram {
  const counts = new Float64Array(bins)
  const scale = high > low ? bins / (high - low) : 0
  for (let i = 0; i < values.length; i++) {
    if (mask !== undefined && mask[i] === 0) continue
    const bin = Math.floor(((values[i] as number) - low) * scale)
    const at = Math.min(bins - 1, Math.max(0, bin))
    counts[at] = (counts[at] as number) + 1
  }
  return { counts, low, high }
}

/**
 * Otsu's threshold: the edge between two bins that separates the values into two classes with the greatest variance
 * between them. Values at or above it are foreground.
 */
export function otsuThreshold({ counts, low, high }: Histogram): number {
  let total = 0
  let weighted = 0
  for (let bin = 0; bin < counts.length; bin++) {
    total += counts[bin] as number
    weighted += bin * (counts[bin] as number)
  }
  let below = 0
  let weightedBelow = 0
  let best = -1
  let edge = 0
  for (let bin = 0; bin < counts.length - 1; bin++) {
    below += counts[bin] as number
    weightedBelow += bin * (counts[bin] as number)
    const above = total - below
    if (below === 0 || above === 0) continue
    const difference = weightedBelow / below - (weighted - weightedBelow) / above
    const between = below * above * difference ** 2
    if (between > best) {
      best = between
      edge = bin + 1
    }
  }
  return low + (edge * (high - low)) / counts.length
}
