import { expect } from 'chai'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { siteJsonSchema } from '#src/config/site-schema.js'
import { findSiteFile, loadSite } from '#src/config/site.js'
import type { SiteOptions } from '#src/config/site.js'
import { memorySchema } from '#src/domain/processor-schema.js'
import type { ProcessorDefinition } from '#src/domain/processor.js'
import { DEFAULT_RETRY } from '#src/engine/retry.js'
import { NotFoundError, formatProblem } from '#src/errors.js'
import type { AdapterDescriptor, AdapterKind } from '#src/ports/adapter.js'
import { expectProblem, marked, problemsOf } from './bad-input.js'
import { createFolder } from './folder.js'
import type { Folder } from './folder.js'

const adapter = (kind: AdapterKind, name: string, shape: z.ZodRawShape): AdapterDescriptor => ({
  kind,
  name,
  configSchema: z.strictObject(shape),
  module: () => {
    throw new Error('loading a site must not start adapters')
  },
})

const ADAPTERS = new Map(
  [
    adapter('data-store', 'folder', {
      path: z.string().min(1).meta({ description: 'Folder of the archive.' }),
      link: z.boolean().default(false),
    }),
    adapter('data-store', 'xnat', { url: z.url('must be an address such as https://xnat.example.edu') }),
    adapter('cluster-backend', 'local', { cpus: z.int().min(1).optional(), memory: memorySchema.optional() }),
    adapter('cluster-backend', 'slurm', { account: z.string().optional(), queue: z.string().optional() }),
    adapter('transport', 'ssh', { host: z.string(), port: z.int().default(22) }),
  ].map((each) => [each.name, each]),
)

const definition = (name: string, version: string, extra: object = {}): ProcessorDefinition => ({
  name,
  version,
  level: 'session',
  inputs: { a: { scan: {}, resource: 'NIFTI' } },
  outputs: { PDF: 'a.pdf' },
  command: () => [name],
  ...extra,
})

const READY = new Map<string, ProcessorDefinition>([
  [
    'fmri-qa',
    definition('fmri-qa', '1.0.0', {
      params: z.object({ fd: z.number().positive().default(0.5) }),
      programs: ['fsl'],
    }),
  ],
  [
    'dti-qa',
    definition('dti-qa', '2.1.0', { container: { image: 'docker://dti:2.1' }, programs: ['inside'] }),
  ],
  ['freesurfer', definition('freesurfer', '7.4.1', { programs: ['recon-all'] })],
])

const OPTIONS: SiteOptions = {
  importAdapter: async (use) => {
    const found = ADAPTERS.get(use)
    if (found === undefined) throw new NotFoundError(`There is no package ${use}.`)
    return found
  },
  knownAdapters: { backend: ['local', 'slurm'], store: ['folder', 'xnat'], transport: ['ssh'] },
  readyProcessors: READY,
  homeDirectory: '/home/me',
}

const MINE = `name: mine
version: 1.0.0
level: session
inputs: { a: { scan: {}, resource: NIFTI } }
params: { threshold: 0.5, mode: { default: fast, choices: [fast, good] } }
outputs: { PDF: a.pdf }
command: [mine, "{inputs.a}"]
`

const SITE = `site: imaging-core
store: { use: folder, path: ./archive }
cluster: { use: slurm, account: cci, transport: { use: ssh, host: login.example.edu } }
workRoot: /scratch/cci/orbweaver
limits: { jobs: 500 }
processors: [freesurfer]
projects:
  - { id: PROJ1, processors: [dti-qa, { use: fmri-qa, params: { fd: 2 } }, ./processors/mine.yaml] }
  - PROJ2
timing: { poll: 30s }
retry: { memory: { times: 4 } }
profiles:
  laptop:
    store: { use: folder, path: ./small }
    cluster: { use: local, memory: 8 GiB }
    workRoot: ./work
    limits: { transfers: 1 }
    retry: null
`

describe('site files', () => {
  let folder: Folder
  beforeEach(async () => {
    folder = await createFolder()
    await folder.write({ 'processors/mine.yaml': MINE, 'processors/twin.yaml': MINE, 'lone.yaml': MINE })
  })
  afterEach(() => folder.remove())

  const load = async (text: string, options: Partial<SiteOptions> = {}) =>
    loadSite(await folder.write({ 'orbweaver.yaml': text }), { ...OPTIONS, ...options })

  it('become everything an engine needs', async () => {
    const site = await load(SITE)
    expect(site).to.deep.include({
      file: join(folder.path, 'orbweaver.yaml'),
      directory: folder.path,
      name: 'imaging-core',
      profiles: ['laptop'],
      workRoot: '/scratch/cci/orbweaver',
      stateDirectory: '/home/me/.local/state/orbweaver/imaging-core',
    })
    expect(site.profile).to.equal(undefined)
    expect(site.store).to.deep.include({ use: 'folder', config: { path: './archive', link: false } })
    expect(site.cluster).to.deep.include({ use: 'slurm', config: { account: 'cci' } })
    expect(site.transport).to.deep.include({ use: 'ssh', config: { host: 'login.example.edu', port: 22 } })
    expect(site.store.descriptor.name).to.equal('folder')
    const { settings } = site
    expect(
      settings.projects.map(({ id, processors }) => [id, processors.map(({ procType }) => procType)]),
    ).to.deep.equal([
      ['PROJ1', ['freesurfer_v7', 'dti-qa_v2', 'fmri-qa_v1', 'mine_v1']],
      ['PROJ2', ['freesurfer_v7']],
    ])
    expect(settings.projects[0]?.processors[2]?.params).to.deep.equal({ fd: 2 })
    expect(settings.limits).to.deep.equal({ jobs: 500, transfers: 4 })
    expect(settings.timing).to.deep.equal({
      pollMs: 30_000,
      graceMs: 120_000,
      keepFailedMs: 14 * 86_400_000,
      fullPassMs: 86_400_000,
      outageMs: 60_000,
    })
    expect(settings.retry).to.deep.equal({
      ...DEFAULT_RETRY,
      causes: { ...DEFAULT_RETRY.causes, memory: { ...DEFAULT_RETRY.causes.memory, times: 4 } },
    })
    expect(site.summary.images).to.deep.equal(['docker://dti:2.1'])
    expect(site.summary.programs).to.deep.equal(['fsl', 'recon-all'])
    expect(site.summary.processors.find(({ name }) => name === 'freesurfer')?.projects).to.deep.equal([
      'PROJ1',
      'PROJ2',
    ])
  })

  it('take a profile over themselves', async () => {
    const site = await load(SITE, { profile: 'laptop' })
    expect(site.profile).to.equal('laptop')
    expect(site.workRoot).to.equal(join(folder.path, 'work'))
    expect(site.stateDirectory).to.equal(join(folder.path, 'work', '.orbweaver'))
    expect(site.store.config).to.deep.equal({ path: './small', link: false })
    expect(site.cluster).to.deep.include({ use: 'local', config: { memory: 8 * 1024 ** 3 } })
    expect(site.transport).to.deep.equal({ use: 'local', config: {}, descriptor: undefined })
    expect(site.settings.limits).to.deep.equal({ jobs: 500, transfers: 1 })
    expect(site.settings.retry, 'removed by null').to.deep.equal(DEFAULT_RETRY)
  })

  it('take what was said on the command line over both', async () => {
    const site = await load(SITE, {
      profile: 'laptop',
      overrides: { workRoot: '~/elsewhere', limits: { jobs: 1 } },
    })
    expect(site.workRoot).to.equal('/home/me/elsewhere')
    expect(site.settings.limits).to.deep.equal({ jobs: 1, transfers: 1 })
    const problems = await problemsOf(load(SITE, { overrides: { limits: { jobs: 0 } } }))
    expectProblem(problems, { file: 'command line', path: 'limits.jobs', message: /at least 1/ })
  })

  it('take every setting', async () => {
    const site = await load(`site: s
store: { use: folder, path: a }
cluster: { use: local }
workRoot: w/
stateDirectory: ./state
projects: [{ id: P, processors: [] }]
container: { runtime: apptainer }
keepComplete: true
timing: { poll: 2s, grace: 1m, keepFailed: 0s, fullPass: 12h, outage: 90s }
retry:
  node: { times: 0, delay: 0s }
  walltime: { factor: 2 }
  temporary: { times: 3, delay: 1h }
  temporaryExitCodes: [75, 99]
  maxMemory: 64 GiB
  maxWalltime: 7d
`)
    expect(site.workRoot).to.equal(join(folder.path, 'w'))
    expect(site.stateDirectory).to.equal(join(folder.path, 'state'))
    expect(site.settings).to.deep.include({ containerRuntime: 'apptainer', keepComplete: true })
    expect(site.settings.timing).to.deep.equal({
      pollMs: 2000,
      graceMs: 60_000,
      keepFailedMs: 0,
      fullPassMs: 43_200_000,
      outageMs: 90_000,
    })
    expect(site.settings.retry).to.deep.include({
      temporary: { times: 3, delaySeconds: 3600, factor: 1 },
      temporaryExitCodes: [75, 99],
      maxMemoryBytes: 64 * 1024 ** 3,
      maxWalltimeSeconds: 7 * 86_400,
    })
    expect(site.settings.retry.causes.node).to.deep.equal({ times: 0, delaySeconds: 0, factor: 1 })
    expect(site.settings.retry.causes.walltime).to.deep.equal({ times: 2, delaySeconds: 0, factor: 2 })
  })

  it("let a project's own entry replace that of the whole site", async () => {
    const site = await load(
      SITE.replace('[freesurfer]', '[freesurfer, fmri-qa]').replace(
        '- PROJ2',
        '- { id: PROJ2, processors: [] }',
      ),
    )
    const fds = site.settings.projects.map(
      ({ processors }) => processors.find(({ name }) => name === 'fmri-qa')?.params['fd'],
    )
    expect(fds).to.deep.equal([2, 0.5])
    expect(site.settings.projects[0]?.processors.filter(({ name }) => name === 'fmri-qa')).to.have.length(1)
  })

  it('change container, variables and requirements of a processor', async () => {
    const site = await load(
      SITE.replace(
        '[dti-qa,',
        '[{ use: dti-qa, container: "docker://dti:2.2", environment: { A: b }, requirements: { memory: 1T } },',
      ),
    )
    const processor = site.settings.projects[0]?.processors.find(({ name }) => name === 'dti-qa')
    expect(processor).to.deep.include({ container: { image: 'docker://dti:2.2' }, environment: { A: 'b' } })
    expect(processor?.requirements.memoryBytes).to.equal(1024 ** 4)
  })

  it('ask the importer with the kind and the folder of the file', async () => {
    const asked: unknown[] = []
    await load(SITE.replace('use: slurm', 'use: "@lab/lsf"').replace('account: cci', 'queue: q'), {
      importAdapter: async (use, kind, from) => {
        asked.push([use, kind, from])
        return use === '@lab/lsf'
          ? adapter('cluster-backend', 'lsf', { queue: z.string() })
          : OPTIONS.importAdapter(use, kind, from)
      },
    })
    expect(asked).to.deep.equal([
      ['folder', 'data-store', folder.path],
      ['@lab/lsf', 'cluster-backend', folder.path],
      ['ssh', 'transport', folder.path],
    ])
  })

  // Each case changes the good file; the marker says where the problem must point.
  const bad: readonly [
    what: string,
    from: string,
    to: string,
    path: string,
    message: RegExp,
    hint?: RegExp | undefined,
    profile?: string,
  ][] = [
    [
      'an unknown key',
      'limits: { jobs: 500 }',
      '➤limts: { jobs: 500 }',
      'limts',
      /not known here/,
      /"limits"/,
    ],
    ['an unknown limit', '{ jobs: 500 }', '{ ➤job: 500 }', 'limits.job', /not known/, /"jobs"/],
    [
      'a limit that is text',
      'jobs: 500',
      'jobs: ➤many',
      'limits.jobs',
      /whole number, but is the text "many"/,
    ],
    ['a limit of 0', 'jobs: 500', 'jobs: ➤0', 'limits.jobs', /at least 1, but is 0/],
    ['no site name', 'site: imaging-core\n', '', 'site', /missing/, /Name of this pairing/],
    [
      'a site name with a slash',
      'site: imaging-core',
      'site: ➤../core',
      'site',
      /no name for a site/,
      /letters/,
    ],
    ['no store', 'store: { use: folder, path: ./archive }\n', '', 'store', /missing/],
    ['a store without use', 'use: folder, ', '', 'store.use', /missing/, /folder, xnat/],
    [
      'a store as text',
      'store: { use: folder, path: ./archive }',
      'store: ➤folder',
      'store',
      /a map/,
      /\{ use: folder \}/,
    ],
    [
      'an unknown store',
      'use: folder',
      'use: ➤floder',
      'store.use',
      /no data store that is known/,
      /"folder"/,
    ],
    [
      'a store far from all',
      'use: folder',
      'use: ➤dicomweb',
      'store.use',
      /no data store that is known/,
      /folder, xnat.*package.*\.\/file\.js/,
    ],
    [
      'a cluster as store',
      'use: folder',
      'use: ➤slurm',
      'store.use',
      /is a cluster backend, not a data store/,
      /folder, xnat/,
    ],
    [
      'an unknown option of a store',
      'path: ./archive',
      '➤pth: ./archive',
      'store.pth',
      /not known/,
      /"path"/,
    ],
    [
      'a missing option of a store',
      ', path: ./archive',
      '',
      'store.path',
      /missing/,
      /Folder of the archive/,
    ],
    ['an empty option of a store', 'path: ./archive', 'path: ➤""', 'store.path', /is empty/],
    [
      'an option with the adapter’s own words',
      '{ use: folder, path: ./archive }',
      '{ use: xnat, url: ➤here }',
      'store.url',
      /must be an address/,
    ],
    [
      'an unknown cluster',
      'use: slurm',
      'use: ➤slrum',
      'cluster.use',
      /no cluster backend that is known/,
      /"slurm"/,
    ],
    [
      'an unknown transport',
      'use: ssh',
      'use: ➤shh',
      'cluster.transport.use',
      /no transport that is known/,
      /"ssh".*local/,
    ],
    [
      'a transport as text',
      'transport: { use: ssh, host: login.example.edu }',
      'transport: ➤ssh',
      'cluster.transport',
      /a map/,
      /\{ use: ssh \}/,
    ],
    [
      'an unknown option of a transport',
      'host: login',
      '➤hots: login',
      'cluster.transport.hots',
      /not known/,
      /"host"/,
    ],
    [
      'an adapter file that is not there',
      'use: slurm',
      'use: ➤./lsf.js',
      'cluster.use',
      /cannot be loaded: There is no package/,
    ],
    [
      'a password',
      'host: login.example.edu',
      'host: login.example.edu, ➤password: hunter2',
      'cluster.transport.password',
      /secret/,
      /\.netrc/,
    ],
    ['a token', 'path: ./archive', 'path: ./archive, ➤token: abc', 'store.token', /secret/],
    [
      'a password in an address',
      '{ use: folder, path: ./archive }',
      '{ use: xnat, url: ➤"https://me:hunter2@x.edu" }',
      'store.url',
      /holds a password/,
      /before the @/,
    ],
    [
      'a password in a profile that is not used',
      'path: ./small',
      'path: ./small, ➤password: x',
      'profiles.laptop.store.password',
      /secret/,
    ],
    [
      'no work root',
      'workRoot: /scratch/cci/orbweaver\n',
      '',
      'workRoot',
      /missing/,
      /Folder in which jobs run/,
    ],
    [
      'a relative work root far away',
      'workRoot: /scratch',
      'workRoot: ➤scratch',
      'workRoot',
      /absolute path/,
      /\/scratch\/lab/,
    ],
    [
      'a variable in the work root',
      'workRoot: /scratch',
      'workRoot: ➤/scratch/$USER',
      'workRoot',
      /variables are not filled in/,
    ],
    [
      'the root folder as work root',
      'workRoot: /scratch/cci/orbweaver',
      'workRoot: ➤//',
      'workRoot',
      /root folder/,
    ],
    ['a poll without unit', 'poll: 30s', 'poll: ➤15', 'timing.poll', /15 has no unit/, /15s, 15m/],
    ['a poll of no form', 'poll: 30s', 'poll: ➤often', 'timing.poll', /no duration/, /15s/],
    ['an unknown time', 'poll: 30s', '➤pol: 30s', 'timing.pol', /not known/, /"poll"/],
    [
      'an unknown cause',
      'memory: { times: 4 }',
      '➤memry: { times: 4 }',
      'retry.memry',
      /not known/,
      /"memory"/,
    ],
    [
      'a cause that does not grow',
      'memory: { times: 4 }',
      'node: { ➤factor: 2 }',
      'retry.node.factor',
      /not known/,
      /times, delay/,
    ],
    ['less than no retry', 'times: 4', 'times: ➤-1', 'retry.memory.times', /at least 0/],
    ['a shrinking factor', 'times: 4', 'factor: ➤0.5', 'retry.memory.factor', /at least 1/],
    [
      'an exit code that is none',
      'memory: { times: 4 }',
      'temporaryExitCodes: [75, ➤300]',
      'retry.temporaryExitCodes.1',
      /at most 255/,
    ],
    [
      'a bound of no unit',
      'memory: { times: 4 }',
      'maxMemory: ➤64 XB',
      'retry.maxMemory',
      /no amount of memory/,
    ],
    [
      'yes for true',
      'limits: { jobs: 500 }',
      'keepComplete: ➤yes',
      'keepComplete',
      /true or false/,
      /write true/,
    ],
    [
      'an unknown runtime',
      'limits: { jobs: 500 }',
      'container: { runtime: ➤singlarity }',
      'container.runtime',
      /words/,
      /"singularity"/,
    ],
    [
      'no projects',
      'projects:\n  - { id: PROJ1, processors: [dti-qa, { use: fmri-qa, params: { fd: 2 } }, ./processors/mine.yaml] }\n  - PROJ2',
      '➤projects: []',
      'projects',
      /empty list/,
    ],
    ['a project that is a number', '- PROJ2', '- ➤010', 'projects.1', /text or a map/, /quotes: "010"/],
    ['a project label with a substitution', '- PROJ2', '- ➤"P$(id)"', 'projects.1', /no project label/],
    ['a project label with ..', '- PROJ2', '- { id: ➤../P }', 'projects.1.id', /no project label/],
    ['a project without id', 'id: PROJ1, ', '', 'projects.0.id', /missing/],
    ['a project twice', '- PROJ2', '- ➤PROJ1', 'projects.1', /twice/, /keep one/],
    [
      'a project without processors',
      'processors: [freesurfer]\n',
      '',
      'projects.1',
      /no processors/,
      /whole file/,
    ],
    [
      'an unknown key of a project',
      'id: PROJ1, processors',
      'id: PROJ1, ➤processor',
      'projects.0.processor',
      /not known/,
      /"processors"/,
    ],
    [
      'an unknown processor',
      '[dti-qa,',
      '[➤dti-aq,',
      'projects.0.processors.0',
      /no ready processor "dti-aq"/,
      /"dti-qa".*fmri-qa/,
    ],
    [
      'a processor whose file needs ./',
      '[dti-qa,',
      '[➤lone,',
      'projects.0.processors.0',
      /no ready processor "lone"/,
      /write \.\/lone\.yaml/,
    ],
    [
      'a processor in the usual folder',
      '[dti-qa,',
      '[➤twin,',
      'projects.0.processors.0',
      /no ready processor/,
      /write \.\/processors\/twin\.yaml/,
    ],
    [
      'an unknown processor for all',
      '[freesurfer]',
      '[➤freesurfr]',
      'processors.0',
      /no ready processor/,
      /"freesurfer"/,
    ],
    [
      'a file that is not there',
      './processors/mine.yaml',
      '➤./processors/main.yaml',
      'projects.0.processors.2',
      /no such file/,
      /looked for .*main\.yaml; did you mean "mine\.yaml"/,
    ],
    [
      'a file that is not there, in the long form',
      './processors/mine.yaml',
      '{ use: ➤./no.yaml }',
      'projects.0.processors.2.use',
      /no such file/,
    ],
    [
      'a processor twice',
      '[dti-qa,',
      '[dti-qa, ➤dti-qa,',
      'projects.0.processors.1',
      /stands here twice/,
      /first at projects\.0\.processors\.0/,
    ],
    [
      'a file twice, differently written',
      './processors/mine.yaml]',
      './processors/mine.yaml, ➤processors/../processors/mine.yaml]',
      'projects.0.processors.3',
      /twice/,
    ],
    [
      'two processors with the same results',
      './processors/mine.yaml]',
      './processors/mine.yaml, ➤./processors/twin.yaml]',
      'projects.0.processors.3',
      /would both make mine_v1/,
      /another name/,
    ],
    [
      'an unknown key of an entry',
      'params: { fd: 2 }',
      '➤param: { fd: 2 }',
      'projects.0.processors.1.param',
      /not known/,
      /"params"/,
    ],
    ['an unknown parameter', 'fd: 2', '➤fdd: 2', 'projects.0.processors.1.params.fdd', /not known/, /"fd"/],
    ['a parameter of the wrong type', 'fd: 2', 'fd: ➤two', 'projects.0.processors.1.params.fd', /a number/],
    [
      'a parameter of a file',
      './processors/mine.yaml',
      '{ use: ./processors/mine.yaml, params: { mode: ➤god } }',
      'projects.0.processors.2.params.mode',
      /words/,
      /"good"/,
    ],
    [
      'requirements of no unit',
      'params: { fd: 2 }',
      'requirements: { memory: ➤8 XB }',
      'projects.0.processors.1.requirements.memory',
      /no amount/,
    ],
    [
      'a container without image',
      'params: { fd: 2 }',
      '➤container: { network: true }',
      'projects.0.processors.1.container',
      /no image/,
    ],
    [
      'an unknown key of a profile',
      '    limits: { transfers: 1 }',
      '    ➤limit: { transfers: 1 }',
      'profiles.laptop.limit',
      /not known/,
      /"limits"/,
    ],
    [
      'a value in the profile that is used',
      'transfers: 1',
      'transfers: ➤0',
      'limits.transfers',
      /at least 1/,
      undefined,
      'laptop',
    ],
    [
      'an option that the profile’s adapter lacks',
      'memory: 8 GiB',
      '➤account: x',
      'cluster.account',
      /not known/,
      /cpus/,
      'laptop',
    ],
    [
      'a profile that is no map',
      'profiles:\n  laptop:',
      'profiles:\n  laptop: ➤x\n  other:',
      'profiles.laptop',
      /map/,
      undefined,
      'laptop',
    ],
    [
      'an unknown profile',
      'profiles:',
      '➤profiles:',
      'profiles.labtop',
      /no profile "labtop"/,
      /"laptop"/,
      'labtop',
    ],
    ['a key twice', 'limits: { jobs: 500 }', 'limits: { jobs: 500 }\n➤site: other', '', /twice/],
  ]
  for (const [what, from, to, path, message, hint, profile] of bad) {
    it(`refuse ${what}`, async () => {
      const changed = SITE.replace(from, () => to)
      expect(changed, 'the case changes nothing').not.to.equal(SITE)
      const { text, at } = marked(changed)
      const problems = await problemsOf(load(text, profile === undefined ? {} : { profile }))
      const found = problems.find((each) => each.path === path)
      // Without a marker the place is that of the parent, tested elsewhere.
      const place = at ?? `${found?.line}:${found?.column}`
      expectProblem(problems, { file: 'orbweaver.yaml', at: place, path, message, ...(hint && { hint }) })
      expect(problems.map(formatProblem).join('\n')).not.to.contain('hunter2')
      // One mistake, one problem; a key that is misspelt may also be missing.
      const others = problems.filter((each) => each !== found && each.message !== 'is missing')
      expect(others.map(formatProblem)).to.deep.equal([])
    })
  }

  it('report a wrong processor file once, at its own place, together with their own problems', async () => {
    await folder.write({ 'processors/mine.yaml': MINE.replace('level: session', 'level: sesion') })
    const problems = await problemsOf(
      load(
        SITE.replace('- PROJ2', '- { id: PROJ2, processors: [./processors/mine.yaml] }').replace(
          'jobs: 500',
          'jobs: 0',
        ),
      ),
    )
    expect(problems.map(({ path }) => path)).to.have.members(['limits.jobs', 'level'])
    expectProblem(problems, {
      file: 'mine.yaml',
      at: '3:8',
      path: 'level',
      message: /"sesion"/,
      hint: /"session"/,
    })
  })

  it('refuse a file that is not there, empty, or no map', async () => {
    expectProblem(await problemsOf(loadSite(join(folder.path, 'no.yaml'), OPTIONS)), {
      file: 'no.yaml',
      path: '',
      message: /no such file/,
    })
    expectProblem(await problemsOf(load('')), { at: '1:1', path: '', message: /empty/ })
    expectProblem(await problemsOf(load('- a\n')), { at: '1:1', path: '', message: /map of keys and values/ })
  })

  it('let no package with a similar name be loaded by a slip', async () => {
    const asked: string[] = []
    await problemsOf(
      load(SITE.replace('use: slurm', 'use: slrum'), {
        importAdapter: (use, kind, from) => {
          asked.push(use)
          return OPTIONS.importAdapter(use, kind, from)
        },
      }),
    )
    expect(asked).to.deep.equal(['folder', 'ssh'])
  })

  it('are found in a folder or the nearest parent', async () => {
    const deep = join(folder.path, 'a', 'b')
    await mkdir(deep, { recursive: true })
    expect(await findSiteFile(deep)).to.equal(undefined)
    const outer = await folder.write({ 'orbweaver.yml': '' })
    expect(await findSiteFile(deep)).to.equal(outer)
    const inner = await folder.write({ 'a/orbweaver.yaml': '' })
    expect(await findSiteFile(deep)).to.equal(inner)
    expect(await findSiteFile(join(folder.path, 'a'))).to.equal(inner)
  })

  it('have a JSON Schema with a description of every key, made of those of the adapters', () => {
    interface Node {
      readonly description?: string
      readonly properties?: Record<string, Node>
      readonly anyOf?: readonly Node[]
      readonly additionalProperties?: Node | boolean
      readonly required?: readonly string[]
    }
    const schema = siteJsonSchema([...ADAPTERS.values()]) as Node
    expect(schema.required).to.have.members(['site', 'store', 'cluster', 'workRoot', 'projects'])
    const lacking: string[] = []
    const walk = (node: Node, path: string): void => {
      for (const [key, property] of Object.entries(node.properties ?? {})) {
        // The adapters of this test describe little; real ones are asked to by their own tests.
        if (property.description === undefined && !/^\.(store|cluster)\./.test(`${path}.${key}`))
          lacking.push(`${path}.${key}`)
        walk(property, `${path}.${key}`)
      }
      for (const branch of node.anyOf ?? []) walk(branch, path)
      if (typeof node.additionalProperties === 'object') walk(node.additionalProperties, `${path}.*`)
    }
    walk(schema, '')
    expect(lacking).to.deep.equal([])
    const text = JSON.stringify(schema)
    for (const name of ADAPTERS.keys()) expect(text).to.contain(`"const":"${name}"`)
  })
})
