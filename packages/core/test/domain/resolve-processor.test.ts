import { expect } from 'chai'
import { z } from 'zod'
import {
  AssessorProcessor,
  ScanProcessor,
  SessionProcessor,
  all,
  defineProcessor,
  each,
  last,
  one,
  optional,
} from '#src/domain/processor.js'
import type {
  CommandContext,
  ProcessorContext,
  ProcessorDefinition,
  TargetView,
} from '#src/domain/processor.js'
import { resolveProcessor } from '#src/domain/resolve-processor.js'
import type { ProcessorOverrides } from '#src/domain/resolve-processor.js'
import type { TaskIdentity } from '#src/domain/task.js'
import { ConfigError } from '#src/errors.js'

const GIB = 1024 ** 3

const boldQc = defineProcessor({
  name: 'bold-qc',
  version: '1.2.0',
  level: 'session',
  params: z.object({
    fd: z.number().positive().default(0.5),
    mode: z.enum(['fast', 'good']).default('good'),
  }),
  inputs: {
    bold: each({ scan: { type: '*BOLD*', quality: 'usable' }, resource: 'NIFTI' }),
    t1: last({ scan: { type: ['T1w', 'MPRAGE*'] }, resource: ['NIFTI', 'NII'], files: '*.nii.gz' }),
    masks: optional(all({ assessor: { type: 'mask', version: '>=2.1', passed: true }, resource: 'MASK' })),
    same: { scan: {}, resource: 'DICOM', pick: 2, sameScanAs: 'masks', within: 'subject' },
    notes: { resource: 'NOTES', optional: true },
  },
  requirements: { cpus: 4, memory: '8 GiB', walltime: '2h' },
  environment: { A: '1', B: '2' },
  command: ({ inputs, params }) => ['boldqc', inputs.bold.path, String(params.fd)],
  outputs: { PDF: { path: 'report.pdf', required: true }, STATS: '*.tsv', DATA: { path: ['a/', 'b/*.nii'] } },
})

const task: TaskIdentity = {
  label: 'L',
  ref: { project: 'P' },
  procType: 'p_v1',
  target: { project: 'P' },
  inputs: [],
}
const target: TargetView = { ref: { project: 'P' }, project: { label: 'P', resources: [], assessors: [] } }

describe('resolveProcessor', () => {
  it('fills in every default', () => {
    const processor = resolveProcessor(boldQc)
    expect(processor).to.deep.include({
      name: 'bold-qc',
      version: '1.2.0',
      procType: 'bold-qc_v1',
      level: 'session',
      description: '',
      params: { fd: 0.5, mode: 'good' },
      programs: [],
      environment: { A: '1', B: '2' },
      requirements: { cpus: 4, gpus: 0, memoryBytes: 8 * GIB, walltimeSeconds: 7200, scratchBytes: 0 },
    })
    expect(processor.inputs).to.deep.equal([
      {
        name: 'bold',
        kind: 'scan',
        scan: { types: ['*BOLD*'], qualities: ['usable'] },
        resources: ['NIFTI'],
        choose: 'each',
        optional: false,
      },
      {
        name: 't1',
        kind: 'scan',
        scan: { types: ['T1w', 'MPRAGE*'] },
        resources: ['NIFTI', 'NII'],
        files: ['*.nii.gz'],
        choose: 'last',
        optional: false,
      },
      {
        name: 'masks',
        kind: 'assessor',
        assessor: { types: ['mask'], version: '>=2.1', passed: true },
        resources: ['MASK'],
        choose: 'all',
        optional: true,
      },
      {
        name: 'same',
        kind: 'scan',
        scan: { types: ['*'] },
        resources: ['DICOM'],
        choose: 2,
        optional: false,
        sameScanAs: 'masks',
        within: 'subject',
      },
      { name: 'notes', kind: 'own', resources: ['NOTES'], choose: 'one', optional: true },
    ])
    expect(processor.outputs).to.deep.equal([
      { resource: 'PDF', paths: ['report.pdf'], required: true },
      { resource: 'STATS', paths: ['*.tsv'], required: false },
      { resource: 'DATA', paths: ['a/', 'b/*.nii'], required: false },
    ])
    expect(processor.canRun(target)).to.equal(true)
    expect(processor.requirementsFor(task)).to.deep.equal(processor.requirements)
    expect(Object.isFrozen(processor)).to.equal(true)
  })

  it('takes what a site changes', () => {
    const processor = resolveProcessor(boldQc, {
      params: { fd: 2 },
      requirements: { memory: '16G' },
      environment: { B: '3', C: '4' },
      container: { image: 'docker://x', network: true },
    })
    expect(processor.params).to.deep.equal({ fd: 2, mode: 'good' })
    expect(processor.requirements).to.deep.include({ cpus: 4, memoryBytes: 16 * GIB, walltimeSeconds: 7200 })
    expect(processor.environment).to.deep.equal({ A: '1', B: '3', C: '4' })
    expect(processor.container).to.deep.equal({ image: 'docker://x', network: true })
  })

  it("keeps the rest of a processor's container when a site changes a part", () => {
    const own = { ...boldQc, container: { image: 'docker://x', binds: ['/a:/b'] } } as ProcessorDefinition
    expect(resolveProcessor(own, { container: { runtime: 'podman' } }).container).to.deep.equal({
      image: 'docker://x',
      binds: ['/a:/b'],
      runtime: 'podman',
    })
  })

  it("lets a site's requirements win over those for one task, and these over the processor's own", () => {
    const sized = {
      ...boldQc,
      requirementsFor: () => ({ memory: '32 GiB', walltime: '5h' }),
    } as ProcessorDefinition
    expect(resolveProcessor(sized).requirementsFor(task)).to.deep.include({ cpus: 4, memoryBytes: 32 * GIB })
    const site = resolveProcessor(sized, { requirements: { memory: '64 GiB' } })
    expect(site.requirementsFor(task)).to.deep.include({ memoryBytes: 64 * GIB, walltimeSeconds: 18_000 })
  })

  it('takes classes with their own state', () => {
    class Freesurfer extends SessionProcessor {
      readonly name = 'freesurfer'
      readonly version = '7.4.1'
      override readonly requirements = { cpus: 4, memory: '4096 MB', walltime: '24h' }
      readonly inputs = { t1: one({ scan: { type: ['T1*', 'MPRAGE*'] }, resource: 'NIFTI' }) }
      readonly outputs = {
        DATA: { path: 'subject/', required: true },
        STATS: { path: 'subject/stats/*.stats' },
      }
      private readonly program = 'recon-all'
      command({ inputs, workspace }: ProcessorContext<this>): readonly string[] {
        return [this.program, '-i', inputs.t1.path, '-sd', workspace.outputs]
      }
      override canRun(view: TargetView): true | string {
        return view.session === undefined ? `${this.program} needs a session` : true
      }
    }
    const processor = resolveProcessor(new Freesurfer())
    const context = {
      inputs: { t1: { path: '/t1', paths: ['/t1'], dir: '/', present: true } },
      workspace: { outputs: '/out' },
    } as unknown as CommandContext
    expect(processor.command(context)).to.deep.equal(['recon-all', '-i', '/t1', '-sd', '/out'])
    expect(processor.canRun(target)).to.equal('recon-all needs a session')
    expect(processor.requirements).to.deep.include({ cpus: 4, memoryBytes: 4 * GIB, walltimeSeconds: 86_400 })
  })

  it('makes the first scan input the target of a scan-level processor, the first assessor input that of an assessor-level one', () => {
    class Convert extends ScanProcessor {
      readonly name = 'convert'
      readonly version = '1.0.0'
      readonly inputs = {
        notes: { resource: 'NOTES', optional: true },
        dicom: { scan: {}, resource: 'DICOM' },
        ref: { scan: {}, resource: 'DICOM', pick: 'first' as const },
      }
      readonly outputs = { NIFTI: '*.nii.gz' }
      command(): readonly string[] {
        return ['convert']
      }
    }
    class Check extends AssessorProcessor {
      readonly name = 'check'
      readonly version = '1.0.0'
      readonly inputs = { result: { assessor: { type: 'x' }, resource: 'PDF' } }
      readonly outputs = { PDF: '*.pdf' }
      command(): readonly string[] {
        return ['check']
      }
    }
    expect(resolveProcessor(new Convert()).inputs.map(({ choose }) => choose)).to.deep.equal([
      'one',
      'each',
      'first',
    ])
    expect(resolveProcessor(new Check()).inputs.map(({ choose }) => choose)).to.deep.equal(['each'])
  })

  it('gives a script its interpreter, and no arguments without a command', () => {
    const members = Object.entries(boldQc).filter(([key]) => key !== 'command')
    const rest = Object.fromEntries(members) as unknown as ProcessorDefinition
    const endings: readonly [string, readonly string[]][] = [
      ['py', ['python3']],
      ['sh', ['sh']],
      ['mjs', ['node']],
      ['js', ['node']],
      ['ts', ['node']],
      ['m', ['matlab', '-batch']],
      ['R', ['Rscript']],
    ]
    for (const [ending, words] of endings) {
      const processor = resolveProcessor({
        ...rest,
        script: { path: `/s/spider.${ending}` },
      })
      expect(processor.script?.interpreter).to.deep.equal(words)
      expect(processor.command({} as CommandContext)).to.deep.equal([])
    }
    const own = { ...rest, script: { path: '/s/spider', interpreter: ['perl', '-w'], files: ['/s/lib.pm'] } }
    expect(resolveProcessor(own).script).to.deep.equal(own.script)
  })

  it('refuses what an author’s functions return when it is of no use', () => {
    const with_ = (change: object): ProcessorDefinition => ({ ...boldQc, ...change })
    const run = (words: unknown) => () =>
      resolveProcessor(with_({ command: () => words })).command({} as CommandContext)
    for (const words of ['boldqc x', undefined, [], [''], ['a', 3], ['a\0']]) {
      expect(run(words), JSON.stringify(words)).to.throw(TypeError, /bold-qc/)
    }
    expect(resolveProcessor(with_({ canRun: () => false })).canRun(target)).to.be.a('string')
    expect(() =>
      resolveProcessor(with_({ requirementsFor: () => ({ memory: 'much' }) })).requirementsFor(task),
    ).to.throw(TypeError, /memory/)
  })
})

// ---------------------------------------------------------------- bad definitions

const good = {
  name: 'good',
  version: '1.0.0',
  level: 'session',
  inputs: { a: { scan: { type: 'T1' }, resource: 'NIFTI' } },
  outputs: { PDF: 'a.pdf' },
  command: () => ['x'],
}
const inputs = (value: object): object => ({ inputs: value })
const scan = { scan: {}, resource: 'N' }
const result = { assessor: { type: 'x' }, resource: 'N' }

type Bad = readonly [what: string, change: object, path: string, message: RegExp, hint?: RegExp]

const BAD: readonly Bad[] = [
  ['no name', { name: undefined }, 'name', /missing/],
  ['a capital in the name', { name: 'Bold' }, 'name', /no processor name/, /bold-qc/],
  ['a digit first', { name: '3d' }, 'name', /no processor name/],
  ['a name that cuts labels', { name: 'a-x-b' }, 'name', /-x-/],
  ['a long name', { name: 'a'.repeat(65) }, 'name', /longer than 64/],
  ['a version of two numbers', { version: '2.0' }, 'version', /MAJOR\.MINOR\.PATCH/, /2\.0\.0/],
  ['a version with a v', { version: 'v1.2.3' }, 'version', /MAJOR/, /1\.2\.3/],
  ['a version that is a number', { version: 2 }, 'version', /text/, /quotes: "2"/],
  ['an unknown level', { level: 'sesion' }, 'level', /one of the words/, /"session"/],
  ['an unknown key', { output: {} }, 'output', /not known/, /"outputs"/],
  ['no inputs', { inputs: {} }, 'inputs', /no input/],
  ['an input without resource', inputs({ a: { scan: {} } }), 'inputs.a.resource', /missing/, /[Ll]abel/],
  ['a wildcard resource', inputs({ a: { scan: {}, resource: 'NII*' } }), 'inputs.a.resource', /character \*/],
  [
    'an unknown key of an input',
    inputs({ a: { ...scan, resorce: 'x' } }),
    'inputs.a.resorce',
    /not known/,
    /"resource"/,
  ],
  [
    'an unknown key of a selector',
    inputs({ a: { scan: { typ: 'x' }, resource: 'N' } }),
    'inputs.a.scan.typ',
    /not known/,
    /"type"/,
  ],
  ['an input name with a blank', inputs({ 'a b': scan }), 'inputs.a b', /name cannot be used/],
  [
    'two names that are one variable',
    inputs({ 'a-b': scan, A_B: scan }),
    'inputs.A_B',
    /told apart from a-b/,
  ],
  ['scan and assessor', inputs({ a: { ...scan, ...result } }), 'inputs.a', /both scan and assessor/],
  ['each and pick', inputs({ a: { ...scan, each: true, pick: 'last' } }), 'inputs.a', /each and pick/],
  ['each and all', inputs({ a: { ...scan, each: true, all: true } }), 'inputs.a', /each and all/],
  [
    'two times each',
    inputs({ a: { ...scan, each: true }, b: { ...scan, each: true } }),
    'inputs.b.each',
    /a does so already/,
  ],
  [
    'a third pick',
    inputs({ a: { ...scan, pick: 'third' } }),
    'inputs.a.pick',
    /cannot stand here/,
    /first, last/,
  ],
  ['the zeroth pick', inputs({ a: { ...scan, pick: 0 } }), 'inputs.a.pick', /at least 1/],
  ['half a pick', inputs({ a: { ...scan, pick: 1.5 } }), 'inputs.a.pick', /whole number/],
  [
    'pick of the own resource',
    inputs({ a: { resource: 'N', pick: 'first' } }),
    'inputs.a.pick',
    /no meaning/,
  ],
  [
    'sameScanAs nothing',
    inputs({ a: { ...scan, sameScanAs: 'masc' }, mask: result }),
    'inputs.a.sameScanAs',
    /no input "masc"/,
    /"mask"/,
  ],
  [
    'sameScanAs a scan',
    inputs({ a: { ...scan, sameScanAs: 'b' }, b: scan }),
    'inputs.a.sameScanAs',
    /no assessor input/,
  ],
  [
    'sameScanAs on a result',
    inputs({ a: { ...result, sameScanAs: 'b' }, b: result }),
    'inputs.a.sameScanAs',
    /only an input with scan/,
  ],
  [
    'orFrom on a result',
    inputs({ a: { ...result, orFrom: { type: 'x' } } }),
    'inputs.a.orFrom',
    /only an input with scan/,
  ],
  [
    'within something narrower',
    { level: 'subject', ...inputs({ a: { ...scan, within: 'session' } }) },
    'inputs.a.within',
    /narrower/,
  ],
  [
    'a version range that is none',
    inputs({ a: { assessor: { type: 'x', version: 'new' }, resource: 'N' } }),
    'inputs.a.assessor.version',
    /no version range/,
    />=2\.1/,
  ],
  [
    'a result of no type',
    inputs({ a: { assessor: {}, resource: 'N' } }),
    'inputs.a.assessor.type',
    /missing/,
  ],
  ['a glob that leaves', inputs({ a: { ...scan, files: '../*' } }), 'inputs.a.files', /"\.\."/],
  [
    'scan level without scan',
    { level: 'scan', ...inputs({ a: result }) },
    'inputs',
    /needs an input with "scan:"/,
  ],
  ['assessor level without assessor', { level: 'assessor' }, 'inputs', /needs an input with "assessor:"/],
  [
    'pick on the target',
    { level: 'scan', ...inputs({ a: { ...scan, pick: 'last' } }) },
    'inputs.a.pick',
    /runs on/,
  ],
  [
    'an optional target',
    { level: 'scan', ...inputs({ a: { ...scan, optional: true } }) },
    'inputs.a.optional',
    /always there/,
  ],
  [
    'each beside the target',
    { level: 'scan', ...inputs({ a: scan, b: { ...scan, each: true } }) },
    'inputs.b.each',
    /a does so already/,
  ],
  ['no outputs', { outputs: {} }, 'outputs', /no output/],
  ['an output label that is none', { outputs: { 'a/b': 'x' } }, 'outputs.a/b', /resource label/],
  ['the label of the log', { outputs: { log: 'x' } }, 'outputs.log', /kept/],
  ['labels that differ in case', { outputs: { PDF: 'x', pdf: 'y' } }, 'outputs.pdf', /letter case/],
  ['an absolute output', { outputs: { PDF: '/etc/passwd' } }, 'outputs.PDF', /absolute/],
  ['an output outside', { outputs: { PDF: { path: ['ok', '../x'] } } }, 'outputs.PDF.path.1', /"\.\."/],
  ['an output without path', { outputs: { PDF: { required: true } } }, 'outputs.PDF.path', /missing/],
  ['no command', { command: undefined }, 'command', /missing/, /script/],
  ['a command that is no function', { command: ['x'] }, 'command', /must be a function/],
  ['no cpus', { requirements: { cpus: 0 } }, 'requirements.cpus', /at least 1, but is 0/],
  [
    'memory of no unit we know',
    { requirements: { memory: '8 XB' } },
    'requirements.memory',
    /no amount of memory/,
    /8 GiB/,
  ],
  [
    'walltime of no form we know',
    { requirements: { walltime: 'long' } },
    'requirements.walltime',
    /no duration/,
    /HH:MM:SS/,
  ],
  ['an unknown requirement', { requirements: { mem: '8G' } }, 'requirements.mem', /not known/, /"memory"/],
  ['a container as text', { container: 'docker://x' }, 'container', /map/],
  ['a container without image', { container: { network: true } }, 'container.image', /missing/],
  [
    'an image that is an option',
    { container: { image: '--privileged' } },
    'container.image',
    /starts with -/,
  ],
  ['an image with a blank', { container: { image: 'a b' } }, 'container.image', /blank/],
  [
    'a runtime we do not know',
    { container: { image: 'a', runtime: 'dokcer' } },
    'container.runtime',
    /words/,
    /"docker"/,
  ],
  [
    'a relative mount',
    { container: { image: 'a', binds: ['a:b'] } },
    'container.binds.0',
    /no mount/,
    /HOST:CONTAINER/,
  ],
  [
    'a mount of three parts',
    { container: { image: 'a', binds: ['/a:/b:rw'] } },
    'container.binds.0',
    /no mount/,
  ],
  ['a script with a relative path', { script: { path: 'x.py' } }, 'script.path', /absolute/],
  ['a script nobody can run', { script: { path: '/x.zig' } }, 'script', /nothing is known/, /interpreter/],
  ['a variable with a dash', { environment: { 'A-B': 'x' } }, 'environment.A-B', /name cannot be used/],
  ['a variable of ours', { environment: { ORBWEAVER_X: 'x' } }, 'environment.ORBWEAVER_X', /ours/],
  ['a variable that is a number', { environment: { A: 4 } }, 'environment.A', /text/, /quotes: "4"/],
  ['parameters without schema', { params: { a: 1 } }, 'params', /zod schema/],
  ['programs as text', { programs: 'fsl' }, 'programs', /list/, /\[fsl\]/],
]

function problemsOf(definition: unknown, overrides?: ProcessorOverrides) {
  try {
    resolveProcessor(definition as ProcessorDefinition, overrides)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

describe('resolveProcessor refuses', () => {
  it('nothing in the definition that the cases below start from', () => {
    expect(problemsOf(good)).to.deep.equal([])
  })
  for (const [what, change, path, message, hint] of BAD) {
    it(what, () => {
      const problems = problemsOf(
        Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, value]) => value !== undefined)),
      )
      expect(problems.map((problem) => problem.path)).to.include(path)
      const problem = problems.find((each) => each.path === path && message.test(each.message))
      expect(problem, JSON.stringify(problems)).to.not.equal(undefined)
      if (hint !== undefined) expect(problem?.hint).to.match(hint)
      expect(problems, JSON.stringify(problems)).to.have.length(1)
    })
  }

  it('what is no object at all', () => {
    for (const nothing of [null, 'x', 3, [], undefined]) {
      expect(problemsOf(nothing)).to.have.length(1)
    }
  })

  it('with all problems at once, under the name of the processor', () => {
    const problems = problemsOf({
      ...good,
      version: '1',
      level: 'x',
      inputs: { a: { scan: { typ: 1 }, resource: 'N' }, b: { resource: 'N', each: true } },
      outputs: { LOG: 'x' },
    })
    expect(problems.map(({ path }) => path)).to.have.members([
      'version',
      'level',
      'inputs.a.scan.typ',
      'inputs.b.each',
      'outputs.LOG',
    ])
    expect(new Set(problems.map(({ file }) => file))).to.deep.equal(new Set(['processor good']))
  })

  const overrides: readonly [string, ProcessorOverrides, string, RegExp, RegExp?][] = [
    ['an unknown parameter', { params: { fdd: 1 } }, 'params.fdd', /not known/, /"fd"/],
    ['a parameter of the wrong type', { params: { fd: 'x' } }, 'params.fd', /a number/],
    ['a parameter out of bounds', { params: { fd: -1 } }, 'params.fd', /more than 0/],
    ['a parameter of no choice', { params: { mode: 'god' } }, 'params.mode', /words/, /"good"/],
    ['requirements that are wrong', { requirements: { memory: 'x' } }, 'requirements.memory', /no amount/],
    ['a container without image', { container: { network: true } }, 'container', /no image/, /image:/],
    ['a variable of ours', { environment: { ORBWEAVER_A: '' } }, 'environment.ORBWEAVER_A', /ours/],
  ]
  for (const [what, change, path, message, hint] of overrides) {
    it(`${what} from a site`, () => {
      const [problem, ...others] = problemsOf(boldQc, change)
      expect(problem?.path).to.equal(path)
      expect(problem?.message).to.match(message)
      if (hint !== undefined) expect(problem?.hint).to.match(hint)
      expect(others).to.deep.equal([])
    })
  }
  it('parameters for a processor that has none', () => {
    expect(problemsOf(good, { params: { a: 1 } })[0]?.hint).to.match(/has no parameters/)
  })
})
