import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createFolderSource } from '@orbweaver/core'
import { fetchFiles, sendFiles, type TransferProgress } from '@orbweaver/xnat'
import { XnatLab } from '../support/lab.js'

describe('files of one resource, for scripts', () => {
  let lab: XnatLab
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-files-'))
    lab = await XnatLab.start()
    await lab.seed([{ label: 'P1' }])
  })
  afterEach(async () => {
    await lab.stop()
    await rm(folder, { recursive: true, force: true })
  })

  for (const [what, files] of [
    ['one small file', [10]],
    ['one that is streamed', [3_000_000]],
    ['many, as an archive', [5, 500_000, 1, 2, 3, 4, 5, 6]],
  ] as const) {
    it(`tell how far they are, both ways: ${what}`, async () => {
      const address = { node: { project: 'P1' }, resource: 'R' }
      const entries = files.map((bytes, index) => ({ path: `${index}.dat`, bytes }))
      for (const { path, bytes } of entries) await writeFile(join(folder, path), Buffer.alloc(bytes, path))
      const totalBytes = files.reduce((sum, bytes) => sum + bytes, 0)
      const client = lab.client()
      const told: TransferProgress[] = []
      const onProgress = (progress: TransferProgress): void => void told.push(progress)
      const check = (way: string): void => {
        const bytes = told.map((one) => one.bytes)
        expect(bytes, way).to.deep.equal([...bytes].sort((a, b) => a - b))
        expect(told.at(-1), way).to.deep.equal({ bytes: totalBytes, totalBytes })
        told.length = 0
      }
      await sendFiles(client, address, await createFolderSource(folder, entries), { onProgress })
      check('up')
      await fetchFiles(client, address, join(folder, 'out'), { onProgress })
      check('down')
      await client.close()
    })
  }
})
