import { expect } from 'chai'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { writeAll } from '#src/job/run.js'
import { companionOf, imageOf, readTask, stemOf, type JobSource, type JobTask } from '#src/job/task.js'

describe('a job’s files', () => {
  let folder: string
  beforeEach(() => (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-write-'))))
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }))

  it('are written all', async () => {
    await writeAll(folder, [
      { path: 'a.txt', content: 'a' },
      { path: 'deep/b.bin', content: Uint8Array.of(1, 2) },
    ])
    expect(fs.readFileSync(path.join(folder, 'a.txt'), 'utf8')).to.equal('a')
    expect(fs.readdirSync(path.join(folder, 'deep'))).to.deep.equal(['b.bin'])
  })

  it('or none', async () => {
    fs.writeFileSync(path.join(folder, 'blocked'), 'a file where a folder is needed')
    let failure: unknown
    try {
      await writeAll(folder, [
        { path: 'a.txt', content: 'a' },
        { path: 'blocked/b.txt', content: 'b' },
      ])
    } catch (error) {
      failure = error
    }
    expect(failure).to.be.instanceOf(Error)
    expect(fs.readdirSync(folder)).to.deep.equal(['blocked'])
  })
})

describe('a job’s inputs', () => {
  const source = (...files: string[]): JobSource => ({
    dir: '/d',
    path: '/d',
    files,
    ref: 'P/S/E/scans/1:NIFTI',
  })
  const task = (inputs: JobTask['inputs'] = {}): JobTask => ({
    schema: 1,
    label: 'L',
    processor: { name: 'x', version: '1.0.0' },
    params: {},
    inputs,
    outputs: '/o',
    tmp: '/t',
  })

  it('hold one image, or one that is meant', () => {
    expect(imageOf(source('a.json', 'sub/a.NII.GZ'))).to.equal('sub/a.NII.GZ')
    expect(
      imageOf(source('a.nii', 'b.nii'), (images) => images.filter((image) => image.startsWith('b'))),
    ).to.equal('b.nii')
    expect(() => imageOf(source('a.nii', 'b.nii')))
      .to.throw(/2 images/)
      .with.property('exitCode', 65)
    expect(() => imageOf(source()))
      .to.throw(/no file at all/)
      .with.property('exitCode', 66)
  })

  it('have companions: of the same name first, else the only one', () => {
    const image = 'a.nii.gz'
    expect(stemOf(image)).to.equal('a')
    expect(companionOf(task(), source(image, 'b.bval', 'a.bval'), image, '.bval')).to.equal('/d/a.bval')
    expect(companionOf(task(), source(image, 'b.bval'), image, '.bval')).to.equal('/d/b.bval')
    expect(companionOf(task(), source(image, 'b.bval', 'c.bval'), image, '.bval')).to.equal(undefined)
    const other = { ...source('x.bval'), dir: '/e' }
    const inputs = { bval: { present: true, path: '/e', dir: '/e', sources: [other] } }
    expect(companionOf(task(inputs), source(image), image, '.bval', 'bval')).to.equal('/e/x.bval')
  })

  it('come from a task that can be read', async () => {
    for (const environment of [{}, { ORBWEAVER_TASK: '/nowhere/task.json' }]) {
      let failure: unknown
      try {
        await readTask(environment)
      } catch (error) {
        failure = error
      }
      expect(failure).to.have.property('exitCode', 64)
    }
  })
})
