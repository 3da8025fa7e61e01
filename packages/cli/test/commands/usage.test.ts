import { expect } from 'chai'
import { Command } from 'commander'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createProgram } from '#src/program.js'
import { Sandbox, type CliResult } from '../helpers/cli.js'
import { memoryTerminal } from '../helpers/memory-terminal.js'

function program(): Command {
  const { terminal } = memoryTerminal()
  return createProgram({
    terminal: () => terminal,
    version: '1.2.3',
    environment: {},
    directory: '/',
    signal: new AbortController().signal,
  }).command
}

describe('help', () => {
  for (const command of program().commands) {
    it(`of ${command.name()} says what it does, and the options all commands have`, () => {
      const help = command.helpInformation()
      expect(help).to.include(`Usage: orbweaver ${command.name()}`)
      expect(command.description()).to.have.length.above(10)
      expect(command.summary().length, 'one line in the list').to.be.within(5, 70)
      expect(help).to.include('--json').and.include('--site <file>').and.include('--profile <name>')
      for (const line of help.split('\n')) expect(line.length, line).to.be.below(111)
    })
  }

  it('lists every command in a group', () => {
    const help = program().helpInformation()
    expect(help).not.to.match(/^Commands:/m)
    for (const word of [
      'init',
      'doctor',
      'check',
      'list',
      'plan',
      'explain',
      'run',
      'build',
      'launch',
      'update',
      'upload',
      'try',
      'status',
      'logs',
      'retry',
      'pause',
      'resume',
      'cancel',
      'approve',
      'verify',
      'import',
      'export',
      'demo',
      'schema',
      'completion',
      'version',
      'help',
    ]) {
      expect(help, word).to.match(new RegExp(`^ {2}${word}\\b`, 'm'))
    }
  })

  it('has the same selectors everywhere', () => {
    const words = ['--project', '--subject', '--session', '--processor', '--status', '--failed', '--since']
    for (const name of [
      'plan',
      'run',
      'build',
      'launch',
      'update',
      'upload',
      'status',
      'retry',
      'cancel',
      'approve',
      'verify',
    ]) {
      const command = program().commands.find((each) => each.name() === name)
      const options = command?.options.map(({ long }) => long)
      expect(options, name).to.include.members(words)
    }
  })
})

interface Mistake {
  readonly argv: readonly string[]
  readonly code: number
  /** Somewhere in what is said. */
  readonly says: RegExp
  /** Files to write first. */
  readonly files?: Readonly<Record<string, string>>
}

const SITE = `site: here
store: { use: folder, path: ./archive }
cluster: { use: local }
workRoot: ./work
projects:
  - { id: P1, processors: [dcm2niix] }
`

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'no command': { argv: [], code: 2, says: /Usage: orbweaver/ },
  'a command with a slip': {
    argv: ['statsu'],
    code: 2,
    says: /unknown command 'statsu'[^]*Did you mean status\?/,
  },
  'an option with a slip': {
    argv: ['plan', '--projct', 'A'],
    code: 2,
    says: /unknown option '--projct'[^]*Did you mean --project\?/,
  },
  'an option of no command': {
    argv: ['status', '--frobnicate'],
    code: 2,
    says: /unknown option '--frobnicate'/,
  },
  'too many words': { argv: ['plan', 'everything'], code: 2, says: /too many arguments/ },
  'a missing word': { argv: ['logs'], code: 2, says: /missing required argument 'label'/ },
  'a missing value': { argv: ['plan', '--project'], code: 2, says: /argument missing/ },
  'an unknown state': { argv: ['status', '--status', 'compleet'], code: 2, says: /Did you mean complete\?/ },
  'a date that does not exist': {
    argv: ['status', '--since', '2024-02-30'],
    code: 2,
    says: /This is no date/,
  },
  'a time that is none': { argv: ['status', '--since', 'yesterday'], code: 2, says: /how long ago/ },
  'a time to come': { argv: ['status', '--since', '2999-01-01'], code: 2, says: /in the future/ },
  'no number': { argv: ['plan', '-n', 'many'], code: 2, says: /whole number of at least 1/ },
  'something unknown to list': {
    argv: ['list', 'sesions'],
    code: 2,
    says: /Allowed choices are projects, subjects, sessions/,
  },
  'an unknown shell': { argv: ['completion', 'tcsh'], code: 2, says: /Allowed choices are bash, zsh, fish/ },
  'once and for ever': { argv: ['run', '--once', '--watch'], code: 2, says: /cannot be used with/ },
  'no site file': { argv: ['plan'], code: 2, says: /There is no site file[^]*orbweaver init/ },
  'a site file that is not there': {
    argv: ['check', '--site', 'nowhere.yaml'],
    code: 2,
    says: /nowhere\.yaml/,
  },
  'a site file that is a folder': { argv: ['check', '--site', '.'], code: 2, says: /error / },
  'an empty site file': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml/,
    files: { 'orbweaver.yaml': '' },
  },
  'broken YAML': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml:\d+:\d+/,
    files: { 'orbweaver.yaml': 'site: [a\nstore: }' },
  },
  'an unknown key': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml:4:1: [^]*workRot[^]*workRoot/,
    files: { 'orbweaver.yaml': SITE.replace('workRoot', 'workRot') },
  },
  'an unknown archive': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml:2:\d+: store\.use: .*foldr.*folder/,
    files: { 'orbweaver.yaml': SITE.replace('use: folder', 'use: foldr') },
  },
  'an unknown processor': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml:6:\d+: .*dcm2nii[^x].*dcm2niix/,
    files: { 'orbweaver.yaml': SITE.replace('[dcm2niix]', '[dcm2nii]') },
  },
  'an adapter file that is not there': {
    argv: ['check'],
    code: 2,
    says: /orbweaver\.yaml:3:\d+: cluster\.use: .*there is no file .*lsf\.js/,
    files: { 'orbweaver.yaml': SITE.replace('use: local', 'use: ./lsf.js') },
  },
  'an unknown profile': {
    argv: ['check', '--profile', 'laptop'],
    code: 2,
    says: /there is no profile "laptop"/,
    files: { 'orbweaver.yaml': SITE },
  },
  'an unknown project': {
    argv: ['plan', '--project', 'P2'],
    code: 1,
    says: /no project P2[^]*Did you mean P1\?/,
    files: { 'orbweaver.yaml': SITE },
  },
  'an unknown processor in a selector': {
    argv: ['plan', '--processor', 'dcm2nix'],
    code: 1,
    says: /no processor dcm2nix[^]*Did you mean dcm2niix\?/,
    files: { 'orbweaver.yaml': SITE },
  },
  'a processor file that is not there': { argv: ['check', 'nope.yaml'], code: 2, says: /nope\.yaml/ },
  'a processor file with a wrong unit': {
    argv: ['check', 'p.yaml'],
    code: 2,
    says: /p\.yaml:6:\d+: requirements\.memory/,
    files: {
      'p.yaml':
        'name: p\nversion: 1.0.0\nlevel: session\ninputs: { t1: { scan: { type: T1 }, resource: NIFTI } }\nrequirements:\n  memory: 8 XB\ncommand: [cat, "{inputs.t1}"]\noutputs: { TEXT: out.txt }\n',
    },
  },
  'a folder to import that is not there': {
    argv: ['import', 'nowhere'],
    code: 2,
    says: /There is no folder .*nowhere/,
    files: { 'orbweaver.yaml': SITE },
  },
  'a file to import': {
    argv: ['import', 'orbweaver.yaml'],
    code: 2,
    says: /is no folder/,
    files: { 'orbweaver.yaml': SITE },
  },
  'a verdict with a line break': {
    argv: ['approve', 'x', '--quality', 'a\nb'],
    code: 2,
    says: /no line breaks/,
    files: { 'orbweaver.yaml': SITE },
  },
}

describe('mistakes', function () {
  this.timeout(60_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  for (const [name, { argv, code, says, files = {} }] of Object.entries(MISTAKES)) {
    it(`${name}: exit code ${code}, and the way out`, async () => {
      for (const [path, text] of Object.entries(files)) writeFileSync(sandbox.path(path), text)
      const result = await sandbox.run(argv)
      expect(result.stdout + result.stderr).to.match(says)
      expect(result.code, result.stderr).to.equal(code)
      expect(result.stderr).not.to.match(/^ {2,}at .*:\d+:\d+\)?$/m)
      expect(result.stdout, 'stdout is for answers').to.equal('')
    })
  }

  it('have the same exit codes and words in a process of their own', async () => {
    for (const name of ['a command with a slip', 'an unknown key', 'an unknown project', 'no site file']) {
      const { argv, code, says, files = {} } = MISTAKES[name] as Mistake
      const own = new Sandbox()
      try {
        for (const [path, text] of Object.entries(files)) writeFileSync(own.path(path), text)
        const result = await own.spawn(argv)
        expect(result.code, result.stderr).to.equal(code)
        expect(result.stderr).to.match(says)
        expect(result.stdout).to.equal('')
      } finally {
        own.remove()
      }
    }
  })

  it('are one object on stdout with --json', async () => {
    const result = await sandbox.json(['plan'])
    expect(result.code).to.equal(2)
    expect(result.value.schema).to.equal('orbweaver/error/1')
    expect(result.value.error).to.include({ code: 'INPUT_INVALID', retryable: false })
  })
})

describe('the program', function () {
  this.timeout(20_000)
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  const good = (result: CliResult): string => {
    expect(result.code, result.stderr).to.equal(0)
    expect(result.stderr).to.equal('')
    return result.stdout
  }

  it('prints its version', async () => {
    expect(good(await sandbox.run(['--version']))).to.match(/^\d+\.\d+\.\d+\n$/)
    expect(good(await sandbox.run(['version']))).to.match(/^orbweaver \d[^]*@orbweaver\/core +\d[^]*node +\d/)
    const { value } = await sandbox.json(['version'])
    expect(value.schema).to.equal('orbweaver/version/1')
    expect(value.packages).to.have.keys(
      '@orbweaver/core',
      '@orbweaver/adapter-local',
      '@orbweaver/processors',
    )
  })

  it('prints help with exit code 0 when asked', async () => {
    expect(good(await sandbox.run(['--help']))).to.match(/^Usage: orbweaver/)
    expect(good(await sandbox.run(['help', 'plan']))).to.match(/^Usage: orbweaver plan/)
    expect(good(await sandbox.run(['plan', '--help']))).to.match(/^Usage: orbweaver plan/)
  })

  it('prints JSON Schemas that editors understand', async () => {
    for (const what of ['site', 'processor']) {
      const schema = JSON.parse(good(await sandbox.run(['schema', what]))) as Record<string, unknown>
      expect(schema.$schema).to.equal('http://json-schema.org/draft-07/schema#')
    }
  })

  it('completes words', async () => {
    const complete = async (...words: string[]): Promise<string[]> =>
      good(await sandbox.spawn(['complete', '--', ...words]))
        .split('\n')
        .map((line) => line.split('\t')[0] ?? '')
    expect(await complete('sta')).to.include('status')
    expect(await complete('plan', '--proj')).to.include('--project')
    expect(await complete('status', '--status', '')).to.include.members(['failed', 'complete'])
    expect(await complete('plan', '--si')).to.include('--site')
    writeFileSync(sandbox.path('orbweaver.yaml'), SITE)
    expect(await complete('plan', '--project', '')).to.include('P1')
    expect(await complete('plan', '--processor', '')).to.include('dcm2niix')
  })

  for (const shell of ['bash', 'zsh', 'fish']) {
    it(`prints a completion script for ${shell}`, async () => {
      expect(good(await sandbox.run(['completion', shell]))).to.include('orbweaver complete --')
    })
  }

  it('says so on an old Node', async () => {
    // The check itself: the file must parse and speak before anything new is loaded.
    const { readFileSync } = await import('node:fs')
    const { BIN } = await import('../helpers/cli.js')
    const text = readFileSync(BIN, 'utf8').replace('process.versions.node', "'18.20.0'")
    mkdirSync(sandbox.path('bin'))
    writeFileSync(sandbox.path('bin/old.mjs'), text)
    const { spawnSync } = await import('node:child_process')
    const result = spawnSync(process.execPath, [sandbox.path('bin/old.mjs')], { encoding: 'utf8' })
    expect(result.status).to.equal(2)
    expect(result.stderr).to.match(/needs Node\.js 20\.19 or newer/)
  })
})
