import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { createLocalTransport } from '@orbweaver/core'
import { shellCommand, type JobBehaviour } from '@orbweaver/conformance'

/** The programs of the claims do what their behaviours say: otherwise backends would be judged by a wrong measure. */
describe('shellCommand', () => {
  const { runner } = createLocalTransport({ killGraceMs: 100 })
  let folder = ''

  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'orbweaver-behaviour-')))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const run = (behaviour: JobBehaviour, environment: Record<string, string> = {}) =>
    runner.run({ argv: shellCommand(behaviour), directory: folder, environment, timeoutMs: 10_000 })

  it('prints, marks and ends with its exit code', async () => {
    const mark = join(folder, "a mark's file")
    for (let time = 0; time < 2; time++) {
      const ended = await run({ mark, print: '$(out) -n', printError: '`err`', exit: 7 })
      expect(ended).to.deep.equal({ exitCode: 7, stdout: '$(out) -n\n', stderr: '`err`\n' })
    }
    expect(await readFile(mark, 'utf8')).to.equal('run\nrun\n')
  })

  it('reports arguments, directory and variables', async () => {
    const { stdout } = await run(
      { report: { arguments: ['a b', '', '$X'], variables: ['X', 'UNSET'] } },
      { X: '"quoted" $HOME' },
    )
    expect(stdout).to.equal(`a b\n\n$X\n${folder}\n"quoted" $HOME\n\n`)
  })

  it('ends by a signal', async () => {
    expect(await run({ killSelf: 'SIGKILL' })).to.include({ signal: 'SIGKILL' })
    expect(await run({ killSelf: 'SIGTERM' })).to.include({ signal: 'SIGTERM' })
  })

  it('waits for a file', async () => {
    const gate = join(folder, 'the gate')
    const waiting = run({ waitFor: gate, exit: 2 })
    await writeFile(gate, '')
    expect((await waiting).exitCode).to.equal(2)
  })

  it('takes memory', async () => {
    const gate = join(folder, 'gate')
    await writeFile(gate, '')
    expect((await run({ allocateMb: 20, waitFor: gate, exit: 3 })).exitCode).to.equal(3)
  })

  it('starts a child and a grandchild, which write their ids', async () => {
    const family = join(folder, 'family')
    const controller = new AbortController()
    const running = runner.run(
      { argv: shellCommand({ grandchildren: family }), directory: folder },
      { signal: controller.signal },
    )
    running.catch(() => undefined)
    const ids = async (): Promise<readonly string[]> =>
      (await readFile(family, 'utf8').catch(() => '')).split('\n').filter(Boolean)
    while ((await ids()).length < 3) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(new Set(await ids()).size).to.equal(3)
    controller.abort()
    await running.catch(() => undefined)
  })
})
