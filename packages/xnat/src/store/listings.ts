/** Listings of a result's resources, several in one request: what is asked for in the same moment is answered together. */

import { formatRef, type ArchiveRef, type CallOptions } from '@orbweaver/core'
import type { XnatFile } from '../client/listed.js'

/** @returns files by resource label; a label that is missing has no resource, or an empty one */
export type ListSeveral = (labels: readonly string[]) => Promise<ReadonlyMap<string, readonly XnatFile[]>>

interface Waiting {
  readonly label: string
  readonly done: (files: readonly XnatFile[]) => void
  readonly failed: (error: unknown) => void
}

interface Group {
  /** Uploads whose files are still on their way. */
  sending: number
  waiting: Waiting[]
  asked: boolean
  readonly list: ListSeveral
}

/**
 * Every answer comes from a request that began after the question: it is never older than what was sent before. A question
 * waits for uploads into other resources of the same node that are under way, for their question comes next.
 */
export class SharedListings {
  readonly #groups = new Map<string, Group>()

  /** An upload begins. @returns to be called once when its files have been sent, or cannot be; later calls do nothing */
  sending(node: ArchiveRef, list: ListSeveral): () => void {
    const key = formatRef(node)
    const group = this.#group(key, list)
    group.sending += 1
    let over = false
    return () => {
      if (over) return
      over = true
      group.sending -= 1
      this.#ask(key, group)
    }
  }

  async list(
    node: ArchiveRef,
    label: string,
    list: ListSeveral,
    { signal }: CallOptions = {},
  ): Promise<readonly XnatFile[]> {
    signal?.throwIfAborted()
    const key = formatRef(node)
    const group = this.#group(key, list)
    const files = await new Promise<readonly XnatFile[]>((done, failed) => {
      group.waiting.push({ label, done, failed })
      this.#ask(key, group)
    })
    signal?.throwIfAborted()
    return files
  }

  #group(key: string, list: ListSeveral): Group {
    let group = this.#groups.get(key)
    if (group === undefined) this.#groups.set(key, (group = { sending: 0, waiting: [], asked: false, list }))
    return group
  }

  #ask(key: string, group: Group): void {
    if (group.sending > 0 || group.asked) return
    group.asked = true
    // Not at once: whoever asks in the same turn is answered by the same request.
    setImmediate(() => {
      group.asked = false
      if (group.sending > 0) return
      this.#groups.delete(key)
      const { waiting } = group
      if (waiting.length === 0) return
      group.list([...new Set(waiting.map(({ label }) => label))]).then(
        (found) => {
          for (const { label, done } of waiting) done(found.get(label) ?? [])
        },
        (error: unknown) => {
          for (const { failed } of waiting) failed(error)
        },
      )
    })
  }
}
