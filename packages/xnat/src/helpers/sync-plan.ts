/** What is to be done with each file of two trees that were the same once: decided here, without touching either. */

/** Which side wins where both changed. `report`: neither. */
export type OnConflict = 'report' | 'local' | 'remote'

export type SyncDirection = 'toLocal' | 'toXnat'

/** One side's view of a file. */
export interface Version {
  readonly bytes: number
  /** Absent where the server keeps none: sizes alone are compared then. */
  readonly md5?: string
}

/** A file as both sides show it, and as it was when they were last seen to be the same. */
export interface Sides {
  readonly local: Version | undefined
  readonly remote: Version | undefined
  readonly base: Version | undefined
}

export type Decision =
  | { readonly do: 'move'; readonly why: string }
  | { readonly do: 'skip'; readonly why: string }
  | { readonly do: 'conflict'; readonly why: string }

/** A checksum that one side lacks cannot differ. */
export function sameContent(one: Version, other: Version): boolean {
  if (one.bytes !== other.bytes) return false
  return one.md5 === undefined || other.md5 === undefined || one.md5 === other.md5
}

/**
 * Nothing is ever removed. A file that only the target has stays; one that was removed at the target comes again.
 *
 * @param onConflict - the side that wins whenever the target would be overwritten with content it did not come from
 */
export function decideFile(sides: Sides, direction: SyncDirection, onConflict: OnConflict): Decision {
  const { local, remote, base } = sides
  const [from, to] = direction === 'toLocal' ? [remote, local] : [local, remote]
  const winner = direction === 'toLocal' ? 'remote' : 'local'
  if (from === undefined) return { do: 'skip', why: 'only at the target' }
  if (to === undefined) return { do: 'move', why: base === undefined ? 'new' : 'missing at the target' }
  if (sameContent(from, to)) return { do: 'skip', why: 'the same' }
  if (base !== undefined && sameContent(to, base)) return { do: 'move', why: 'changed' }
  if (onConflict !== 'report') {
    return onConflict === winner
      ? { do: 'move', why: `the ${winner} side wins` }
      : { do: 'skip', why: `the ${onConflict} side wins` }
  }
  if (base === undefined) return { do: 'conflict', why: 'they differ, and were never seen to be the same' }
  if (sameContent(from, base)) return { do: 'skip', why: 'changed at the target only' }
  return { do: 'conflict', why: 'both sides changed' }
}
