import { expect } from 'chai'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { loadAdapter, ourAdapters } from '#src/adapters.js'
import { Sandbox } from './helpers/cli.js'

/** As a person elsewhere would write it, with nothing of ours but the shape. */
const LSF = `export default {
  kind: 'cluster-backend',
  name: 'lsf',
  configSchema: { parse: (value) => value },
  module() { throw new Error('not here') },
}
`

describe('adapters', () => {
  let sandbox: Sandbox
  beforeEach(() => (sandbox = new Sandbox()))
  afterEach(() => sandbox.remove())

  function write(path: string, text: string): void {
    mkdirSync(dirname(sandbox.path(path)), { recursive: true })
    writeFileSync(sandbox.path(path), text)
  }

  it('of ours are found by their word, and fit their place', async () => {
    expect((await loadAdapter('local', 'cluster-backend', '/')).name).to.equal('local')
    expect((await loadAdapter('folder', 'data-store', '/')).kind).to.equal('data-store')
    expect((await ourAdapters()).map(({ name }) => name).sort()).to.deep.equal([
      'folder',
      'local',
      'pbs',
      'slurm',
      'ssh',
      'xnat',
    ])
  })

  it('of others are files beside the site file', async () => {
    write('lsf.mjs', LSF)
    expect((await loadAdapter('./lsf.mjs', 'cluster-backend', sandbox.directory)).name).to.equal('lsf')
  })

  it('of others are packages beside the site file, also those for import only', async () => {
    write('node_modules/@mylab/lsf/package.json', '{"type":"module","exports":{".":{"import":"./main.js"}}}')
    write('node_modules/@mylab/lsf/main.js', LSF)
    write('node_modules/plain-lsf/package.json', '{"main":"index.mjs"}')
    write('node_modules/plain-lsf/index.mjs', LSF)
    write('deeper/site/x', '')
    for (const use of ['@mylab/lsf', 'plain-lsf']) {
      expect((await loadAdapter(use, 'cluster-backend', sandbox.path('deeper/site'))).name, use).to.equal(
        'lsf',
      )
    }
  })

  it('may come several in one package; the word decides', async () => {
    const two =
      LSF.replace('export default', 'const one =') + "export default [one, { ...one, name: 'uge' }]\n"
    write('both.mjs', two)
    const load = loadAdapter('./both.mjs', 'cluster-backend', sandbox.directory)
    expect(await load.catch((error: Error) => error.message)).to.match(
      /several adapters of kind cluster-backend: lsf, uge/,
    )
  })

  const bad: readonly (readonly [string, string, string, RegExp])[] = [
    ['a file that is not there', './missing.mjs', '', /there is no file .*missing\.mjs/],
    ['a package that is not there', '@mylab/missing', '', /there is no such package/],
    ['a word that is no package name', '../../etc/passwd;rm', '', /there is no file/],
    ['a module with a mistake', './x.mjs', 'export default {', /Unexpected/],
    ['a module that exports something else', './x.mjs', 'export default 7', /default export is no adapter/],
    ['a module without a default export', './x.mjs', 'export const a = 1', /default export is no adapter/],
    [
      'an adapter of another kind',
      './x.mjs',
      LSF.replace('cluster-backend', 'data-store'),
      /no cluster-backend but a data-store/,
    ],
  ]
  for (const [what, use, text, message] of bad) {
    it(`refuses ${what}`, async () => {
      if (text !== '') write('x.mjs', text)
      const error = await loadAdapter(use, 'cluster-backend', sandbox.directory).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      expect(error).to.be.an('error').with.property('message').that.matches(message)
    })
  }
})
