import { expect } from 'chai'
import { claim, type Chapter } from '../claims.js'
import type { BackendContext } from './context.js'

/** Words that a shell, a template or a scheduler would like to read something into. */
export const AWKWARD_WORDS: readonly string[] = [
  'two words',
  ' leading and trailing ',
  "it's",
  'say "hello"',
  '$(touch pwned)',
  '`touch pwned`',
  '$HOME ${PATH}',
  'a;b & c | d > e < f',
  '*.txt ?[a-z]',
  'back\\slash\\',
  '%j %A %% %x',
  '~root',
  '!history #comment',
  '{a,b} ^ () []',
  'Ünïcödé 脳 🧠',
  '--help',
  '-n',
]

/** As folder names: no leading or trailing blank is lost, none looks like an option of ours. */
const AWKWARD_FOLDERS = AWKWARD_WORDS.map((word) => `d ${word} d`)

export const awkward: Chapter<BackendContext> = {
  port: 'backend',
  title: 'B6 awkward names and paths',
  claims: [
    claim('B6.1', 'arguments reach the program as they are, whatever they hold', async (lab) => {
      const words = [...AWKWARD_WORDS, '', '-', '--']
      const { id, spec } = await lab.submit({ report: { arguments: words, variables: [] } })
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
      expect((await lab.lines(spec.stdoutPath, words.length)).slice(0, words.length)).to.deep.equal(words)
      expect(await (await lab.files()).exists(`${spec.directory}/pwned`), 'a word was run').to.equal(false)
    }),

    claim('B6.2', 'variables reach the program as they are, whatever they hold', async (lab) => {
      const variables = AWKWARD_WORDS.map((_, index) => `AWKWARD_${index}`)
      const environment = Object.fromEntries(AWKWARD_WORDS.map((word, index) => [`AWKWARD_${index}`, word]))
      const { id, spec } = await lab.submit({ report: { arguments: [], variables } }, { environment })
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
      const lines = await lab.lines(spec.stdoutPath, AWKWARD_WORDS.length + 1)
      expect(lines.slice(1, AWKWARD_WORDS.length + 1)).to.deep.equal([...AWKWARD_WORDS])
      expect(await (await lab.files()).exists(`${spec.directory}/pwned`), 'a value was run').to.equal(false)
    }),

    claim(
      'B6.3',
      'directories and output paths may hold blanks, quotes, dollars, semicolons and any script',
      async (lab) => {
        const specs = await Promise.all(
          AWKWARD_FOLDERS.map(async (name) =>
            lab.spec(
              { print: name, printError: name, report: { arguments: [], variables: [] } },
              { directory: await lab.path(name) },
            ),
          ),
        )
        const ids = await lab.submitAll(specs)
        await lab.allFinished(ids)
        for (const { directory, stdoutPath, stderrPath } of specs) {
          expect((await lab.lines(stdoutPath, 2))[1]).to.equal(directory)
          expect((await lab.lines(stderrPath, 1))[0]).to.equal(directory.split('/').at(-1))
        }
        const listed = await (await lab.files()).list(await lab.path())
        expect(listed.filter(({ path }) => path.endsWith('pwned'))).to.deep.equal([])
      },
    ),

    claim('B6.4', 'paths of more than seven hundred characters work', async (lab) => {
      const deep = Array.from({ length: 5 }, (_, index) => `${index}${'x'.repeat(149)}`)
      const directory = await lab.path(...deep)
      const { id, spec } = await lab.submit({ print: 'deep' }, { directory })
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
      expect(await lab.lines(spec.stdoutPath, 1)).to.deep.equal(['deep'])
    }),

    claim('B6.5', 'the longest name that is allowed comes through whole', async (lab) => {
      const name = `ow-${'0123456789'.repeat(6)}`.slice(0, 60 - 4) + String(Date.now()).slice(-4)
      const gate = await lab.path('gate')
      const { id } = await lab.submit({ waitFor: gate }, { name })
      expect((await lab.backend.find([name])).get(name)).to.equal(id)
      await lab.release(gate)
      expect((await lab.finished(id)).outcome).to.equal('succeeded')
    }),
  ],
}
