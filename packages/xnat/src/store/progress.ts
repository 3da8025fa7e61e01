/** How many bytes of a transfer have moved, as people want to see it: it only grows, whatever is sent or fetched twice. */

export class Progress {
  readonly #tell: ((bytes: number) => void) | undefined
  #done = 0
  #told = 0
  /** Of files that are on their way, by path. */
  readonly #current = new Map<string, number>()
  /** Of an archive that is on its way: its files have moved when it has, and are counted once. */
  #ahead = 0

  constructor(tell: ((bytes: number) => void) | undefined) {
    this.#tell = tell
  }

  /** A file begins, maybe once more. */
  begin(path: string): void {
    this.#current.set(path, 0)
  }

  moved(path: string, bytes: number): void {
    this.#current.set(path, (this.#current.get(path) ?? 0) + bytes)
    this.#say()
  }

  finish(path: string, bytes: number): void {
    this.#current.delete(path)
    this.#done += bytes
    this.#say()
  }

  /** @param bytes - of the archive so far, and not more than its files have */
  ahead(bytes: number): void {
    this.#ahead = bytes
    this.#say()
  }

  #say(): void {
    let current = 0
    for (const bytes of this.#current.values()) current += bytes
    const now = Math.max(this.#ahead, this.#done + current)
    if (now <= this.#told) return
    this.#told = now
    this.#tell?.(now)
  }
}
