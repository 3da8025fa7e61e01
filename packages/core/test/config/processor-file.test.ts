import { expect } from 'chai'
import { join } from 'node:path'
import { loadProcessorFile, processorJsonSchema } from '#src/config/processor-file.js'
import type { CommandContext, InputValue } from '#src/domain/processor.js'
import { resolveProcessor } from '#src/domain/resolve-processor.js'
import { expectProblem, marked, problemsOf } from './bad-input.js'
import { createFolder } from './folder.js'
import type { Folder } from './folder.js'

const GIB = 1024 ** 3

const BOLD_QC = `# one task per run
name: bold-qc
version: 1.2.0
level: session
inputs:
  bold: { scan: { type: "*BOLD*", quality: usable }, resource: NIFTI, each: true }
  t1:   { scan: { type: [T1w, MPRAGE*] }, resource: NIFTI, pick: last }
  mask: { assessor: { type: mask }, resource: MASK, optional: true }
params:
  threshold: 0.5
  mode: { type: string, choices: [fast, good], default: good, description: How well. }
  verbose: false
  regions: [1, 2]
  atlas: { type: string, optional: true }
requirements: { cpus: 4, memory: 8 GiB, walltime: 1:30:00 }
container: { image: "docker://ghcr.io/lab/boldqc:1.2.0" }
command:
  - boldqc
  - --bold
  - "{inputs.bold}"
  - [--mask, "{inputs.mask}"]
  - ["{?params.verbose}", -v]
  - [--atlas, "{params.atlas}"]
  - --threshold
  - "{params.threshold}"
  - --exactly
  - 1.10
  - --regions
  - "{params.regions}"
environment: { OMP_NUM_THREADS: 4, RATE: 1.10, FLAG: true }
outputs:
  PDF:   { path: report.pdf, required: true }
  STATS: "*.tsv"
`

describe('processor files', () => {
  let folder: Folder
  before(async () => (folder = await createFolder()))
  after(() => folder.remove())

  const load = async (text: string) => loadProcessorFile(await folder.write({ 'p.yaml': text }))

  it('are processors like any other', async () => {
    const processor = resolveProcessor(await load(BOLD_QC), { params: { verbose: true, atlas: 'aal' } })
    expect(processor).to.deep.include({
      name: 'bold-qc',
      procType: 'bold-qc_v1',
      params: { threshold: 0.5, mode: 'good', verbose: true, regions: [1, 2], atlas: 'aal' },
      requirements: { cpus: 4, gpus: 0, memoryBytes: 8 * GIB, walltimeSeconds: 5400, scratchBytes: 0 },
      container: { image: 'docker://ghcr.io/lab/boldqc:1.2.0' },
      environment: { OMP_NUM_THREADS: '4', RATE: '1.10', FLAG: 'true' },
    })
    const absent: InputValue = { path: '', paths: [], dir: '', present: false }
    const bold: InputValue = { path: '/b', paths: ['/b'], dir: '/d', present: true }
    const context = {
      inputs: { bold, t1: bold, mask: absent },
      params: processor.params,
      workspace: { root: '/w', inputs: '/w/i', outputs: '/w/o', tmp: '/w/t' },
      requirements: processor.requirements,
    } as unknown as CommandContext
    expect(processor.command(context).join(' ')).to.equal(
      'boldqc --bold /b -v --atlas aal --threshold 0.5 --exactly 1.10 --regions 1 2',
    )
  })

  it('take a container as one word', async () => {
    const definition = await load(BOLD_QC.replace(/container: .*/, 'container: docker://x'))
    expect(definition.container).to.deep.equal({ image: 'docker://x' })
  })

  it('find a script beside them', async () => {
    await folder.write({ 'spider.py': 'print(1)', 'lib/helper.py': '', 'run.pl': '' })
    const head =
      'name: a\nversion: 1.0.0\nlevel: session\ninputs: { n: { resource: N } }\noutputs: { PDF: a.pdf }\n'
    const short = await load(`${head}script: ./spider.py\nfiles: [lib/helper.py]\n`)
    const path = (name: string): string => join(folder.path, name)
    expect(short.script).to.deep.equal({ path: path('spider.py'), files: [path('lib/helper.py')] })
    expect(resolveProcessor(short).script?.interpreter).to.deep.equal(['python3'])
    const long = await load(
      `${head}script: { path: run.pl, interpreter: [perl, -w], files: [lib/helper.py] }\ncommand: [--in, "{inputs.n.dir}"]\n`,
    )
    expect(long.script).to.deep.equal({
      path: path('run.pl'),
      interpreter: ['perl', '-w'],
      files: [path('lib/helper.py')],
    })
    expect(long).to.have.property('command')
    const beside = await load(`${head}script: run.pl\ninterpreter: [perl]\n`)
    expect(beside.script).to.deep.equal({ path: path('run.pl'), interpreter: ['perl'] })
  })

  it('let a parameter without default wait for the site', async () => {
    const definition = await load(
      BOLD_QC.replace('  verbose: false\n', '  verbose: false\n  license: { type: string }\n'),
    )
    const problems = await problemsOf(Promise.resolve().then(() => resolveProcessor(definition)))
    expectProblem(problems, { path: 'params.license', message: /missing/ })
    expect(resolveProcessor(definition, { params: { license: '/l' } }).params['license']).to.equal('/l')
  })

  const params: readonly [string, string, unknown, RegExp | undefined][] = [
    ['a number', '0.5', 2, undefined],
    ['a number given as text', '0.5', 'two', /a number/],
    ['an integer', '{ type: integer, default: 1 }', 1.5, /whole number/],
    ['a minimum', '{ default: 1, minimum: 0 }', -1, /at least 0/],
    ['a maximum', '{ default: 1, maximum: 2 }', 3, /at most 2/],
    ['a pattern', '{ default: ab, pattern: "[a-z]+" }', 'ab1', /pattern/],
    ['a choice', '{ default: a, choices: [a, b] }', 'c', /words/],
    ['choices of a list', '{ default: [a], choices: [a, b] }', ['a', 'c'], /words/],
    ['a boolean', 'true', 'true', /true or false/],
    ['a list', '[a]', 'a', /a list/],
  ]
  for (const [what, declaration, value, message] of params) {
    it(`hold values of parameters to their declaration: ${what}`, async () => {
      const definition = await load(
        BOLD_QC.replace('  verbose: false\n', `  verbose: false\n  it: ${declaration}\n`),
      )
      const resolve = Promise.resolve().then(() => resolveProcessor(definition, { params: { it: value } }))
      if (message === undefined) expect((await resolve).params['it']).to.equal(value)
      else
        expectProblem(await problemsOf(resolve), {
          path: Array.isArray(value) ? 'params.it.1' : 'params.it',
          message,
        })
    })
  }

  // Each case changes one line of the good file; the marker says where the problem must point.
  const bad: readonly [
    what: string,
    from: string | RegExp,
    to: string,
    path: string,
    message: RegExp,
    hint?: RegExp,
  ][] = [
    [
      'a version that YAML takes for a number',
      'version: 1.2.0',
      'version: ➤2.0',
      'version',
      /text, but is the number 2\.0/,
      /quotes: "2\.0"/,
    ],
    [
      'a version of two parts',
      'version: 1.2.0',
      'version: ➤"2.0"',
      'version',
      /MAJOR\.MINOR\.PATCH/,
      /2\.0\.0/,
    ],
    ['a name with a capital', 'name: bold-qc', 'name: ➤Bold-QC', 'name', /no processor name/],
    ['no name', 'name: bold-qc', '➤description: x', 'name', /missing/, /Name of the processor/],
    ['an unknown level', 'level: session', 'level: ➤sesion', 'level', /"sesion" is not one/, /"session"/],
    ['an unknown key', 'level: session', 'level: session\n➤levle: x', 'levle', /not known here/, /"level"/],
    ['an unknown key of an input', 'pick: last', '➤pik: last', 'inputs.t1.pik', /not known/, /"pick"/],
    [
      'a pick of no kind',
      'pick: last',
      'pick: ➤newest',
      'inputs.t1.pick',
      /cannot stand here/,
      /first, last/,
    ],
    ['yes for true', 'each: true', 'each: ➤yes', 'inputs.bold.each', /true or false/, /write true/],
    ['each and all', 'each: true', 'each: true, all: true', 'inputs.bold', /each and all/],
    ['a second each', 'pick: last', 'each: ➤true', 'inputs.t1.each', /bold does so already/],
    ['a resource with a slash', 'resource: MASK', 'resource: ➤a/b', 'inputs.mask.resource', /no label/],
    [
      'sameScanAs nothing',
      'pick: last',
      'sameScanAs: ➤masc',
      'inputs.t1.sameScanAs',
      /no input "masc"/,
      /"mask"/,
    ],
    ['memory of no unit', 'memory: 8 GiB', 'memory: ➤8 XB', 'requirements.memory', /no amount/, /8 GiB/],
    [
      'a walltime of no form',
      'walltime: 1:30:00',
      'walltime: ➤1:90',
      'requirements.walltime',
      /no duration/,
      /HH:MM:SS/,
    ],
    ['an unknown requirement', 'cpus: 4', '➤cpu: 4', 'requirements.cpu', /not known/, /"cpus"/],
    ['no cpus', 'cpus: 4', 'cpus: ➤0', 'requirements.cpus', /at least 1/],
    [
      'a command line',
      /command:\n(?: {2}- .*\n)+/,
      'command: ➤boldqc --bold x | tee log\n',
      'command',
      /not a line for a shell/,
      /\[boldqc, --bold, x, …\].*run\.sh/,
    ],
    [
      'an unknown input in the command',
      '"{inputs.bold}"',
      '➤"{inputs.bald}"',
      'command.2',
      /no input "bald"/,
      /"bold"/,
    ],
    [
      'an unknown input in a group',
      '[--mask, "{inputs.mask}"]',
      '[--mask, ➤"{inputs.masc}"]',
      'command.3.1',
      /no input "masc"/,
      /"mask"/,
    ],
    ['an unknown placeholder', '"{inputs.bold}"', '➤"{output}"', 'command.2', /no placeholder/, /"outputs"/],
    [
      'a group that always stands',
      '[--mask, "{inputs.mask}"]',
      '➤[--mask, "{inputs.t1}"]',
      'command.3',
      /always stand/,
    ],
    ['a map in the command', '"{inputs.bold}"', '➤{ a: b }', 'command.2', /text or a list/],
    ['braces left open: a map to YAML', '"{inputs.bold}"', '➤{inputs.bold}', 'command.2', /text or a list/],
    [
      'placeholders in variables',
      'OMP_NUM_THREADS: 4',
      'OMP_NUM_THREADS: ➤"{cpus}"',
      'environment.OMP_NUM_THREADS',
      /only in command/,
      /ORBWEAVER_/,
    ],
    ['a variable of ours', 'OMP_NUM_THREADS: 4', '➤ORBWEAVER_X: 4', 'environment.ORBWEAVER_X', /ours/],
    [
      'a secret in a variable',
      'OMP_NUM_THREADS: 4',
      '➤API_TOKEN: hunter2',
      'environment.API_TOKEN',
      /secret/,
    ],
    ['an output that leaves', '"*.tsv"', '➤"../*.tsv"', 'outputs.STATS', /"\.\."/, /relative/],
    [
      'an output without path',
      '{ path: report.pdf, required: true }',
      '{ required: true }',
      'outputs.PDF.path',
      /missing/,
    ],
    ['the label of the log', 'STATS: "*.tsv"', '➤LOG: "*.tsv"', 'outputs.LOG', /kept/],
    [
      'a parameter of no type',
      '  verbose: false',
      '  verbose: { type: ➤flag }',
      'params.verbose.type',
      /"flag" is not one/,
      /boolean/,
    ],
    [
      'a default of another type',
      '  verbose: false',
      '  verbose: { type: boolean, default: ➤no }',
      'params.verbose.default',
      /true or false/,
      /write false/,
    ],
    [
      'a default out of bounds',
      '  threshold: 0.5',
      '  threshold: { default: ➤5, maximum: 1 }',
      'params.threshold.default',
      /at most 1/,
    ],
    [
      'bounds for text',
      '  mode: {',
      '  mode: { minimum: ➤1,',
      'params.mode.minimum',
      /no meaning for type string/,
    ],
    [
      'bounds that exclude all',
      '  threshold: 0.5',
      '  threshold: { default: 1, minimum: 2, maximum: ➤1 }',
      'params.threshold.maximum',
      /less than the minimum/,
    ],
    [
      'a pattern that is none',
      '  verbose: false',
      '  verbose: { default: x, pattern: ➤"[" }',
      'params.verbose.pattern',
      /no regular expression/,
    ],
    [
      'a parameter of nothing',
      '  verbose: false',
      '  ➤verbose: {}',
      'params.verbose',
      /neither type nor default/,
    ],
    [
      'a parameter name with a dot',
      '  atlas: {',
      '  ➤atlas.name: {',
      'params.atlas.name',
      /name cannot be used/,
    ],
    [
      'a script that is not there',
      'environment:',
      'script: ➤./nosuch.py\nenvironment:',
      'script',
      /no such file/,
      /relative to the processor file/,
    ],
    [
      'a script nobody can run',
      'environment:',
      'script: ➤./p.yaml\nenvironment:',
      'script',
      /nothing is known about running/,
      /interpreter/,
    ],
    [
      'files without a script',
      'environment:',
      '➤files: [a]\nenvironment:',
      'files',
      /no meaning without script/,
    ],
    [
      'an image with a blank',
      'image: "docker://ghcr.io/lab/boldqc:1.2.0"',
      'image: ➤"a b"',
      'container.image',
      /blank/,
    ],
    [
      'an unknown key of the container',
      'image: "docker',
      '➤imge: x, image: "docker',
      'container.imge',
      /not known/,
      /"image"/,
    ],
    ['a key twice', 'level: session', 'level: session\n➤level: scan', '', /twice/],
  ]
  for (const [what, from, to, path, message, hint] of bad) {
    it(`refuse ${what}`, async () => {
      const changed = BOLD_QC.replace(from, () => to)
      expect(changed, 'the case changes nothing').not.to.equal(BOLD_QC)
      const { text, at } = marked(changed)
      const problems = await problemsOf(load(text))
      // Without a marker the place is that of the parent, tested elsewhere.
      const place =
        at ??
        (({ line, column }) => `${line}:${column}`)(
          problems.find((each) => each.path === path) ?? ({} as { line: number; column: number }),
        )
      expectProblem(problems, { file: 'p.yaml', at: place, path, message, ...(hint && { hint }) })
    })
  }

  it('refuse with everything at once, in the order of the file', async () => {
    const problems = await problemsOf(
      load(
        'name: X\nversion: 2\nlevel: session\ninputs: { a: { resource: N, each: true } }\nscript: no.py\noutputs: { LOG: x }\nfoo: 1\n',
      ),
    )
    expect(problems.map(({ path }) => path)).to.deep.equal([
      'name',
      'version',
      'inputs.a.each',
      'script',
      'outputs.LOG',
      'foo',
    ])
  })

  it('refuse what is no map, has no known ending, is not there', async () => {
    expectProblem(await problemsOf(load('- a\n')), { at: '1:1', path: '', message: /map of keys and values/ })
    expectProblem(await problemsOf(loadProcessorFile('/x/p.json')), {
      path: '',
      message: /"\.json"/,
      hint: /\.yaml/,
    })
    for (const name of ['no.yaml', 'no.mjs']) {
      expectProblem(await problemsOf(loadProcessorFile(join(folder.path, name))), {
        file: name,
        path: '',
        message: /no such file/,
      })
    }
  })

  it('have a JSON Schema with a description of every key', () => {
    const schema = processorJsonSchema() as {
      properties: Record<string, { description?: string }>
      required: string[]
    }
    for (const [key, property] of Object.entries(schema.properties))
      expect(property.description, key).to.be.a('string')
    expect(schema.required).to.have.members(['name', 'version', 'level', 'inputs', 'outputs'])
    expect(Object.keys(schema.properties)).to.include.members([
      'command',
      'script',
      'files',
      'params',
      'container',
    ])
  })
})

describe('processor modules', () => {
  let folder: Folder
  before(async () => (folder = await createFolder()))
  after(() => folder.remove())

  const body = `name: 'mod', version: '1.0.0', level: 'session',
    inputs: { a: { resource: 'N' } }, outputs: { PDF: 'a.pdf' }, command: ({ inputs }) => ['x', inputs.a.path]`
  let count = 0
  const load = async (text: string, ending = 'mjs') => {
    count += 1 // a module is loaded once; every case is a module of its own
    return loadProcessorFile(await folder.write({ [`m${count}.${ending}`]: text }))
  }

  it('export an object', async () => {
    expect(resolveProcessor(await load(`export default { ${body} }`)).procType).to.equal('mod_v1')
  })
  it('export an instance or a class', async () => {
    const text = `class Mod {
      constructor() { this.name = 'mod'; this.version = '2.0.0'; this.level = 'session'; this.helper = 1
        this.inputs = { a: { resource: 'N' } }; this.outputs = { PDF: 'a.pdf' } }
      command() { return ['x', String(this.helper)] }
    }\n`
    for (const what of ['new Mod()', 'Mod']) {
      const processor = resolveProcessor(await load(`${text}export default ${what}`))
      expect(processor.procType).to.equal('mod_v2')
      expect(processor.command({} as CommandContext)).to.deep.equal(['x', '1'])
    }
  })
  it('may be TypeScript', async () => {
    const text = `interface Words { readonly first: string }\nconst words: Words = { first: 'x' }
      export default { ${body.replace(/command: .*/, 'command: (): readonly string[] => [words.first]')} }`
    const processor = resolveProcessor(await load(text, 'ts'))
    expect(processor.command({} as CommandContext)).to.deep.equal(['x'])
  })

  const bad: readonly [string, string, string, RegExp, RegExp?][] = [
    ['no default export', `export const mod = { ${body} }`, 'default', /no default export/, /it exports mod/],
    ['a function', 'export default () => 1', 'default', /is a function/, /defineProcessor/],
    ['text', 'export default "x"', '', /must be an object, but is the text "x"/],
    [
      'a class that cannot be made',
      'export default class { constructor() { throw new Error("no luck") } }',
      'default',
      /no luck/,
    ],
    ['a wrong definition', `export default { ${body}, versoin: 1 }`, 'versoin', /not known/, /"version"/],
    [
      'an import that is not there',
      'import x from "nosuchpackage"\nexport default x',
      '',
      /"nosuchpackage", which cannot be found/,
      /install it/,
    ],
  ]
  for (const [what, text, path, message, hint] of bad) {
    it(`are refused: ${what}`, async () => {
      expectProblem(await problemsOf(load(text)), { path, message, ...(hint && { hint }) })
    })
  }
  it('are refused with the line of a fault of theirs', async () => {
    const [problem] = await problemsOf(load('const a = 1\n\nthrow new Error("boom")\n'))
    expect(problem).to.deep.include({ line: 3, message: 'the module cannot be loaded: boom' })
    const [syntax] = await problemsOf(load('const a = 1\nconst b = = 2\n'))
    expect(syntax?.line).to.equal(2)
  })
})
