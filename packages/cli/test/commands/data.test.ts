import { expect } from 'chai'
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Sandbox, at } from '../helpers/cli.js'

describe('init', function () {
  this.timeout(60_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  it('writes a site that check and doctor are content with, and that has nothing to do yet', async () => {
    const init = await sandbox.run([
      'init',
      '--name',
      'lab',
      '--project',
      'P1',
      '--project',
      'P2',
      '--dir',
      'site',
    ])
    expect(init.code, init.stderr).to.equal(0)
    expect(init.stdout).to.match(
      /^Wrote site\/orbweaver\.yaml\nWrote site\/processors\/hello\.yaml\n\nNext:\n {2}cd site && orbweaver check/,
    )

    const directory = sandbox.path('site')
    const [check, doctor, plan, list] = await Promise.all([
      sandbox.run(['check'], directory),
      sandbox.json(['doctor'], directory),
      sandbox.run(['plan'], directory),
      sandbox.run(['list'], directory),
    ])
    expect(check.code, check.stderr).to.equal(0)
    expect(check.stdout).to.match(/^good orbweaver\.yaml\n {2}site +lab\n/)
    expect(check.stdout).to.match(/processors +dcm2niix \S+, nifti-qa \S+, hello 1\.0\.0\n/)
    expect(doctor.value.problems, doctor.stdout).to.equal(0)
    expect(plan.stdout).to.match(/Nothing to do: 0 tasks are complete\.\n$/)
    expect(
      list.stdout
        .split('\n')
        .slice(1, 3)
        .map((line) => line.split(' ')[0]),
    ).to.deep.equal(['P1', 'P2'])
    const files = await sandbox.run(['check', 'processors/hello.yaml'], directory)
    expect(files.stdout).to.equal(
      'good processors/hello.yaml: hello 1.0.0, session level, 1 input, 1 output\n',
    )
  })

  it('replaces nothing without --force', async () => {
    writeFileSync(sandbox.path('orbweaver.yaml'), 'mine')
    const init = await sandbox.run(['init'])
    expect(init.code).to.equal(2)
    expect(init.stderr).to.match(/orbweaver\.yaml is there already\.\n {2}Give --force/)
    expect(readFileSync(sandbox.path('orbweaver.yaml'), 'utf8')).to.equal('mine')
    expect(readdirSync(sandbox.directory)).to.deep.equal(['orbweaver.yaml'])
    expect((await sandbox.run(['init', '--force'])).code).to.equal(0)
  })

  it('writes awkward names so that they are read back', async () => {
    const names = ['true', '010', "O'Neil (MR)", '1.5', 'a # b', '脳', '[x]']
    const init = await sandbox.json(['init', ...names.flatMap((name) => ['--project', name])])
    expect(init.code, init.stderr).to.equal(0)
    const check = await sandbox.json(['check'])
    expect((check.value.projects as { id: string }[]).map(({ id }) => id)).to.deep.equal(names)
  })

  for (const [argv, says] of [
    [['--name', 'a/b'], /Use letters, digits/],
    [['--project', '../x'], /cannot be a label/],
    [['--processor', 'dcm2nii'], /no ready processor dcm2nii[^]*dcm2niix/],
  ] as const) {
    it(`refuses ${argv.join(' ')}`, async () => {
      const init = await sandbox.run(['init', ...argv])
      expect(init.code).to.equal(2)
      expect(init.stderr).to.match(says)
      expect(readdirSync(sandbox.directory)).to.deep.equal([])
    })
  }
})

describe('import and export', function () {
  this.timeout(60_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  function write(path: string, text: string): void {
    mkdirSync(dirname(sandbox.path(path)), { recursive: true })
    writeFileSync(sandbox.path(path), text)
  }

  it('bring a tree in once, and results out again', async () => {
    await sandbox.run(['init', '--project', 'P', '--processor', './processors/hello.yaml'])
    for (const subject of ['S1', 'S2']) write(`in/${subject}/E1/T1/DICOM/a.dcm`, `made up for ${subject}`)

    const dry = await sandbox.run(['import', 'in', '--project', 'P', '--as', 'tree', '-n'])
    expect(dry.stdout).to.match(
      /^Found 2 subjects, 2 sessions, 2 scans and 2 files \(.*\) for project P \(tree\)\.\nNothing was changed\.\n$/,
    )
    expect((await sandbox.json(['list', 'sessions'])).value.total).to.equal(0)

    const first = await sandbox.run(['import', 'in', '--project', 'P', '--as', 'tree'])
    expect(first.code, first.stderr).to.equal(0)
    expect(first.stdout).to.match(
      /Imported: 2 resources new, 0 changed, 0 as before; 2 files \(.*\) stored\.\n$/,
    )
    const second = await sandbox.json(['import', 'in', '--project', 'P', '--as', 'tree'])
    expect(second.value).to.include({ schema: 'orbweaver/import/1', created: 0, changed: 0, unchanged: 2 })

    const run = await sandbox.run(['run'])
    expect(run.code, run.stderr).to.equal(0)
    expect(run.stdout).to.match(/2 tasks completed and verified\.\n$/)

    const [tree, bids] = await Promise.all([
      sandbox.run(['export', 'tree', '--out', 'out']),
      sandbox.json(['export', 'bids', '--out', 'derivatives', '--subject', 'S1']),
    ])
    expect(tree.code, tree.stderr).to.equal(0)
    expect(tree.stdout).to.match(/^FOLDER +RESULTS +FILES +NEW +AS BEFORE +REMOVED\nout\/P +2 /)
    expect(at(bids.value, 'folders.0.results')).to.equal(1)
    expect(statSync(sandbox.path('derivatives/hello-1.0.0/dataset_description.json')).isFile()).to.equal(true)

    const none = await sandbox.run(['export', 'tree', '--out', 'none', '--quality', 'Passed'])
    expect(none.code).to.equal(1)
  })

  it('make the archive of a site written by hand, but not where something else lies', async () => {
    writeFileSync(
      sandbox.path('orbweaver.yaml'),
      'site: bare\nstore: { use: folder, path: ./new/archive }\ncluster: { use: local }\nworkRoot: ./work\nprojects:\n  - { id: P, processors: [] }\n',
    )
    const file = sandbox.path('in', 'S1', 'E1', '1-T1w', 'NOTES', 'a.txt')
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, 'one\n')
    mkdirSync(sandbox.path('new', 'archive'), { recursive: true })
    writeFileSync(sandbox.path('new', 'archive', 'thesis.txt'), 'mine\n')
    const argv = ['import', 'in', '--project', 'P', '--as', 'tree']
    const refused = await sandbox.run(argv)
    expect(refused.code).to.equal(1)
    expect(refused.stderr).to.match(/There is no archive/)
    expect(readdirSync(sandbox.path('new', 'archive'))).to.deep.equal(['thesis.txt'])
    rmSync(sandbox.path('new'), { recursive: true })
    const made = await sandbox.run(argv)
    expect(made.code, made.stderr).to.equal(0)
    expect(made.stderr).to.match(/New archive at .*new\/archive/)
    expect(made.stdout).to.match(/Imported: 1 resource new/)
  })

  it('import nothing when a part is bad, and say which', async () => {
    await sandbox.run(['init', '--project', 'P'])
    write('in/S1/E1/T1/DICOM/a.dcm', 'made up')
    write('in/S;2/E1/T1/DICOM/a.dcm', 'made up too')
    const bad = await sandbox.run(['import', 'in', '--project', 'P', '--as', 'tree'])
    expect(bad.code).to.equal(1)
    expect(bad.stderr).to.match(/Nothing was imported[^]*S;2[^]*--skip-bad/)
    expect((await sandbox.json(['list', 'sessions'])).value.total).to.equal(0)
    const rest = await sandbox.run(['import', 'in', '--project', 'P', '--as', 'tree', '--skip-bad'])
    expect(rest.code, 'something was left out').to.equal(1)
    expect((await sandbox.json(['list', 'sessions'])).value.total).to.equal(1)
  })
})

describe('demo', () => {
  it('leaves a site of your own alone', async function () {
    this.timeout(20_000)
    const sandbox = new Sandbox()
    try {
      mkdirSync(sandbox.path('mine'))
      writeFileSync(sandbox.path('mine/orbweaver.yaml'), 'site: mine\n')
      const demo = await sandbox.run(['demo', '--dir', 'mine'])
      expect(demo.code).to.equal(2)
      expect(demo.stderr).to.match(/site of your own/)
      expect(readdirSync(sandbox.path('mine'))).to.deep.equal(['orbweaver.yaml'])
    } finally {
      sandbox.remove()
    }
  })
})
