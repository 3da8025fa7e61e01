import { appendFile, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { startSandbox } from '@orbweaver/xnat-sandbox'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

describe('the folder', () => {
  let lab: Bench
  beforeEach(async () => {
    lab = await bench({ users: [{ name: 'bob', projects: { P1: 'member' } }] })
    await smallProject(lab.admin)
  })
  afterEach(() => lab.dispose())

  const everything = async (): Promise<readonly string[]> => {
    const paths = [
      '/data/projects',
      '/data/projects/P1/users',
      '/data/subjects?columns=DEFAULT,last_modified',
      '/data/experiments?columns=DEFAULT,last_modified,proc:genProcData/procstatus',
      `${SESSION}/scans`,
      `${SESSION}/resources?all=true`,
      `${SESSION}/scans/ALL/files`,
    ]
    return Promise.all(paths.map((path) => lab.admin.get(path).then(({ text }) => text)))
  }

  it('keeps everything, passwords and tokens too', async () => {
    const before = await everything()
    const passwords = Object.values(lab.sandbox.users).map(({ password }) => password)
    await lab.restart()
    expect(await everything()).to.deep.equal(before)
    expect(Object.values(lab.sandbox.users).map(({ password }) => password)).to.deep.equal(passwords)
    expect((await lab.admin.get(`${SESSION}/scans/1/resources/NIFTI/files/t1.nii`)).text).to.equal('image')
    expect(await lab.admin.put('/data/projects/P1/subjects/S2')).to.equal('XNAT_S00002')
  })

  it('is read by its owner alone', async () => {
    const mode = async (name: string): Promise<number> =>
      (await stat(join(lab.sandbox.directory, name))).mode & 0o077
    for (const name of ['journal.jsonl', 'archive', 'tmp', 'archive/P1/arc001/E1/SCANS/1/NIFTI/t1.nii']) {
      expect(await mode(name), name).to.equal(0)
    }
  })

  it('loses nothing but the line that a crash cut short', async () => {
    const before = await everything()
    const file = join(lab.sandbox.directory, 'journal.jsonl')
    await appendFile(file, '{"o":"item-","k":1')
    await lab.restart()
    expect(await everything()).to.deep.equal(before)
    await lab.admin.put('/data/projects/P1/subjects/S2')
    await lab.restart()
    expect(await lab.admin.rows('/data/projects/P1/subjects')).to.have.length(2)
  })

  it('is not read when a line in the middle is broken', async () => {
    const file = join(lab.sandbox.directory, 'journal.jsonl')
    await writeFile(file, `nonsense\n${await readFile(file, 'utf8')}`)
    let problem: unknown
    try {
      await lab.restart()
    } catch (error) {
      problem = error
    }
    expect(String(problem)).to.include('line 1')
  })

  it('shows a file as it is on disk after a crash between file and record', async () => {
    const file = join(lab.sandbox.directory, 'archive/P1/arc001/E1/SCANS/1/NIFTI/t1.nii')
    await writeFile(file, 'other')
    await lab.restart()
    const [row] = await lab.admin.rows(`${SESSION}/scans/1/resources/NIFTI/files`)
    expect(row?.digest).to.equal('795f3202b17cb6bc3d4b771d8c6c9eaf')
  })

  it('serves one sandbox at a time, and a dead one is no hindrance', async () => {
    const { directory } = lab.sandbox
    let problem: unknown
    await startSandbox({ directory }).then(
      (second) => second.close(),
      (error: unknown) => (problem = error),
    )
    expect(problem).to.include({ code: 'CONFLICT' })
    await lab.sandbox.close()
    // A process that is no more: the highest number that Linux gives is 4 194 304.
    const { hostname } = await import('node:os')
    await writeFile(
      join(directory, 'sandbox.lock'),
      JSON.stringify({ pid: 4_194_305, host: hostname(), id: 'x' }),
    )
    await lab.restart()
    expect(await lab.admin.rows('/data/projects')).to.have.length(1)
  })

  it('keeps the files of two sessions apart whose labels were swapped', async () => {
    await lab.admin.put(`${SESSION}?label=OLD`)
    await lab.admin.put(`${SESSION}?xsiType=xnat:mrSessionData`)
    await lab.admin.put(`${SESSION}/scans/1?xsiType=xnat:mrScanData`)
    await lab.admin.upload(`${SESSION}/scans/1/resources/NIFTI/files/t1.nii`, 'new')
    const read = (session: string): Promise<string> =>
      lab.admin
        .get(`/data/projects/P1/subjects/S1/experiments/${session}/scans/1/resources/NIFTI/files/t1.nii`)
        .then(({ text }) => text)
    expect([await read('OLD'), await read('E1')]).to.deep.equal(['image', 'new'])
  })
})
