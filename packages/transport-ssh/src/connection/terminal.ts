/** Questions to a person at this terminal. */

import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import type { Ask } from './authentication.js'

/** Undefined without a terminal: nothing may wait for an answer that cannot come. */
export function terminalAsk(): Ask | undefined {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined
  // One question at a time, or nobody knows which is answered.
  let last: Promise<unknown> = Promise.resolve()
  return (question, { echo }) => {
    const asked = last.then(() => askOnce(question, echo))
    last = asked.catch(() => undefined)
    return asked
  }
}

async function askOnce(question: string, echo: boolean): Promise<string> {
  // What is typed comes back through `output`: swallowed, it is not seen.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({
    input: process.stdin,
    output: echo ? process.stderr : silent,
    terminal: true,
  })
  // Only now: from here on the terminal itself shows nothing of what is typed, however quick the answer comes.
  process.stderr.write(question)
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve)
      lines.once('close', () => reject(new Error('the question was not answered')))
      lines.once('SIGINT', () => {
        lines.close()
        process.kill(process.pid, 'SIGINT')
      })
    })
  } finally {
    lines.close()
    if (!echo) process.stderr.write('\n')
  }
}
