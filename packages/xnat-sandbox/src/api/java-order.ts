/**
 * The order in which Java's `HashMap` gives its keys: that of the rows in the server's JSON. It is stable for a given set
 * of columns, and people who compare replies by eye or by bytes rely on it.
 */
export function javaOrder(keys: readonly string[]): readonly number[] {
  let size = 16
  while (keys.length > size * 0.75) size *= 2
  return keys
    .map((key, index) => ({ index, bucket: spread(hashCode(key)) & (size - 1) }))
    .sort((a, b) => a.bucket - b.bucket || a.index - b.index)
    .map(({ index }) => index)
}

function hashCode(text: string): number {
  let hash = 0
  for (let at = 0; at < text.length; at += 1) hash = (Math.imul(31, hash) + text.charCodeAt(at)) | 0
  return hash
}

function spread(hash: number): number {
  return hash ^ (hash >>> 16)
}
