import { expect } from 'chai'
import { join } from 'node:path'
import { createSyntheticArchive } from '@orbweaver/adapter-local'
import { collect, init, makeLab, type Lab } from './helpers.js'

describe('synthetic archive', () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await makeLab()
  })
  afterEach(() => lab.dispose())

  it('has the sessions, scans and results asked for, and takes more later', async () => {
    const path = join(lab.folder, 'synthetic')
    const options = {
      path,
      project: 'BIG',
      sessionsPerSubject: 2,
      assessors: (session: { session: string }) => [
        {
          label: `A-${session.session}`,
          init: init(),
          quality: 'Passed',
          resources: [{ label: 'PDF', fileCount: 1, bytes: 9 }],
        },
      ],
    }
    expect(await createSyntheticArchive({ ...options, sessions: 6 })).to.deep.equal({
      sessions: 6,
      scans: 30,
      assessors: 6,
    })
    const store = await lab.open({ path })
    const { cursor } = await store.changedSince('BIG', undefined)
    await createSyntheticArchive({ ...options, sessions: 2, first: 6 })
    expect((await store.changedSince('BIG', cursor)).subjects).to.deep.equal(['S000003'])
    const subjects = await collect((await store.snapshot('BIG')).subjects)
    expect(subjects.map((s) => s.sessions.length)).to.deep.equal([2, 2, 2, 2])
    expect(subjects[0]?.sessions[0]?.scans.map((scan) => scan.type)).to.deep.equal([
      'T1w',
      'T2w',
      'BOLD',
      'BOLD',
      'DTI',
    ])
    const assessor = subjects[3]?.sessions[1]?.assessors[0]
    expect(assessor).to.include({ label: 'A-S000003_MR2', state: 'ready', quality: 'Passed' })
    expect(assessor?.resources[0]).to.include({ label: 'PDF', fileCount: 1, bytes: 9 })
    const ref = { project: 'BIG', subject: 'S000003', session: 'S000003_MR2', assessor: 'A-S000003_MR2' }
    expect((await store.readAssessor(ref)).record).to.deep.equal(init().record)
  })
})
