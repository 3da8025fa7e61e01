/**
 * The diffusion tensor, by weighted least squares on the logarithm of the signal: an ordinary fit first, whose predicted
 * signals, squared, weight the second (Salvador et al. 2005; Veraart et al. 2013). The order of unknowns is
 * Dxx, Dyy, Dzz, Dxy, Dxz, Dyz, ln S0. Diffusivities are in mm²/s.
 */

import type { Gradients } from './gradients.js'

const UNKNOWNS = 7
/** b in units of 1000 s/mm²: columns of like size keep the normal equations well conditioned. */
const B_SCALE = 1e-3

export interface TensorMaps {
  readonly fa: Float64Array
  /** mm²/s. */
  readonly md: Float64Array
  /** Root mean square of measured minus predicted signal, as a share of the fitted S0. */
  readonly residual: Float64Array
  /** Mask voxels with an eigenvalue below 0 (set to 0 for FA and MD). */
  readonly negative: number
}

/** `undefined` when these gradients cannot determine a tensor, with the reason. */
export function tensorProblem(gradients: Gradients, b0Max: number): string | undefined {
  const weighted = gradients.bValues.filter((b) => b > b0Max).length
  if (weighted < 6)
    return `${weighted} weighted volume${weighted === 1 ? '' : 's'}; at least 6 directions are needed`
  if (new Set(gradients.bValues.map((b) => Math.round(b / 100))).size < 2)
    return 'all volumes have the same b-value'
  if (choleskyOf(normal(designOf(gradients))) === undefined) {
    return 'the directions are too few or too alike to determine a tensor'
  }
  return undefined
}

/** @param volume - signals by volume index; read once each */
export function fitTensor(
  gradients: Gradients,
  mask: Uint8Array,
  volume: (index: number) => Float64Array,
): TensorMaps {
  const design = designOf(gradients)
  const measurements = gradients.bValues.length
  const chosen: number[] = []
  for (let v = 0; v < mask.length; v++) if (mask[v]) chosen.push(v)

  // One row a voxel, so that the fit walks memory in order.
  const signals = new Float32Array(chosen.length * measurements)
  let least = Infinity
  for (let t = 0; t < measurements; t++) {
    const data = volume(t)
    for (let n = 0; n < chosen.length; n++) {
      const signal = data[chosen[n] as number] as number
      signals[n * measurements + t] = signal
      if (signal > 0 && signal < least) least = signal
    }
  }
  // A logarithm needs positive signals: what is not takes the smallest that is.
  const floor = Number.isFinite(least) ? least : 1

  const ordinary = choleskyOf(normal(design))
  if (ordinary === undefined)
    throw new TypeError('the gradients do not determine a tensor; see tensorProblem')
  const maps = {
    fa: new Float64Array(mask.length),
    md: new Float64Array(mask.length),
    residual: new Float64Array(mask.length),
  }
  let negative = 0
  const logs = new Float64Array(measurements)
  const weights = new Float64Array(measurements)
  const right = new Float64Array(UNKNOWNS)
  const matrix = new Float64Array(UNKNOWNS * UNKNOWNS)
  const eigen = new Float64Array(3)
  for (let n = 0; n < chosen.length; n++) {
    const row = n * measurements
    for (let t = 0; t < measurements; t++) logs[t] = Math.log(Math.max(floor, signals[row + t] as number))

    rightSide(design, logs, undefined, right)
    solve(ordinary, right)
    predict(design, right, weights)
    for (let t = 0; t < measurements; t++) weights[t] = Math.exp(2 * (weights[t] as number))

    rightSide(design, logs, weights, right)
    const weighted = choleskyOf(normal(design, weights, matrix))
    // Weights that span too many orders of magnitude leave the ordinary fit as the best there is.
    if (weighted === undefined) {
      rightSide(design, logs, undefined, right)
      solve(ordinary, right)
    } else solve(weighted, right)

    predict(design, right, weights)
    let squares = 0
    for (let t = 0; t < measurements; t++) {
      squares += (Math.max(floor, signals[row + t] as number) - Math.exp(weights[t] as number)) ** 2
    }
    const v = chosen[n] as number
    maps.residual[v] = Math.sqrt(squares / measurements) / Math.exp(right[6] as number)

    eigenvalues(right, eigen)
    if ((eigen[2] as number) < 0) negative++
    const [a, b, c] = [0, 1, 2].map((i) => Math.max(0, eigen[i] as number) * B_SCALE) as [
      number,
      number,
      number,
    ]
    maps.md[v] = (a + b + c) / 3
    const size = a * a + b * b + c * c
    maps.fa[v] = size > 0 ? Math.sqrt((0.5 * ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2)) / size) : 0
  }
  return { ...maps, negative }
}

/** Rows of the design matrix, one a volume: ln S = ln S0 - b g'Dg. */
function designOf({ bValues, directions }: Gradients): Float64Array {
  const design = new Float64Array(bValues.length * UNKNOWNS)
  bValues.forEach((value, t) => {
    const b = value * B_SCALE
    const [x, y, z] = directions[t] ?? [0, 0, 0]
    design.set(
      [-b * x * x, -b * y * y, -b * z * z, -2 * b * x * y, -2 * b * x * z, -2 * b * y * z, 1],
      t * UNKNOWNS,
    )
  })
  return design
}

/** Lower triangle of X'WX. */
function normal(
  design: Float64Array,
  weights?: Float64Array,
  into = new Float64Array(UNKNOWNS * UNKNOWNS),
): Float64Array {
  into.fill(0)
  const measurements = design.length / UNKNOWNS
  for (let t = 0; t < measurements; t++) {
    const weight = weights === undefined ? 1 : (weights[t] as number)
    const at = t * UNKNOWNS
    for (let i = 0; i < UNKNOWNS; i++) {
      const left = weight * (design[at + i] as number)
      for (let j = 0; j <= i; j++) {
        const cell = i * UNKNOWNS + j
        into[cell] = (into[cell] as number) + left * (design[at + j] as number)
      }
    }
  }
  return into
}

function rightSide(
  design: Float64Array,
  logs: Float64Array,
  weights: Float64Array | undefined,
  into: Float64Array,
): void {
  into.fill(0)
  for (let t = 0; t < logs.length; t++) {
    const value = (logs[t] as number) * (weights === undefined ? 1 : (weights[t] as number))
    for (let i = 0; i < UNKNOWNS; i++)
      into[i] = (into[i] as number) + value * (design[t * UNKNOWNS + i] as number)
  }
}

function predict(design: Float64Array, unknowns: Float64Array, into: Float64Array): void {
  for (let t = 0; t < into.length; t++) {
    let sum = 0
    for (let i = 0; i < UNKNOWNS; i++) sum += (unknowns[i] as number) * (design[t * UNKNOWNS + i] as number)
    into[t] = sum
  }
}

/** In place; `undefined` when the matrix is singular to working precision. */
function choleskyOf(matrix: Float64Array): Float64Array | undefined {
  const n = UNKNOWNS
  for (let j = 0; j < n; j++) {
    const before = matrix[j * n + j] as number
    let pivot = before
    for (let k = 0; k < j; k++) pivot -= (matrix[j * n + k] as number) ** 2
    if (!(pivot > 1e-12 * before)) return undefined
    const root = Math.sqrt(pivot)
    matrix[j * n + j] = root
    for (let i = j + 1; i < n; i++) {
      let sum = matrix[i * n + j] as number
      for (let k = 0; k < j; k++) sum -= (matrix[i * n + k] as number) * (matrix[j * n + k] as number)
      matrix[i * n + j] = sum / root
    }
  }
  return matrix
}

/** L L' x = right, in place. */
function solve(lower: Float64Array, right: Float64Array): void {
  const n = UNKNOWNS
  for (let i = 0; i < n; i++) {
    let sum = right[i] as number
    for (let k = 0; k < i; k++) sum -= (lower[i * n + k] as number) * (right[k] as number)
    right[i] = sum / (lower[i * n + i] as number)
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = right[i] as number
    for (let k = i + 1; k < n; k++) sum -= (lower[k * n + i] as number) * (right[k] as number)
    right[i] = sum / (lower[i * n + i] as number)
  }
}

/** Of the symmetric matrix xx, yy, zz, xy, xz, yz; descending. The trigonometric form of the cubic's roots. */
export function eigenvalues(tensor: ArrayLike<number>, into = new Float64Array(3)): Float64Array {
  const xx = tensor[0] as number
  const yy = tensor[1] as number
  const zz = tensor[2] as number
  const xy = tensor[3] as number
  const xz = tensor[4] as number
  const yz = tensor[5] as number
  const middle = (xx + yy + zz) / 3
  const off = xy * xy + xz * xz + yz * yz
  const p = Math.sqrt(((xx - middle) ** 2 + (yy - middle) ** 2 + (zz - middle) ** 2 + 2 * off) / 6)
  if (p === 0) return into.fill(middle)
  const [a, b, c] = [(xx - middle) / p, (yy - middle) / p, (zz - middle) / p]
  const [d, e, f] = [xy / p, xz / p, yz / p]
  const half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
  const angle = Math.acos(Math.min(1, Math.max(-1, half))) / 3
  const first = middle + 2 * p * Math.cos(angle)
  const third = middle + 2 * p * Math.cos(angle + (2 * Math.PI) / 3)
  into[0] = first
  into[1] = 3 * middle - first - third
  into[2] = third
  return into
}
