import { chmod, mkdir, symlink, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { InputError, labelProblem } from '@orbweaver/core'
import { readDicom, type ReadDicomOptions } from '#src/import/dicom.js'
import { readDicomHeader } from '#src/import/dicom-header.js'
import { labelFromText, originalText } from '#src/import/label-map.js'
import {
  STRUCTURED_REPORT,
  asOrdinaryUser,
  dicom,
  makeFolder,
  problemList,
  put,
  removeFolder,
  type Content,
  type DicomFields,
} from './sources.js'
import { skipTest } from '@orbweaver/core/testing'

describe('dicom import', () => {
  const folders: string[] = []
  async function folder(files: Record<string, Content>): Promise<string> {
    const root = await makeFolder(files)
    folders.push(root)
    return root
  }
  afterEach(async () => {
    for (const root of folders.splice(0)) await removeFolder(root)
  })

  async function load(root: string, options: ReadDicomOptions = { project: 'P1' }) {
    const { all, onProblem } = problemList()
    const items = []
    for await (const item of readDicom(root, { ...options, onProblem })) items.push(item)
    return {
      items,
      problems: all,
      errors: all.filter((problem) => problem.kind === 'error'),
      labels: items.map((item) => `${item.subject}/${item.session}/${item.scan?.label}:${item.resource}`),
    }
  }
  async function loadOne(fields: DicomFields, options?: ReadDicomOptions) {
    return await load(await folder({ a: dicom(fields) }), options)
  }

  it('groups files by study and series, whatever their names and folders', async () => {
    const root = await folder({
      'x/y/IM0001': dicom({ number: 2 }),
      'x/IM0002': dicom({ number: 1 }),
      'other/scan.ima': dicom({ series: '1.2.3.2', seriesNumber: '4', description: 'BOLD rest', number: 7 }),
      'second/1': dicom({ study: '1.9', series: '1.9.1', date: '20240401', time: '0830' }),
      DICOMDIR: 'broken',
      'x/INDEX': dicom({ sopClass: '1.2.840.10008.1.3.10' }),
    })
    const { items, labels, problems } = await load(root)
    expect(problems).to.deep.equal([])
    expect(labels).to.deep.equal([
      'SUBJ01/20240305_1015/3:DICOM',
      'SUBJ01/20240305_1015/4:DICOM',
      'SUBJ01/20240401_0830/3:DICOM',
    ])
    expect(items[0]).to.deep.equal({
      project: 'P1',
      subject: 'SUBJ01',
      session: '20240305_1015',
      modality: 'MR',
      date: '2024-03-05',
      scan: { label: '3', type: 'T1 MPRAGE' },
      resource: 'DICOM',
      files: [
        { path: '000001.dcm', source: join(root, 'x/IM0002') },
        { path: '000002.dcm', source: join(root, 'x/y/IM0001') },
      ],
    })
    expect(items[1]?.scan?.type).to.equal('BOLD rest')
  })

  it('follows the rule in the comments, and the option over it', async () => {
    const comments = 'Project:LAB7 Subject:S9; Session:S9_MR1'
    const { items } = await loadOne({ comments }, {})
    expect([items[0]?.project, items[0]?.subject, items[0]?.session]).to.deep.equal(['LAB7', 'S9', 'S9_MR1'])
    expect((await loadOne({ comments }, { project: 'P1' })).items[0]?.project).to.equal('P1')
  })

  it('asks for a project when nothing says it', async () => {
    const { items, errors } = await loadOne({}, {})
    expect(items).to.deep.equal([])
    expect(errors[0]?.hint).to.include('--project')
  })

  it('makes labels by rules, and refuses a rule with an unknown keyword', async () => {
    const map = { subject: '{PatientName}', session: '{StudyDate}-{Modality}' }
    expect((await loadOne({ patientName: 'X1' }, { project: 'P', map })).labels).to.deep.equal([
      'X1/20240305-MR/3:DICOM',
    ])
    // An empty keyword falls back.
    expect((await loadOne({}, { project: 'P', map })).labels).to.deep.equal(['SUBJ01/20240305-MR/3:DICOM'])
    const failure: unknown = await loadOne({}, { project: 'P', map: { subject: '{Shoesize}' } }).catch(
      (error: unknown) => error,
    )
    expect(failure).to.be.instanceOf(InputError)
    expect((failure as InputError).hint).to.include('PatientID')
  })

  it('falls back from the patient id to the name, and refuses when there is neither', async () => {
    expect((await loadOne({ patientId: '', patientName: 'DOE^J' })).labels).to.deep.equal([
      'DOE^J/20240305_1015/3:DICOM',
    ])
    const { items, errors } = await loadOne({ patientId: '' })
    expect(items).to.deep.equal([])
    expect(errors).to.have.length(1)
  })

  it('cleans labels reversibly and says so', async () => {
    const { items, problems } = await loadOne({ patientId: '../a;$(x)' })
    const subject = items[0]?.subject ?? ''
    expect(subject).to.equal('%2E.%2Fa%3B%24(x)')
    expect(originalText(subject)).to.equal('../a;$(x)')
    expect(problems.map((problem) => problem.kind)).to.deep.equal(['note'])
  })

  it('gives different labels to different texts, all of them usable, and gives the text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }), (text) => {
        const label = labelFromText(text)
        // Half of a surrogate pair has no bytes of its own: such a text is not one.
        fc.pre(Buffer.from(text).toString() === text)
        expect(label).not.to.equal(undefined)
        expect(labelProblem(label ?? '')).to.equal(undefined)
        expect(originalText(label ?? '')).to.equal(text)
      }),
    )
    for (const text of ['a', '-a', '.', '..', ' a ', 'a b', '%41', 'Zoë', '\u200b', 'a\nb', 'a\u0000']) {
      expect(originalText(labelFromText(text) ?? ''), JSON.stringify(text)).to.equal(text)
    }
    expect(labelFromText('')).to.equal(undefined)
    expect(labelFromText('x'.repeat(300))).to.equal(undefined)
  })

  it('decodes names by their character set', async () => {
    const { labels } = await loadOne({ patientId: 'Zoë', characterSet: 'ISO_IR 192' })
    expect(labels).to.deep.equal(['Zoë/20240305_1015/3:DICOM'])
  })

  it('keeps series of one number apart', async () => {
    const root = await folder({
      a: dicom({ series: '1.5.1', time: '101502' }),
      b: dicom({ series: '1.5.2', modality: 'CT' }),
      c: dicom({ series: '1.5.3' }),
      d: dicom({ series: '1.5.4', seriesNumber: '' }),
    })
    const { labels } = await load(root)
    expect(labels.slice(0, 3).map((label) => label.split('/')[2])).to.deep.equal([
      '3:DICOM',
      '3-CT2:DICOM',
      '3-MR2:DICOM',
    ])
    expect(labels[3]).to.match(/series_[0-9a-f]{8}:DICOM$/)
  })

  it('keeps studies of one label apart, the earlier one first', async () => {
    const root = await folder({
      a: dicom({ study: '1.7', series: '1.7.1', time: '101530' }),
      b: dicom({ study: '1.8', series: '1.8.1', time: '101501' }),
    })
    const { labels, items } = await load(root)
    expect(labels[0]).to.equal('SUBJ01/20240305_1015/3:DICOM')
    expect(labels[1]).to.match(/^SUBJ01\/20240305_1015-[0-9a-f]{4}\/3:DICOM$/)
    expect(items[0]?.files[0]?.source).to.match(/b$/)
  })

  it('refuses a study that two subjects share', async () => {
    const root = await folder({ a: dicom({ number: 1 }), b: dicom({ number: 2, patientId: 'OTHER' }) })
    const { items, errors } = await load(root)
    expect(items).to.deep.equal([])
    expect(errors.map((problem) => problem.path)).to.deep.equal(['b'])
  })

  it('puts reports and other objects without pixels into a resource of their own', async () => {
    const root = await folder({
      a: dicom({}),
      sr: dicom({
        series: '1.2.3.9',
        seriesNumber: '99',
        modality: 'SR',
        sopClass: STRUCTURED_REPORT,
        pixels: 0,
      }),
    })
    const { labels, items } = await load(root)
    expect(labels).to.deep.equal(['SUBJ01/20240305_1015/3:DICOM', 'SUBJ01/20240305_1015/99:secondary'])
    expect(items[1]?.modality).to.equal('MR')
  })

  it('keeps instances of one number apart, and imports copies once', async () => {
    const root = await folder({
      a: dicom({ number: 1, instance: '1.4.1' }),
      b: dicom({ number: 1, instance: '1.4.2' }),
      'copy/a': dicom({ number: 1, instance: '1.4.1' }),
      c: dicom({ number: 2, instance: '1.4.3' }),
      d: dicom({ number: 2, instance: '1.4.3', pixels: 64 }),
    })
    const { items, problems } = await load(root)
    expect(items[0]?.files.map((file) => file.path)).to.satisfy((names: string[]) => {
      expect(names).to.have.length(3)
      expect(names[0]).to.match(/^000001-[0-9a-f]{12}\.dcm$/)
      expect(names[1]).to.match(/^000001-[0-9a-f]{12}\.dcm$/)
      expect(names[2]).to.equal('000002.dcm')
      return new Set(names).size === 3
    })
    expect(problems.map((problem) => `${problem.kind} ${problem.path}`)).to.deep.equal([
      'skipped copy/a',
      'error d',
    ])
  })

  it('counts other files, names the first twenty, and refuses a folder with no DICOM at all', async () => {
    const others = Object.fromEntries(
      Array.from({ length: 30 }, (_, i) => [`notes/${String(i).padStart(2, '0')}.txt`, 'x'.repeat(i)]),
    )
    const { problems, items } = await load(await folder({ ...others, z: dicom() }))
    expect(items).to.have.length(1)
    expect(problems).to.have.length(21)
    expect(problems[0]?.path).to.equal('notes/00.txt')
    expect(problems[20]?.reason).to.include('10 more')
    const failure: unknown = await load(await folder(others)).catch((error: unknown) => error)
    expect(failure).to.be.instanceOf(InputError)
    expect((failure as InputError).message).to.include('30 files')
  })

  describe('damage', () => {
    it('names a file that is cut short with both byte counts, refuses it, and marks its scan', async () => {
      const root = await folder({ a: dicom({ number: 1 }), b: dicom({ number: 2, pixels: 4096 }) })
      const whole = dicom({ number: 2, pixels: 4096 }).length
      await truncate(join(root, 'b'), whole - 1000)
      const { items, errors } = await load(root)
      expect(errors.map((problem) => problem.path)).to.deep.equal(['b'])
      expect(errors[0]?.reason)
        .to.include(String(whole - 1000))
        .and.to.include(String(whole))
      expect(items[0]?.files.map((file) => file.path)).to.deep.equal(['000001.dcm'])
      expect(items[0]?.scan?.quality).to.equal('unusable')
    })

    it('notices a cut at every single byte', async () => {
      const root = await folder({})
      const path = join(root, 'x')
      for (const bytes of [dicom(), dicom({ fragments: [10, 20] })]) {
        for (let length = bytes.length - 1; length >= 132; length -= 7) {
          await put(root, 'x', bytes.subarray(0, length))
          const reading = await readDicomHeader(path)
          expect(reading.kind, `${length} of ${bytes.length} bytes`).to.equal('damaged')
        }
        await put(root, 'x', bytes)
        expect((await readDicomHeader(path)).kind).to.equal('header')
      }
    })

    it('survives any bytes', async () => {
      const root = await folder({})
      const whole = dicom()
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 })), { maxLength: 8 }),
          async (changes) => {
            const bytes = Buffer.from(whole)
            for (const [at, value] of changes) bytes[at] = value
            await put(root, 'x', bytes)
            expect((await readDicomHeader(join(root, 'x'))).kind).to.be.oneOf([
              'header',
              'damaged',
              'foreign',
              'index',
            ])
          },
        ),
        { numRuns: 300 },
      )
    })

    it('refuses a file without the UIDs that place it', async () => {
      const { items, errors } = await load(
        await folder({ a: dicom({ series: '', instance: '1.2' }), b: dicom() }),
      )
      expect(items).to.have.length(1)
      expect(errors[0]?.reason).to.include('SeriesInstanceUID')
    })
  })

  it('reads headers that are larger than the first read', async () => {
    for (const padding of [60_000, 200_000, 3_000_000]) {
      const { items, errors } = await loadOne({ padding })
      expect(errors).to.deep.equal([])
      expect(items, String(padding)).to.have.length(1)
    }
  })

  it('reads files from before the preamble', async () => {
    const bytes = dicom()
    const start = bytes.indexOf(Buffer.from([0x08, 0x00, 0x16, 0x00]))
    const { labels } = await load(await folder({ a: bytes.subarray(start) }))
    expect(labels).to.deep.equal(['SUBJ01/20240305_1015/3:DICOM'])
  })

  it('does not follow links out of the folder or in circles', async () => {
    const outside = await folder({ x: dicom({ number: 9 }) })
    const root = await folder({ 'in/a': dicom() })
    await symlink(join(outside, 'x'), join(root, 'out'))
    await symlink('..', join(root, 'in/loop'))
    await symlink('self', join(root, 'self'))
    const { items, problems } = await load(root)
    expect(items[0]?.files).to.have.length(1)
    expect(problems.map((problem) => `${problem.kind} ${problem.path}`)).to.have.members([
      'skipped in/loop',
      'error out',
      'error self',
    ])
  })

  it('names folders and files that may not be read', async function () {
    if (process.platform === 'win32') skipTest(this, 'Windows has no such modes')
    const root = await folder({
      'good/a': dicom(),
      'bad/b': dicom({ number: 2 }),
      'good/c': dicom({ number: 3 }),
    })
    await mkdir(join(root, 'empty'))
    await chmod(join(root, 'bad'), 0o000)
    await chmod(join(root, 'good/c'), 0o000)
    const { errors, items } = await asOrdinaryUser(root, async () => await load(root))
    await chmod(join(root, 'bad'), 0o700)
    expect(errors.map((problem) => problem.path)).to.deep.equal(['bad', 'good/c'])
    expect(errors[0]?.reason).to.include('may not read')
    expect(items[0]?.files).to.have.length(1)
  })

  it('holds nothing but paths of 5 000 files', async function () {
    this.timeout(60_000)
    const root = await folder({})
    // 64 KiB of pixels each: 330 MB if the files were kept.
    const one = async (i: number): Promise<void> => {
      const series = 1 + Math.floor(i / 500)
      // Sparse: the pixel data of these files takes no room on the disk.
      const small = dicom({
        series: `1.2.3.${series}`,
        seriesNumber: String(series),
        number: 1 + (i % 500),
        pixels: 16,
      })
      small.writeUInt32LE(65_536, small.length - 20)
      const path = `f${i % 50}/${i}`
      await put(root, path, small)
      await truncate(join(root, path), small.length - 16 + 65_536)
    }
    for (let i = 0; i < 5000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => one(i + k)))
    globalThis.gc?.()
    const before = process.memoryUsage()
    let peak = 0
    const { items } = await load(root, {
      project: 'P1',
      onFile: (count) => {
        if (count % 100 === 0) {
          const { heapUsed, external } = process.memoryUsage()
          peak = Math.max(peak, heapUsed + external - before.heapUsed - before.external)
        }
      },
    })
    expect(items).to.have.length(10)
    expect(items.every((item) => item.files.length === 500)).to.equal(true)
    expect(peak).to.be.lessThan(150 * 1024 * 1024)
  })

  it('stops when aborted', async () => {
    const root = await folder({ a: dicom() })
    const reason = new Error('enough')
    const failure: unknown = await load(root, { project: 'P', signal: AbortSignal.abort(reason) }).catch(
      (error: unknown) => error,
    )
    expect(failure).to.equal(reason)
  })
})
