import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import { InputError } from '@orbweaver/core'
import { detectImportKind } from '#src/import/detect.js'
import { parseScanFolder, readTree, type ReadTreeOptions } from '#src/import/tree.js'
import { dicom, makeFolder, niftiGz, problemList, removeFolder, type Content } from './sources.js'

describe('tree import', () => {
  const folders: string[] = []
  async function folder(files: Record<string, Content>): Promise<string> {
    const root = await makeFolder(files)
    folders.push(root)
    return root
  }
  afterEach(async () => {
    for (const root of folders.splice(0)) await removeFolder(root)
  })

  async function load(root: string, options: ReadTreeOptions = {}) {
    const { all, onProblem } = problemList()
    const items = []
    for await (const item of readTree(root, { ...options, onProblem })) items.push(item)
    return {
      items,
      nodes: items.map((item) =>
        [item.project, item.subject, item.session, item.scan?.label, item.resource].join('/'),
      ),
      problems: all.map((problem) => `${problem.kind} ${problem.path}`),
    }
  }

  it('reads project, subject, session, scan, resource', async () => {
    const root = await folder({
      'P1/S1/MR1/301-T1w/NIFTI/t1.nii.gz': 'x',
      'P1/S1/MR1/301-T1w/NIFTI/deep/er/t1.json': 'x',
      'P1/S1/MR1/301-T1w/DICOM/1.dcm': 'x',
      'P1/S1/MR1/302_BOLD rest/NIFTI/b.nii.gz': 'x',
      'P1/S1/MR1/302_BOLD rest/scan.json': { type: 'bold', quality: 'questionable', description: 'rest' },
      'P1/S1/MR1/session.json': { modality: 'MR', date: '2024-03-05' },
      'P1/S1/MR1/resources/BIDS/x.tsv': 'x',
      'P1/S1/resources/NOTES/n.txt': 'x',
      'P2/S1/MR1/T2w/NIFTI/.hidden': 'x',
      'P2/S1/MR1/T2w/NIFTI/a.nii': 'x',
    })
    const { items, nodes, problems } = await load(root)
    expect(problems).to.deep.equal([])
    expect(nodes).to.deep.equal([
      'P1/S1/MR1/301/DICOM',
      'P1/S1/MR1/301/NIFTI',
      'P1/S1/MR1/302/NIFTI',
      'P1/S1/MR1//BIDS',
      'P1/S1///NOTES',
      'P2/S1/MR1/T2w/NIFTI',
    ])
    expect(items[1]?.files).to.deep.equal([
      { path: 'deep/er/t1.json', source: join(root, 'P1/S1/MR1/301-T1w/NIFTI/deep/er/t1.json') },
      { path: 't1.nii.gz', source: join(root, 'P1/S1/MR1/301-T1w/NIFTI/t1.nii.gz') },
    ])
    expect(items[2]?.scan).to.deep.equal({
      label: '302',
      type: 'bold',
      quality: 'questionable',
      description: 'rest',
    })
    expect([items[0]?.modality, items[0]?.date]).to.deep.equal(['MR', '2024-03-05'])
    expect(items[5]?.files).to.have.length(1)
  })

  it('takes the top folders for subjects when a project is given', async () => {
    const { nodes } = await load(await folder({ 'S1/MR1/3/NIFTI/a': 'x' }), { project: 'P' })
    expect(nodes).to.deep.equal(['P/S1/MR1/3/NIFTI'])
  })

  it('refuses a tree that would come in one level off', async () => {
    const root = await folder({ 'P/S1/MR1/3/NIFTI/a': 'x' })
    const failure: unknown = await load(root, { project: 'P' }).catch((error: unknown) => error)
    expect(failure).to.be.instanceOf(InputError)
    expect((failure as InputError).hint).to.include('leave --project out')
  })

  it("reads XNAT's downloads", async () => {
    const root = await folder({
      'S1/MR1/scans/301-T1w/resources/DICOM/files/a/1.dcm': 'x',
      'S1/MR1/scans/302-bold/resources/NIFTI/files/b.nii.gz': 'x',
      'S1/MR1/assessors/x/out/a.txt': 'x',
    })
    const { items, nodes, problems } = await load(root, { project: 'P' })
    expect(nodes).to.deep.equal(['P/S1/MR1/301/DICOM', 'P/S1/MR1/302/NIFTI'])
    expect(items[0]?.files[0]?.path).to.equal('a/1.dcm')
    expect(problems).to.deep.equal(['skipped S1/MR1/assessors'])
  })

  it('reads label and type from the name of a scan folder', () => {
    const cases: Record<string, [string, string]> = {
      '301-T1w': ['301', 'T1w'],
      '301_T1w': ['301', 'T1w'],
      '301': ['301', '301'],
      '3-MR2': ['3-MR2', '3-MR2'],
      '3-MR2-T1w': ['3-MR2', 'T1w'],
      T1w: ['T1w', 'T1w'],
      'task-rest_bold': ['task-rest_bold', 'task-rest_bold'],
      '301-': ['301-', '301-'],
    }
    for (const [name, [label, type]] of Object.entries(cases)) {
      expect(parseScanFolder(name), name).to.deep.equal({ label, type })
    }
  })

  it('refuses names that cannot be labels, with what and where', async () => {
    const names = [
      'a;b',
      '$(x)',
      'a\nb',
      '-rf',
      'a"b',
      'a*',
      'x'.repeat(210),
      'a\u200bb',
      ' a',
      'back\\slash',
      'a|b',
      'a`b`',
    ]
    const root = await folder(
      Object.fromEntries([
        ...names.map((name) => [`P1/${name}/MR1/1/NIFTI/a`, 'x']),
        ...names.map((name) => [`P1/S1/${name}/1/NIFTI/a`, 'x']),
        ...names.map((name) => [`P1/S1/MR1/${name}/NIFTI/a`, 'x']),
        ...names.map((name) => [`P1/S1/MR1/1/${name}/a`, 'x']),
        ['P1/S1/MR1/1/NIFTI/a', 'x'],
      ]) as Record<string, string>,
    )
    const { nodes, problems } = await load(root)
    expect(nodes).to.deep.equal(['P1/S1/MR1/1/NIFTI'])
    expect(problems).to.have.length(names.length * 4)
    expect(problems.every((line) => line.startsWith('error') && !/[\n\u200b]/.test(line))).to.equal(true)
  })

  it('refuses files with paths that cannot be used, and two folders of one scan label', async () => {
    const root = await folder({
      'P1/S1/MR1/1-a/NIFTI/x\\y': 'x',
      'P1/S1/MR1/1-a/NIFTI/ok': 'x',
      'P1/S1/MR1/1_b/NIFTI/a': 'x',
    })
    const { nodes, problems } = await load(root)
    expect(nodes).to.deep.equal(['P1/S1/MR1/1/NIFTI'])
    expect(problems).to.deep.equal(['error "P1/S1/MR1/1-a/NIFTI/x\\\\y"', 'error P1/S1/MR1/1_b'])
  })

  it('names files outside resources, empty resources, and mistakes in the description files', async () => {
    const root = await folder({
      'readme.txt': 'x',
      'P1/S1/MR1/1/loose.dcm': 'x',
      'P1/S1/MR1/1/NIFTI/.keep': 'x',
      'P1/S1/MR1/2/scan.json': { kind: 'T1w' },
      'P1/S1/MR1/2/NIFTI/a': 'x',
      'P1/S1/MR1/session.json': '{"date": "5.3.2024"}',
      'P1/S1/MR2/session.json': 'patient jane',
    })
    const { problems } = await load(root)
    expect(problems).to.deep.equal([
      'skipped readme.txt',
      'error P1/S1/MR1/session.json',
      'skipped P1/S1/MR1/1/loose.dcm',
      'skipped P1/S1/MR1/1/NIFTI',
      'error P1/S1/MR1/2/scan.json',
      'error P1/S1/MR2/session.json',
    ])
    const { all, onProblem } = problemList()
    for await (const _ of readTree(root, { onProblem }));
    expect(JSON.stringify(all)).not.to.include('jane')
  })

  it('refuses links that leave the folder', async () => {
    const outside = await folder({ secret: 'x' })
    const root = await folder({ 'P1/S1/MR1/1/NIFTI/a': 'x' })
    await symlink(join(outside, 'secret'), join(root, 'P1/S1/MR1/1/NIFTI/b'))
    await symlink(outside, join(root, 'P1/S1/MR2'))
    await symlink('/etc', join(root, 'P1/S1/MR1/1/DICOM'))
    await symlink('a', join(root, 'P1/S1/MR1/1/NIFTI/c'))
    const { items, problems } = await load(root)
    expect(items[0]?.files.map((file) => file.path)).to.deep.equal(['a', 'c'])
    expect(problems).to.have.members([
      'error P1/S1/MR1/1/DICOM',
      'error P1/S1/MR1/1/NIFTI/b',
      'error P1/S1/MR2',
    ])
  })

  describe('detecting the kind', () => {
    const cases: readonly [string, Record<string, Content>, string][] = [
      ['a dataset description', { 'dataset_description.json': '{}' }, 'bids'],
      ['subject folders', { 'sub-01/anat/sub-01_T1w.nii.gz': niftiGz() }, 'bids'],
      ['DICOM files', { 'x/y/z/IM1': dicom() }, 'dicom'],
      ['DICOM files among others', { 'a.txt': 'x', 'x/b': dicom() }, 'dicom'],
      ['DICOM in a tree', { 'P/S/E/1-T1w/DICOM/1.dcm': dicom() }, 'tree'],
      ['DICOM in a tree below a project', { 'S/E/1-T1w/DICOM/1.dcm': dicom() }, 'tree'],
      ['an XNAT download', { 'S/E/scans/1/resources/DICOM/files/1.dcm': dicom() }, 'tree'],
      ['a scan.json', { 'P/S/E/1/scan.json': {}, 'P/S/E/1/RAW/a': 'x' }, 'tree'],
      ['deep files', { 'P/S/E/1/RAW/a': 'x' }, 'tree'],
    ]
    for (const [what, files, kind] of cases) {
      it(`knows ${kind} by ${what}`, async () => {
        const detected = await detectImportKind(await folder(files))
        expect(detected.kind).to.equal(kind)
        expect(detected.reasons).not.to.deep.equal([])
      })
    }

    it('says what was looked for when nothing tells', async () => {
      const failure: unknown = await detectImportKind(await folder({ 'a/b.txt': 'x' })).catch(
        (e: unknown) => e,
      )
      expect(failure).to.be.instanceOf(InputError)
      expect((failure as InputError).hint).to.include('dataset_description.json')
    })
  })
})
