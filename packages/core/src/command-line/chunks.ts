/** Many words into few commands: the system limits the length of one argument and of all together. */

import type { ChunkLimits } from './dialect.js'

/** In order, none empty; a word that is longer than the limit stands alone. */
export function chunks<Word extends string>(
  words: readonly Word[],
  limits: ChunkLimits | undefined,
): readonly (readonly Word[])[] {
  if (words.length === 0) return []
  if (limits === undefined) return [words]
  const done: Word[][] = []
  let open: Word[] = []
  let bytes = 0
  for (const word of words) {
    const more = Buffer.byteLength(word) + 1
    if (open.length > 0 && (open.length >= limits.count || bytes + more > limits.bytes)) {
      done.push(open)
      open = []
      bytes = 0
    }
    open.push(word)
    bytes += more
  }
  done.push(open)
  return done
}
