/**
 * Mistakes people make, and what the machine does to them. Each ends with the right exit code and a message that says
 * what is wrong, where, and the way out; no stack trace; and the archive is as it was.
 */

import { expect } from 'chai'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { skip } from '../support/skip.js'
import { runCli } from './support/cli.js'
import { removeFolders, scratchFolder, treeHash, write } from './support/folders.js'
import { SITE_FILE, createSite } from './support/site.js'
import type { Site } from './support/site.js'

interface Mistake {
  readonly name: string
  /** Makes the mistake in a fresh copy of a good site; returns the command line. */
  readonly make: (site: Site) => readonly string[]
  readonly code: 1 | 2 | 75
  /** What the message must hold: what, where, the way out. */
  readonly says: readonly (string | RegExp)[]
  /** What must not be in the message. */
  readonly silentOn?: string
  /** Run as a user without root's rights, who owns the copy. */
  readonly asNobody?: boolean
}

const NOBODY = 65534
const isRoot = process.getuid?.() === 0

const siteFile = (site: Site, text: string): void =>
  void write(path.join(site.folder, 'orbweaver.yaml'), text)
const inSite = (site: Site, from: string | RegExp, to: string): readonly string[] => {
  const changed = SITE_FILE.replace(from, to)
  expect(changed, 'the mistake must be in the file').not.to.equal(SITE_FILE)
  siteFile(site, changed)
  return ['run']
}
const GOOD_PROCESSOR = `name: good
version: 1.0.0
level: session
inputs:
  note: { scan: { type: NOTE }, resource: TXT }
requirements: { cpus: 1, memory: 64 MB, walltime: 5m }
command: [cp, "{inputs.note}", "{outputs}/result.txt"]
outputs:
  DATA: { path: result.txt, required: true }
`
const inProcessor = (site: Site, from: string | RegExp, to: string): readonly string[] => {
  const changed = GOOD_PROCESSOR.replace(from, to)
  expect(changed, 'the mistake must be in the file').not.to.equal(GOOD_PROCESSOR)
  write(path.join(site.folder, 'bad.yaml'), changed)
  return ['check', './bad.yaml']
}
const inModule = (site: Site, text: string): readonly string[] => {
  write(path.join(site.folder, 'bad.mjs'), text)
  return ['check', './bad.mjs']
}
/** A source with one scan whose folder names are given. */
const source = (site: Site, ...parts: readonly string[]): string => {
  const folder = path.join(site.folder, 'import-me')
  write(path.join(folder, ...parts), 'text\n')
  return folder
}
const importTree = (folder: string): readonly string[] => ['import', folder, '--as', 'tree']

/** Makes the folder a BIDS dataset, whatever else is in it. */
const importBids = (site: Site): readonly string[] => {
  const folder = path.join(site.folder, 'import-me')
  const description = { Name: 'bad', BIDSVersion: '1.8.0' }
  write(path.join(folder, 'dataset_description.json'), JSON.stringify(description))
  return ['import', folder, '--project', 'Q']
}

const SITE_MISTAKES: readonly Mistake[] = [
  {
    name: 'no site file',
    make: (site) => (fs.rmSync(path.join(site.folder, 'orbweaver.yaml')), ['run']),
    code: 2,
    says: ['orbweaver.yaml', 'orbweaver init'],
  },
  {
    name: '--site names no file',
    make: () => ['run', '--site', './nope.yaml'],
    code: 2,
    says: ['nope.yaml'],
  },
  {
    name: 'an empty site file',
    make: (site) => (siteFile(site, ''), ['run']),
    code: 2,
    says: ['orbweaver.yaml'],
  },
  {
    name: 'YAML that does not parse',
    make: (site) => inSite(site, '[{ id: P', '[{ id: P, '),
    code: 2,
    says: [/orbweaver\.yaml:\d+:\d+/],
  },
  {
    name: 'a key that stands twice',
    make: (site) => inSite(site, 'site: x', 'site: x\nsite: y'),
    code: 2,
    says: [/orbweaver\.yaml:2:1/],
  },
  {
    name: 'an unknown key',
    make: (site) => inSite(site, 'workRoot:', 'workroot:'),
    code: 2,
    says: [/orbweaver\.yaml:4:1/, 'workRoot'],
  },
  {
    name: 'a missing key',
    make: (site) => inSite(site, /workRoot.*\n/, ''),
    code: 2,
    says: ['orbweaver.yaml', 'workRoot'],
  },
  {
    name: 'a word where a number belongs',
    make: (site) => inSite(site, 'site: x', 'site: x\nlimits: { jobs: many }'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'limits.jobs', 'many'],
  },
  {
    name: 'a number out of range',
    make: (site) => inSite(site, 'site: x', 'site: x\nlimits: { jobs: 0 }'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'limits.jobs'],
  },
  {
    name: 'an unknown unit of time',
    make: (site) => inSite(site, 'site: x', 'site: x\ntiming: { poll: 5 parsecs }'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'timing.poll', 'parsecs', '2h'],
  },
  {
    name: 'a time without unit',
    make: (site) => inSite(site, 'site: x', 'site: x\ntiming: { poll: 15 }'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'timing.poll', '15s'],
  },
  {
    name: 'an unknown scheduler',
    make: (site) => inSite(site, 'use: local', 'use: lcoal'),
    code: 2,
    says: [/orbweaver\.yaml:3:\d+/, 'lcoal', 'local'],
  },
  {
    name: 'an adapter file that is not there',
    make: (site) => inSite(site, 'use: local', 'use: ./lsf.js'),
    code: 2,
    says: [/orbweaver\.yaml:3:\d+/, 'lsf.js'],
  },
  {
    name: 'an unknown option of the archive',
    make: (site) => inSite(site, 'path:', 'pth:'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'pth', 'path'],
  },
  {
    name: 'a password in the site file',
    make: (site) => inSite(site, 'path: ./archive', 'path: ./archive, password: hunter2'),
    code: 2,
    says: [/orbweaver\.yaml:2:\d+/, 'password'],
    silentOn: 'hunter2',
  },
  {
    name: 'a project that stands twice',
    make: (site) => inSite(site, 'projects: [', 'projects: [{ id: P }, '),
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, 'P'],
  },
  {
    name: 'a project label that leaves its folder',
    make: (site) => inSite(site, 'id: P', 'id: "../P"'),
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, '../P'],
  },
  {
    name: 'a processor that stands twice',
    make: (site) => inSite(site, '[./p.yaml]', '[./p.yaml, ./p.yaml]'),
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, './p.yaml', 'twice'],
  },
  {
    name: 'two files with processors of one name',
    make: (site) => {
      fs.copyFileSync(path.join(site.folder, 'p.yaml'), path.join(site.folder, 'q.yaml'))
      return inSite(site, '[./p.yaml]', '[./p.yaml, ./q.yaml]')
    },
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, 'count'],
  },
  {
    name: 'a processor file that is not there',
    make: (site) => inSite(site, './p.yaml', './nope.yaml'),
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, 'nope.yaml'],
  },
  {
    name: 'a ready processor that does not exist',
    make: (site) => inSite(site, './p.yaml', 'nifti-qua'),
    code: 2,
    says: [/orbweaver\.yaml:5:\d+/, 'nifti-qua', 'nifti-qa'],
  },
  {
    name: 'a profile that does not exist',
    make: () => ['run', '--profile', 'laptop'],
    code: 2,
    says: ['laptop'],
  },
  {
    name: 'a project that the archive does not have',
    make: (site) => inSite(site, 'id: P', 'id: NOPE'),
    code: 1,
    says: ['NOPE'],
  },
]

const PROCESSOR_MISTAKES: readonly Mistake[] = [
  {
    name: 'an unknown key',
    make: (site) => inProcessor(site, 'outputs:', 'ouputs:'),
    code: 2,
    says: [/bad\.yaml:8:1/, 'ouputs', 'outputs'],
  },
  {
    name: 'a version of two parts',
    make: (site) => inProcessor(site, '1.0.0', '"1.0"'),
    code: 2,
    says: [/bad\.yaml:2:\d+/, '1.0.0'],
  },
  {
    name: 'a name with blanks',
    make: (site) => inProcessor(site, 'name: good', 'name: My Pipeline'),
    code: 2,
    says: [/bad\.yaml:1:\d+/, 'a-z'],
  },
  {
    name: 'an unknown level',
    make: (site) => inProcessor(site, 'level: session', 'level: sesion'),
    code: 2,
    says: [/bad\.yaml:3:\d+/, 'session'],
  },
  {
    name: 'an unknown unit of memory',
    make: (site) => inProcessor(site, '64 MB', '64 MegaBits'),
    code: 2,
    says: [/bad\.yaml:6:\d+/, 'requirements.memory', '8 GiB'],
  },
  {
    name: 'a walltime with 99 minutes',
    make: (site) => inProcessor(site, '5m', '1:99:00'),
    code: 2,
    says: [/bad\.yaml:6:\d+/, 'requirements.walltime', 'HH:MM:SS'],
  },
  {
    name: 'half a processor core',
    make: (site) => inProcessor(site, 'cpus: 1', 'cpus: 0.5'),
    code: 2,
    says: [/bad\.yaml:6:\d+/, 'requirements.cpus'],
  },
  {
    name: 'an unknown placeholder',
    make: (site) => inProcessor(site, '{inputs.note}', '{input.note}'),
    code: 2,
    says: [/bad\.yaml:7:\d+/, 'inputs.note'],
  },
  {
    name: 'a placeholder for an input that is not there',
    make: (site) => inProcessor(site, '{inputs.note}', '{inputs.nota}'),
    code: 2,
    says: [/bad\.yaml:7:\d+/, 'nota', 'note'],
  },
  {
    name: 'a command as a line of shell',
    make: (site) => inProcessor(site, /command: .*/, 'command: cp a b | wc'),
    code: 2,
    says: [/bad\.yaml:7:\d+/, 'list of words', 'script'],
  },
  {
    name: 'neither command nor script',
    make: (site) => inProcessor(site, /command: .*\n/, ''),
    code: 2,
    says: ['bad.yaml', 'command', 'script'],
  },
  {
    name: 'a script that is not there',
    make: (site) => inProcessor(site, /command: .*/, 'script: ./nope.py'),
    code: 2,
    says: [/bad\.yaml:7:\d+/, 'nope.py'],
  },
  {
    name: 'an output outside the output folder',
    make: (site) => inProcessor(site, 'path: result.txt', 'path: ../../etc/passwd'),
    code: 2,
    says: [/bad\.yaml:9:\d+/, '..'],
  },
  {
    name: 'two inputs with each',
    make: (site) =>
      inProcessor(
        site,
        / {2}note: .*/,
        '  note: { scan: { type: A }, resource: TXT, each: true }\n  other: { scan: { type: B }, resource: TXT, each: true }',
      ),
    code: 2,
    says: [/bad\.yaml:\d+:\d+/, 'each'],
  },
  {
    name: 'sameScanAs an input that is not there',
    make: (site) => inProcessor(site, 'resource: TXT', 'resource: TXT, sameScanAs: mask'),
    code: 2,
    says: [/bad\.yaml:5:\d+/, 'mask'],
  },
  {
    name: 'a variable with our prefix',
    make: (site) => inProcessor(site, 'outputs:', 'environment: { ORBWEAVER_TASK: x }\noutputs:'),
    code: 2,
    says: [/bad\.yaml:8:\d+/, 'ORBWEAVER_'],
  },
  {
    name: 'a file that is no YAML but a photograph',
    make: (site) => (
      write(path.join(site.folder, 'bad.yaml'), Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70])),
      ['check', './bad.yaml']
    ),
    code: 2,
    says: ['bad.yaml'],
  },
  {
    name: 'a module that does not parse',
    make: (site) => inModule(site, 'export default {\n  name: \n'),
    code: 2,
    says: ['bad.mjs'],
  },
  {
    name: 'a module without default export',
    make: (site) => inModule(site, 'export const processor = {}\n'),
    code: 2,
    says: ['bad.mjs', 'export default'],
  },
  {
    name: 'a file of an unknown kind',
    make: (site) => (write(path.join(site.folder, 'bad.txt'), ''), ['check', './bad.txt']),
    code: 2,
    says: ['bad.txt', '.yaml'],
  },
]

const COMMAND_MISTAKES: readonly Mistake[] = [
  { name: 'an unknown command', make: () => ['rnu'], code: 2, says: ['rnu', 'run'] },
  {
    name: 'an unknown option',
    make: () => ['run', '--projct', 'P'],
    code: 2,
    says: ['--projct', '--project'],
  },
  { name: 'an unknown state', make: () => ['status', '--status', 'fialed'], code: 2, says: ['failed'] },
  { name: 'a date that is none', make: () => ['status', '--since', 'yesterday-ish'], code: 2, says: ['2d'] },
  {
    name: 'a processor the site does not have',
    make: () => ['run', '--processor', 'cuont'],
    code: 1,
    says: ['cuont', 'count'],
  },
  {
    name: 'a project the site does not have',
    make: () => ['run', '--project', 'Q'],
    code: 1,
    says: ['Q', 'P'],
  },
  { name: 'a retry of nothing in particular', make: () => ['retry'], code: 2, says: ['--failed'] },
  { name: 'a label that no task has', make: () => ['logs', 'no-such-task'], code: 1, says: ['no-such-task'] },
  { name: 'a try on nothing in particular', make: () => ['try', './p.yaml'], code: 2, says: ['--session'] },
]

const IMPORT_MISTAKES: readonly Mistake[] = [
  { name: 'a folder that is not there', make: () => importTree('./nope'), code: 2, says: ['nope'] },
  {
    name: 'a file instead of a folder',
    make: (site) => importTree(path.join(site.folder, 'p.yaml')),
    code: 2,
    says: ['p.yaml', 'folder'],
  },
  {
    name: 'a label with ;',
    make: (site) => importTree(source(site, 'Q', 'S;reboot', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['S;reboot', 'Rename'],
  },
  {
    name: 'a label with $( )',
    make: (site) => importTree(source(site, 'Q', 'S$(reboot)', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['S$(reboot)', 'Rename'],
  },
  {
    name: 'a label with a backtick',
    make: (site) => importTree(source(site, 'Q', 'S`reboot`', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['reboot', 'Rename'],
  },
  {
    name: 'a label with a newline',
    make: (site) => importTree(source(site, 'Q', 'S\nroot', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['S\\nroot', 'Rename'],
  },
  {
    name: 'a label with a leading dash',
    make: (site) => importTree(source(site, 'Q', '-rf', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['-rf', 'Rename'],
  },
  {
    name: 'a label of 250 characters',
    make: (site) => importTree(source(site, 'Q', 'S'.repeat(250), 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['longer than 200', 'Rename'],
  },
  {
    name: 'a label that reads backwards',
    make: (site) => importTree(source(site, 'Q', 'S\u202egnp.exe', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['\\u202e', 'invisible', 'Rename'],
  },
  {
    name: 'a label with an escape sequence',
    make: (site) => importTree(source(site, 'Q', 'S\u001b[31m', 'E', '1-T1', 'TXT', 'a.txt')),
    code: 1,
    says: ['\\u001b', 'Rename'],
    silentOn: '\u001b',
  },
  {
    name: 'a project called ../X',
    make: (site) => [...importTree(source(site, 'S1', 'E', '1-T1', 'TXT', 'a.txt')), '--project', '../X'],
    code: 1,
    says: ['../X'],
  },
  {
    name: 'a link that leads out of the folder',
    make: (site) => {
      const folder = path.join(site.folder, 'import-me')
      const resource = path.join(folder, 'Q', 'S', 'E', '1-T1', 'TXT')
      fs.mkdirSync(resource, { recursive: true })
      fs.symlinkSync('/etc/passwd', path.join(resource, 'a.txt'))
      return importTree(folder)
    },
    code: 1,
    says: ['a.txt', 'leads out'],
  },
  {
    name: 'a NIfTI file that is cut off',
    make: (site) => {
      const file = path.join(site.folder, 'import-me', 'sub-01', 'anat', 'sub-01_T1w.nii.gz')
      const whole = gzipSync(Buffer.alloc(100_000, 7))
      write(file, whole.subarray(0, whole.length >> 1))
      return importBids(site)
    },
    code: 1,
    says: ['sub-01_T1w.nii.gz'],
  },
  {
    name: 'a NIfTI file that is none',
    make: (site) => {
      write(path.join(site.folder, 'import-me', 'sub-01', 'anat', 'sub-01_T1w.nii'), 'not an image')
      return importBids(site)
    },
    code: 1,
    says: ['sub-01_T1w.nii'],
  },
  {
    name: 'a DICOM file that is cut off',
    make: (site) => {
      const file = path.join(site.folder, 'import-me', 'a.dcm')
      write(file, dicomHead())
      return ['import', path.join(site.folder, 'import-me'), '--as', 'dicom', '--project', 'Q']
    },
    code: 1,
    says: ['a.dcm'],
  },
  {
    name: 'a folder this user may not read',
    make: (site) => {
      const folder = source(site, 'Q', 'S', 'E', '1-T1', 'TXT', 'a.txt')
      fs.chmodSync(path.join(folder, 'Q', 'S'), 0o000)
      return importTree(folder)
    },
    code: 1,
    says: ['Q/S', 'read'],
    asNobody: true,
  },
]

const PLACE_MISTAKES: readonly Mistake[] = [
  {
    name: 'the work root is a file',
    make: (site) => (
      fs.rmSync(site.workRoot, { recursive: true, force: true }),
      write(site.workRoot, ''),
      ['run']
    ),
    code: 1,
    says: ['work'],
  },
  {
    name: 'the archive is a file',
    make: (site) => (write(path.join(site.folder, 'a-file'), ''), inSite(site, './archive', './a-file')),
    code: 1,
    says: ['a-file'],
  },
  {
    name: 'a work root this user may not write',
    make: (site) => (execFileSync('chmod', ['-R', 'a-w', site.workRoot]), ['run']),
    code: 2,
    says: ['work', /permission|may not|write/i],
    asNobody: true,
  },
  {
    name: 'an archive this user may not write',
    make: (site) => (execFileSync('chmod', ['-R', 'a-w', site.archive]), ['run']),
    code: 1,
    says: ['archive', /permission|may not|write|read-only/i],
    asNobody: true,
  },
]

/** The head of a DICOM file that promises more than there is. */
function dicomHead(): Buffer {
  const element = (group: number, number: number, type: string, value: Buffer): Buffer => {
    const head = Buffer.alloc(8)
    head.writeUInt16LE(group, 0)
    head.writeUInt16LE(number, 2)
    head.write(type, 4, 'latin1')
    head.writeUInt16LE(value.length, 6)
    return Buffer.concat([head, value])
  }
  const text = (value: string): Buffer => Buffer.from(value.length % 2 === 0 ? value : `${value}\0`, 'latin1')
  const syntax = element(0x0002, 0x0010, 'UI', text('1.2.840.10008.1.2.1'))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(syntax.length)
  const pixels = Buffer.from([0xe0, 0x7f, 0x10, 0x00, 0x4f, 0x57, 0, 0, 0, 0, 2, 0]) // 128 KiB of them, says the head
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from('DICM'),
    element(0x0002, 0x0000, 'UL', length),
    syntax,
    element(0x0010, 0x0010, 'PN', text('Doe^Jane')),
    element(0x0010, 0x0020, 'LO', text('S1')),
    element(0x0020, 0x000d, 'UI', text('1.2.3')),
    element(0x0020, 0x000e, 'UI', text('1.2.3.4')),
    pixels,
    Buffer.alloc(100),
  ])
}

describe('bad input', function () {
  this.timeout(60_000)
  let good: Site

  before(async () => {
    good = await createSite({ name: 'bad-input', sessions: 1 })
  })
  after(removeFolders)

  const copyOf = (site: Site, name: string): Site => {
    const folder = scratchFolder(name)
    fs.cpSync(site.folder, folder, { recursive: true })
    const moved = (file: string): string => path.join(folder, path.relative(site.folder, file))
    return {
      folder,
      archive: moved(site.archive),
      workRoot: moved(site.workRoot),
      counter: moved(site.counter),
    }
  }

  const tables = {
    'in the site file': SITE_MISTAKES,
    'in a processor file': PROCESSOR_MISTAKES,
    'on the command line': COMMAND_MISTAKES,
    'in what is imported': IMPORT_MISTAKES,
    'in the places things are kept': PLACE_MISTAKES,
  }
  for (const [where, mistakes] of Object.entries(tables)) {
    describe(where, () => {
      for (const mistake of mistakes) {
        it(`${mistake.name}: exit code ${mistake.code}`, async function () {
          const site = copyOf(good, 'mistake')
          const args = mistake.make(site)
          let uid: number | undefined
          if (mistake.asNobody === true && isRoot) {
            // Root may do everything; the mistake needs somebody who may not.
            execFileSync('chown', ['-R', `${NOBODY}:${NOBODY}`, site.folder])
            uid = NOBODY
            const probe = await runCli(['--version'], { cwd: site.folder, uid })
            if (probe.code !== 0) skip(this, 'another user than root cannot read this checkout')
          }
          const before = treeHash(site.archive)
          const result = await runCli(args, { cwd: site.folder, ...(uid !== undefined && { uid }) })
          const said = `${args.join(' ')}\n${result.stdout}${result.stderr}`
          expect(result.code, said).to.equal(mistake.code)
          for (const part of mistake.says) {
            if (typeof part === 'string') expect(unwrapped(result.stderr), said).to.contain(part)
            else expect(unwrapped(result.stderr), said).to.match(part)
          }
          if (mistake.silentOn !== undefined)
            expect(result.stdout + result.stderr, said).not.to.contain(mistake.silentOn)
          expect(result.stderr, said).not.to.match(/^ {4}at /m)
          expect(treeHash(site.archive), 'the archive').to.equal(before)
        })
      }
    })
  }

  it('has at least 40 of them', () => {
    expect(Object.values(tables).flat().length).to.be.at.least(40)
  })
})

/** Messages are wrapped to the width of the terminal; words may not be torn apart. */
function unwrapped(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ')
}
