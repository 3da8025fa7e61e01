/** Names of files that are not whole yet. */

import { createHash, randomBytes } from 'node:crypto'
import { dirname } from 'node:path'

/** Files being written, and folders being removed. Never listed: a reader sees whole files only. */
const PART_NAME = /(^|\/)\.orbweaver-[0-9a-f]{16}\.(kept\.part|part|gone)(\/|$)/

/** From here on it pays to go on with what an earlier engine left of a file. */
export const KEPT_BYTES = 64 * 1024 ** 2

/**
 * The end of a part is not relied on: its pieces are written side by side, and who was killed may have written a later one and
 * not an earlier one.
 */
const LOOSE_BYTES = 2 * 1024 ** 2

/** From where on to go on with a part of some length. */
export function firmBytes(bytes: number): number {
  return Math.max(0, bytes - LOOSE_BYTES)
}

export function isPart(path: string): boolean {
  return PART_NAME.test(path)
}

export function partBeside(path: string, kind: 'part' | 'gone' = 'part'): string {
  return `${dirname(path)}/.orbweaver-${randomBytes(8).toString('hex')}.${kind}`
}

/** Parts that a transfer of this process writes now: a second one to the same place has a part of its own. */
const inUse = new Set<string>()

export interface KeptPart {
  readonly path: string
  /** The name is the same for the same source and place: another process finds it again. */
  readonly isKept: boolean
  release(): void
}

/**
 * A part for a transfer.
 *
 * @param source - tells one content from another (size and time, or a checksum); undefined: nothing can
 */
export function takePart(path: string, side: 'here' | 'there', source: string | undefined): KeptPart {
  if (source !== undefined) {
    const name = createHash('sha256').update([path, source].join('\0')).digest('hex').slice(0, 16)
    const kept = `${dirname(path)}/.orbweaver-${name}.kept.part`
    const key = `${side} ${kept}`
    if (!inUse.has(key)) {
      inUse.add(key)
      return { path: kept, isKept: true, release: () => inUse.delete(key) }
    }
  }
  return { path: partBeside(path), isKept: false, release: () => undefined }
}
