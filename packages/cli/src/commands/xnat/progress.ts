/** One line that shows how a transfer goes, while a person watches. */

import { formatMemory } from '@orbweaver/core'
import type { Session } from '../../session.js'
import { LiveBlock } from '../../terminal/live-block.js'
import { count, safeForTerminal, shortenEnd } from '../../terminal/text.js'
import { bar } from '../../terminal/words.js'

export interface Moved {
  readonly bytes: number
  /** Where it is known before. */
  readonly totalBytes?: number
  readonly files?: number
  /** What is at work now. */
  readonly at?: string
}

export type Tell = (moved: Moved) => void

/** The rate is that of the last seconds: what a person wants to know is how long it will go on. */
const WINDOW_MS = 5000

/** Draws on standard error, and only on a terminal: nothing of it is in a log, a pipe or the answer in JSON. */
export async function withProgress<T>(session: Session, work: (tell: Tell) => Promise<T>): Promise<T> {
  const { terminal } = session
  if (!terminal.errorIsTty || session.json) return await work(() => undefined)
  const rate = new Rate()
  let moved: Moved | undefined
  const block = new LiveBlock(terminal, (width) => {
    const line =
      moved === undefined ? 'looking' : progressLine(moved, rate.at(performance.now(), moved.bytes))
    return [shortenEnd(line, width - 1)]
  })
  block.start()
  try {
    return await work((now) => (moved = now))
  } finally {
    block.stop()
  }
}

export function progressLine(moved: Moved, bytesPerSecond: number): string {
  const { bytes, totalBytes, files, at } = moved
  const parts = [
    totalBytes === undefined
      ? formatMemory(bytes)
      : `${bar(bytes, totalBytes, 20)} ${formatMemory(bytes)} of ${formatMemory(totalBytes)}`,
    ...(files === undefined ? [] : [count(files, 'file')]),
    `${formatMemory(Math.round(bytesPerSecond))}/s`,
    ...(at === undefined ? [] : [safeForTerminal(at)]),
  ]
  return parts.join(', ')
}

/** Bytes a second over the last {@link WINDOW_MS}. */
export class Rate {
  readonly #samples: { readonly ms: number; readonly bytes: number }[] = []

  at(ms: number, bytes: number): number {
    this.#samples.push({ ms, bytes })
    while (this.#samples.length > 2 && ms - (this.#samples[1]?.ms ?? ms) >= WINDOW_MS) this.#samples.shift()
    const first = this.#samples[0]
    if (first === undefined || ms <= first.ms) return 0
    return ((bytes - first.bytes) / (ms - first.ms)) * 1000
  }
}
