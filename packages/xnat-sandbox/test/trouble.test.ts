import { expect } from 'chai'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

describe('trouble on demand', () => {
  let now = 1_700_000_000_000
  let lab: Bench
  beforeEach(async () => {
    lab = await bench({ now: () => now })
    await smallProject(lab.admin)
  })
  afterEach(() => lab.dispose())

  const outcome = async (path = '/data/projects'): Promise<number | 'broken'> =>
    lab.admin.get(path).then(
      ({ status }) => status,
      () => 'broken' as const,
    )

  it('is errors, drawn alike by the same seed', async () => {
    const draw = async (): Promise<readonly (number | 'broken')[]> => {
      lab.sandbox.setFaults({ errorRate: 0.5, seed: 7 })
      const outcomes: (number | 'broken')[] = []
      for (let count = 0; count < 12; count += 1) outcomes.push(await outcome())
      return outcomes
    }
    const first = await draw()
    expect(first).to.include(200)
    expect(first.some((status) => typeof status === 'number' && status >= 500)).to.equal(true)
    expect(await draw()).to.deep.equal(first)
  })

  it('is broken connections, before and after the work', async () => {
    lab.sandbox.setFaults({ dropRate: 1, seed: 3 })
    for (let count = 0; count < 8; count += 1)
      expect(await outcome(`/data/projects?${count}`)).to.equal('broken')
    const made = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        lab.admin.send('PUT', `/data/projects/P1/subjects/D${index}`).then(
          () => 'told',
          () => 'broken',
        ),
      ),
    )
    lab.sandbox.setFaults({})
    expect(made).to.not.include('told')
    const there = (await lab.admin.rows('/data/projects/P1/subjects')).length - 1
    expect(there).to.be.greaterThan(0).and.lessThan(10)
  })

  it('is replies that stop half-way', async () => {
    lab.sandbox.setFaults({ truncateRate: 1 })
    expect(await outcome()).to.equal('broken')
    expect(await outcome(`${SESSION}/scans/1/resources/NIFTI/files/t1.nii`)).to.equal('broken')
    expect(await outcome(`${SESSION}/scans/ALL/files?format=zip`)).to.equal('broken')
  })

  it('is outages, counted from when they were asked for', async () => {
    lab.sandbox.setFaults({ outages: [{ startMs: 1000, durationMs: 500 }] })
    expect(await outcome()).to.equal(200)
    now += 1200
    expect(await outcome()).to.equal('broken')
    now += 500
    expect(await outcome()).to.equal(200)
  })

  it('is lies: 200, and nothing stored', async () => {
    lab.sandbox.setFaults({ lies: 1 })
    const upload = (name: string): Promise<number> =>
      lab.admin.upload(`${SESSION}/resources/L/files/${name}`, 'x').then(({ status }) => status)
    expect([await upload('a'), await upload('b')]).to.deep.equal([200, 200])
    expect((await lab.admin.rows(`${SESSION}/resources/L/files`)).map(({ Name }) => Name)).to.deep.equal([
      'b',
    ])
  })

  it('is only for the requests that were meant', async () => {
    lab.sandbox.setFaults({ errorRate: 1, only: /^PUT / })
    expect(await outcome()).to.equal(200)
    expect((await lab.admin.send('PUT', '/data/projects/P2')).status).to.be.greaterThanOrEqual(500)
  })

  it('shows in the log, and in the counts', async () => {
    lab.sandbox.setFaults({ dropRate: 1 })
    await outcome()
    lab.sandbox.setFaults({})
    await outcome()
    const [broken, good] = lab.sandbox.log.slice(-2)
    expect([broken?.status, good?.status, good?.route]).to.deep.equal([0, 200, 'projects'])
    expect(lab.sandbox.counts().byRoute['GET projects']).to.be.greaterThan(0)
  })
})
