import { expect } from 'chai'
import { readdirSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { FolderStore } from '@orbweaver/adapter-local'
import { probe } from '#src/store/lock-probe.js'
import { SCAN, collect, makeLab, memorySource, type Lab } from './helpers.js'

describe('folder archive diagnosis', () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await makeLab()
  })
  afterEach(() => lab.dispose())
  const NIFTI = { node: SCAN, resource: 'NIFTI' }

  it('finds a good archive good, proves locking with two processes and leaves nothing behind', async () => {
    const store = await lab.open()
    await store.upload(NIFTI, memorySource({ a: 'x' }))
    const findings = await store.diagnose()
    expect(findings.map(({ check, status }) => `${check} ${status}`)).to.deep.equal([
      'archive: folder ok',
      'archive: space ok',
      'archive: database ok',
      'archive: write access ok',
      'archive: locking ok',
      'archive: files ok',
    ])
    expect(readdirSync(join(lab.archive, '.staging'))).to.deep.equal([])
  })

  it('tells a folder that is not there, without throwing', async () => {
    const store = new FolderStore({ path: join(lab.folder, 'no') })
    expect((await store.diagnose()).map(({ check, status }) => ({ check, status }))).to.deep.equal([
      { check: 'archive: folder', status: 'problem' },
    ])
    await store.close()
  })

  it('tells a damaged database and missing files', async () => {
    const store = await lab.open()
    await store.upload(NIFTI, memorySource({ a: 'x' }))
    const { localPath } = await store.source(NIFTI)
    unlinkSync(localPath('a') ?? '')
    const files = (await store.diagnose()).find(({ check }) => check === 'archive: files')
    expect(files?.status).to.equal('problem')
    await store.close()
    writeFileSync(join(lab.archive, 'archive.db'), 'no database'.repeat(1000))
    const broken = new FolderStore({ path: lab.archive })
    expect((await broken.diagnose()).at(-1)).to.include({ check: 'archive: database', status: 'problem' })
    await broken.close()
  })

  it('knows a locked database from a free one', () => {
    const path = join(lab.folder, 'probe.db')
    const sqlite = new Database(path)
    sqlite.exec('CREATE TABLE probe (n INTEGER); INSERT INTO probe VALUES (5); BEGIN IMMEDIATE')
    expect(probe(path)).to.equal('busy')
    sqlite.exec('COMMIT')
    sqlite.close()
    expect(probe(path)).to.equal('6')
  })

  it('finds rows that contradict each other', async () => {
    const store = await lab.open()
    await store.upload(NIFTI, memorySource({ a: 'x' }))
    const { db } = await store.opened()
    db.sqlite.exec('UPDATE resource SET files = 7; INSERT INTO record VALUES (999999, 0)')
    const problems = await collect(store.check())
    expect(problems.map(({ kind, resource }) => ({ kind, resource }))).to.deep.equal([
      { kind: 'database', resource: undefined },
      { kind: 'database', resource: 'P/S1/E1/scans/1:NIFTI' },
    ])
  })
})
