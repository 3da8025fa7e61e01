/**
 * One of several processes at work on the same archive: `node worker-child.js ARCHIVE NAME ROUNDS`.
 * Prints a line of JSON at the end: what it created and how often it counted.
 */

import { ConflictError, type ArchiveRef } from '@orbweaver/core'
import { FolderStore } from '#src/store/folder-store.js'
import { SESSION, init, memorySource, taskRecord } from './helpers.js'

const [, , path = '', name = '', rounds = ''] = process.argv
const store = await FolderStore.open({ path })
const created: string[] = []
const counted: Record<string, number> = {}

async function count(ref: ArchiveRef, label: string): Promise<void> {
  for (;;) {
    const { node, record } = await store.readAssessor(ref)
    const n = Number(record?.params['n'] ?? 0) + 1
    try {
      await store.updateAssessor(ref, { record: taskRecord({ params: { n } }) }, node.revision)
      counted[label] = (counted[label] ?? 0) + 1
      return
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error
    }
  }
}

for (let round = 0; round < Number(rounds); round += 1) {
  const label = `A${round % 10}`
  const ref = { ...SESSION, subject: `S${round % 3}`, assessor: label }
  const made = await store.createAssessor(ref, init({ params: { n: 0 } }))
  if (made.created) created.push(label)
  await count(ref, label)
  if (round % 4 === 0) {
    const files = Object.fromEntries(
      ['a', 'b', 'c/d'].map((file) => [file, `${file} of ${name} in round ${round}`]),
    )
    await store
      .upload({ node: ref, resource: 'PDF' }, memorySource(files))
      // Somebody else won: the archive then lists their files, and says so.
      .catch((error: unknown) => {
        if ((error as { code?: string }).code !== 'INTEGRITY') throw error
      })
  }
}
await store.close()
process.stdout.write(`${JSON.stringify({ created, counted })}\n`)
