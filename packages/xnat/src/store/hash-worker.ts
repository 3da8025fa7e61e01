/** Runs in a thread of its own: hashes the slots it is told, and gives the sums at the end. */

import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import type { HashOrder, HashWork } from './thread-hash.js'

const { algorithms, slots } = workerData as HashWork
const hashes = algorithms.map((algorithm) => [algorithm, createHash(algorithm)] as const)

parentPort?.on('message', (order: HashOrder) => {
  if (order === 'end') {
    parentPort?.postMessage(Object.fromEntries(hashes.map(([name, hash]) => [name, hash.digest('hex')])))
    return
  }
  const memory = slots[order.slot]
  if (memory === undefined) throw new RangeError(`no slot ${order.slot}`)
  for (const [, hash] of hashes) hash.update(new Uint8Array(memory, 0, order.bytes))
  parentPort?.postMessage(order.slot)
})
