/** Diffusion gradients: `.bval` and `.bvec` text files as FSL, dcm2niix and BIDS write them. */

import { badData } from '../job/failure.js'

export interface Gradients {
  /** s/mm², one a volume. */
  readonly bValues: readonly number[]
  /** Unit vectors in the file's own frame; zero for volumes without diffusion weighting. */
  readonly directions: readonly (readonly [number, number, number])[]
}

function numbersOf(text: string, file: string): number[][] {
  return text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) =>
      line.split(/[\s,]+/).map((word) => {
        const value = /^[-+]?nan$/i.test(word) ? NaN : Number(word)
        if (word === '' || (Number.isNaN(value) && !/nan/i.test(word))) {
          throw badData(file, `"${word.slice(0, 20)}" is no number.`)
        }
        return value
      }),
    )
}

/**
 * @param volumes - of the image; the files must agree
 * @param b0Max - volumes up to this b-value count as unweighted; their direction does not matter
 */
export function parseGradients(
  bval: { readonly file: string; readonly text: string },
  bvec: { readonly file: string; readonly text: string },
  volumes: number,
  b0Max: number,
): Gradients {
  const bValues = numbersOf(bval.text, bval.file).flat()
  if (bValues.length !== volumes) {
    throw badData(bval.file, `it has ${bValues.length} b-values, and the image has ${volumes} volumes.`)
  }
  const bad = bValues.findIndex((value) => !(value >= 0 && value < 1e6))
  if (bad >= 0) throw badData(bval.file, `the b-value of volume ${bad + 1} is ${bValues[bad]}.`)

  const table = numbersOf(bvec.text, bvec.file)
  const rows = table.length
  const columns = table[0]?.length ?? 0
  if (table.some((row) => row.length !== columns)) throw badData(bvec.file, 'its rows differ in length.')
  // Three rows of N is FSL's form; N rows of three is the other one in use. For N = 3 the form cannot be told: FSL's.
  const byColumn = rows === 3 && columns === volumes
  if (!byColumn && !(columns === 3 && rows === volumes)) {
    throw badData(
      bvec.file,
      `it has ${rows} x ${columns} numbers; 3 x ${volumes} (or ${volumes} x 3) are needed.`,
    )
  }
  const directions = bValues.map((b, t) => {
    const vector = [0, 1, 2].map((axis) => (byColumn ? table[axis]?.[t] : table[t]?.[axis]) ?? NaN)
    const length = Math.hypot(...vector)
    if (length > 0) return vector.map((part) => part / length) as [number, number, number]
    if (b > b0Max) throw badData(bvec.file, `volume ${t + 1} (b = ${b}) has no direction.`)
    return [0, 0, 0] as const
  })
  return { bValues, directions }
}

/** Volumes by b-value: those within 5 % (at least 50 s/mm²) of the first of a shell belong to it; b0s are shell 0. */
export function shellsOf(
  bValues: readonly number[],
  b0Max: number,
): readonly { readonly b: number; readonly volumes: readonly number[] }[] {
  const shells: { b: number; volumes: number[] }[] = []
  const order = bValues.map((b, t) => ({ b, t })).sort((x, y) => x.b - y.b || x.t - y.t)
  let from = -Infinity
  for (const { b, t } of order) {
    const shell = shells.at(-1)
    const joins =
      shell !== undefined && (b <= b0Max || (from > b0Max && b - from <= Math.max(50, 0.05 * from)))
    if (joins) shell.volumes.push(t)
    else {
      from = b
      shells.push({ b, volumes: [t] })
    }
  }
  return shells.map(({ volumes }) => ({
    b: Math.round(volumes.reduce((sum, t) => sum + (bValues[t] as number), 0) / volumes.length),
    volumes: volumes.sort((x, y) => x - y),
  }))
}
