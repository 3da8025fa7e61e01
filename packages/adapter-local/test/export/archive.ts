/** Archives with results, for the exports. */

import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  procTypeOf,
  taskLabel,
  type ArchiveRef,
  type DataStore,
  type FileEntry,
  type FileSource,
  type InputBinding,
  type TaskRecord,
} from '@orbweaver/core'

export interface MadeResult {
  readonly name?: string
  readonly version?: string
  /** Labels of scans of the same session. */
  readonly scans?: readonly string[]
  /** Resource → path → text. */
  readonly outputs: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly state?: TaskRecord['state']
  readonly quality?: string
  /** Leave the files out of the record. */
  readonly unrecorded?: boolean
}

export function sourceOf(files: Readonly<Record<string, string>>): FileSource {
  const entries = Object.entries(files).map(([path, text]): FileEntry => {
    const content = Buffer.from(text)
    const hex = createHash('sha256').update(content).digest('hex')
    return { path, bytes: content.length, checksum: { algorithm: 'sha256', hex } }
  })
  return { files: entries, open: async (path) => Readable.from([Buffer.from(files[path] ?? '')]) }
}

/** Make a result as an engine does: create, upload, mark. */
export async function addResult(store: DataStore, target: ArchiveRef, made: MadeResult): Promise<ArchiveRef> {
  const { name = 'bold-qc', version = '1.2.0', scans = [], state = 'complete' } = made
  const procType = procTypeOf(name, version)
  const inputs: InputBinding[] = [
    { name: 'in', sources: scans.map((scan) => ({ node: { ...target, scan }, resource: 'NIFTI' })) },
  ]
  const label = taskLabel(procType, target, inputs)
  const ref = { ...target, assessor: label }
  const record: TaskRecord = {
    schema: 1,
    label,
    procType,
    procVersion: version,
    target,
    inputs,
    params: {},
    state: 'uploading',
    reason: 'test',
    attempt: 1,
    failures: {},
    createdAtMs: 1,
    updatedAtMs: 1,
  }
  const { node } = await store.createAssessor(ref, { procType, procVersion: version, scans, record })
  const outputs = []
  for (const [resource, files] of Object.entries(made.outputs)) {
    outputs.push({ resource, files: await store.upload({ node: ref, resource }, sourceOf(files)) })
  }
  const { revision } = (await store.readAssessor(ref)).node
  await store.updateAssessor(
    ref,
    {
      record: { ...record, state, ...(made.unrecorded !== true && { outputs }) },
      ...(made.quality !== undefined && { quality: made.quality }),
    },
    revision === '' ? node.revision : revision,
  )
  return ref
}
