import { expect } from 'chai'
import type { ArchiveRef } from '@orbweaver/core'
import { seedMany } from '@orbweaver/core/testing'
import { XnatLab } from '../support/lab.js'

describe('sessions by their labels', () => {
  let lab: XnatLab
  beforeEach(async () => {
    lab = await XnatLab.start()
    await lab.seed([seedMany('P1', 30)])
  })
  afterEach(() => lab.stop())

  it('of many subjects are looked up in a few requests', async () => {
    const paths: string[] = []
    const store = lab.store({ onRequest: ({ path }) => paths.push(path) })
    const sessions: ArchiveRef[] = Array.from({ length: 30 }, (_, index) => {
      const subject = `S${String(index + 1).padStart(4, '0')}`
      return { project: 'P1', subject, session: `${subject}_MR1` }
    })
    const listed = await Promise.all(
      sessions.map((node) => store.listFiles({ node: { ...node, scan: '1' }, resource: 'NIFTI' })),
    )
    expect(listed.every((files) => files.length > 0)).to.equal(true)
    expect(paths.filter((path) => path.endsWith('/experiments'))).to.have.length(9)
    // One that came later is found all the same.
    const place = { project: 'P1', subject: 'S0031', session: 'S0031_MR1' }
    await lab.admin.putSession(place, 'xnat:mrSessionData')
    await lab.admin.uploadFile({ node: place, resource: 'NEW' }, 'a.txt', 'a')
    expect(await store.listFiles({ node: place, resource: 'NEW' })).to.have.length(1)
  })
})
