import { expect } from 'chai'
import { seedMany, seedScan } from '@orbweaver/core/testing'
import { claim, type Chapter } from '../claims.js'
import type { StoreContext } from './context.js'

export const tree: Chapter<StoreContext> = {
  port: 'store',
  title: 'S1 tree',
  claims: [
    claim('S1.1', 'projects are listed by label, sorted', async (lab) => {
      await lab.seedTree()
      await lab.seed(seedMany(`${lab.project}_C`, 1), seedMany(`${lab.project}_B`, 1))
      const labels = (await lab.store.projects()).filter((label) => label.startsWith(lab.project))
      expect(labels).to.deep.equal([lab.project, `${lab.project}_B`, `${lab.project}_C`])
    }),

    claim('S1.2', 'a snapshot has every subject, session and scan, as the archive has them', async (lab) => {
      await lab.seedTree()
      const { project, subjects } = await lab.tree()
      expect(project.label).to.equal(lab.project)
      expect(
        subjects.map(({ label, sessions }) => [label, sessions.map((session) => session.label)]),
      ).to.deep.equal([
        ['S01', ['S01_A', 'S01_B']],
        ['S02', ['S02_A']],
        ['S10', []],
      ])
      const session = subjects[0]?.sessions[0]
      expect(session).to.include({ modality: 'MR', date: '2026-03-04' })
      expect(session?.scans.map(({ label, type, quality }) => [label, type, quality])).to.deep.equal([
        ['1', 'T1w', 'usable'],
        ['2', 'BOLD rest (2mm) [TR=2s]', 'questionable'],
      ])
      expect(session?.scans[1]?.description).to.equal('bold_rest_2mm')
    }),

    claim(
      'S1.3',
      'a snapshot has the labels of all resources, and true counts and sizes where it has any',
      async (lab) => {
        await lab.seedTree()
        const [s01, , s10] = (await lab.tree()).subjects
        const [a, b] = s01?.sessions ?? []
        const labels = (
          node: { readonly resources: readonly { readonly label: string }[] } | undefined,
        ): string[] => (node?.resources ?? []).map(({ label }) => label).sort()
        expect(labels(a?.scans[0])).to.deep.equal(['DICOM', 'NIFTI'])
        expect(labels(a?.scans[1])).to.deep.equal(['NIFTI'])
        expect(labels(b)).to.deep.equal(['PHYSIO'])
        expect(labels(s10)).to.deep.equal(['NOTES'])
        const dicom = a?.scans[0]?.resources.find(({ label }) => label === 'DICOM')
        expect(dicom?.fileCount ?? 2).to.equal(2)
        expect(dicom?.bytes ?? 13).to.equal(13)
      },
    ),

    claim('S1.4', 'subjects come in the order of their labels, each once', async (lab) => {
      const shuffled = seedMany(lab.project, 40, [])
      await lab.seed({
        ...shuffled,
        subjects: [...(shuffled.subjects ?? [])]
          .map((subject) => ({ ...subject, resources: { NOTES: { 'n.txt': subject.label } } }))
          .sort((a, b) => (a.label.slice(-1) < b.label.slice(-1) ? 1 : -1)),
      })
      const labels = (await lab.tree()).subjects.map(({ label }) => label)
      expect(labels).to.have.length(40)
      expect(labels).to.deep.equal([...new Set(labels)].sort())
    }),

    claim('S1.5', 'a snapshot of some subjects has only those, and skips what is not there', async (lab) => {
      await lab.seedTree()
      const { subjects } = await lab.tree({ subjects: ['S10', 'S01', 'NOBODY'] })
      expect(subjects.map(({ label }) => label)).to.deep.equal(['S01', 'S10'])
      expect(subjects[0]?.sessions).to.have.length(2)
      expect((await lab.tree({ subjects: [] })).subjects).to.deep.equal([])
    }),

    claim('S1.6', 'a snapshot of some sessions has only those', async (lab) => {
      await lab.seedTree()
      const { subjects } = await lab.tree({ sessions: ['S01_B', 'S02_A', 'NOTHING'] })
      const sessions = subjects.flatMap((subject) => subject.sessions.map(({ label }) => label))
      expect(sessions).to.deep.equal(['S01_B', 'S02_A'])
      const both = await lab.tree({ subjects: ['S02'], sessions: ['S01_B', 'S02_A'] })
      expect(both.subjects.flatMap((subject) => subject.sessions.map(({ label }) => label))).to.deep.equal([
        'S02_A',
      ])
    }),

    claim('S1.7', 'a session without scans and a subject without sessions are there', async (lab) => {
      await lab.seedTree()
      const { subjects } = await lab.tree()
      expect(subjects[0]?.sessions[1]).to.deep.include({ label: 'S01_B', scans: [], assessors: [] })
      expect(subjects[2]).to.deep.include({ label: 'S10', sessions: [], assessors: [] })
    }),

    claim('S1.8', 'a snapshot may be left before its end, and two may be read at once', async (lab) => {
      await lab.seed(seedMany(lab.project, 30, [seedScan('1', 'T1w')]))
      const left = await lab.store.snapshot(lab.project)
      for await (const { label } of left.subjects) {
        expect(label).to.equal('S0001')
        break
      }
      const [one, two] = await Promise.all([lab.tree(), lab.tree()])
      expect(one.subjects).to.have.length(30)
      expect(two.subjects).to.deep.equal(one.subjects)
    }),

    claim('S1.9', 'the same archive gives the same snapshot again', async (lab) => {
      await lab.seedTree()
      await lab.make()
      expect(await lab.tree()).to.deep.equal(await lab.tree())
    }),

    claim('S1.10', 'scans are in the order of their numbers', async (lab) => {
      const scans = ['10', '2', '1', '11'].map((label) => seedScan(label, 'BOLD'))
      await lab.seed({
        label: lab.project,
        subjects: [{ label: 'S01', sessions: [{ label: 'S01_A', scans }] }],
      })
      const labels = (await lab.tree()).subjects[0]?.sessions[0]?.scans.map(({ label }) => label)
      expect([...(labels ?? [])].sort((a, b) => Number(a) - Number(b))).to.deep.equal(['1', '2', '10', '11'])
    }),
  ],
}
