/** The scripts that qsub is given, run by the shells that nodes have as /bin/sh. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { DEFAULT_REQUIREMENTS, type JobSpec } from '@orbweaver/core'
import { arrayScript, arrayTable, jobScript } from '#src/script.js'
import { spec } from './specs.js'

const SHELLS: readonly (readonly [string, ...string[]])[] = [
  ['/bin/sh'],
  ['dash'],
  ['bash', '--posix'],
  ['busybox', 'sh'],
]

describe('adapter-pbs: scripts', () => {
  let folder: string
  const started: ChildProcess[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'orbweaver-pbs-script-'))
  })
  afterEach(async () => {
    for (const child of started.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const end = once(child, 'exit')
      process.kill(-(child.pid ?? 0), 'SIGKILL')
      await end
    }
    rmSync(folder, { recursive: true, force: true })
  })
  const job = (more: Partial<JobSpec> = {}): JobSpec =>
    spec('a', {
      directory: folder,
      stdoutPath: join(folder, 'out.txt'),
      stderrPath: join(folder, 'err.txt'),
      ...more,
    })
  const scriptOf = (text: string): string => {
    const path = join(folder, 'job.SC')
    writeFileSync(path, text)
    return path
  }
  const environment = { SITE: 'it’s $HOME' }

  for (const [shell, ...words] of SHELLS) {
    if (spawnSync(shell, [...words, '-c', 'true']).status !== 0) continue
    describe(`under ${[shell, ...words].join(' ')}`, () => {
      const run = (text: string, env: Readonly<Record<string, string>> = {}) =>
        spawnSync(shell, [...words, scriptOf(text)], { env: { PATH: '/usr/bin:/bin', ...env } }).status

      it('become the command, in its folder and with a clean environment', () => {
        const command = ['/bin/sh', '-c', 'pwd; echo "$SITE|$SECRET|$PBS_JOBID"; exit 3']
        const text = jobScript(job({ command }), { environment })
        expect(run(text, { SECRET: 'x', PBS_JOBID: '7.pbs01' })).to.equal(3)
        expect(readFileSync(join(folder, 'out.txt'), 'utf8')).to.equal(`${folder}\nit’s $HOME||7.pbs01\n`)
      })

      it('end with 75, to be tried again, where the node does not see the folder of the job', () => {
        const gone = job({ stdoutPath: '/nonexistent/out.txt', stderrPath: '/nonexistent/err.txt' })
        expect(run(jobScript(gone, { environment }))).to.equal(75)
        expect(run(jobScript(job({ directory: '/nonexistent' }), { environment }))).to.equal(75)
        expect(run(arrayScript('/nonexistent/table.sh'), { PBS_ARRAY_INDEX: '0' })).to.equal(75)
      })

      it('of an array run its element only', () => {
        const table = join(folder, 'table.sh')
        const specs = [4, 5].map((code) => job({ command: ['/bin/sh', '-c', `exit ${code}`] }))
        writeFileSync(table, arrayTable(specs, { environment }))
        expect(run(arrayScript(table), { PBS_ARRAY_INDEX: '1' })).to.equal(5)
        expect(run(arrayScript(table), { PBS_ARRAYID: '0' })).to.equal(4)
        expect(run(arrayScript(table), { PBS_ARRAY_INDEX: '2' })).to.equal(75)
      })

      it('warn the command itself, ahead of its end', async () => {
        // Its sleep waits for us, and tells how long it was asked to.
        const bin = join(folder, 'bin')
        mkdirSync(bin)
        writeFileSync(
          join(bin, 'sleep'),
          '#!/bin/sh\necho "$1" >>slept\nuntil [ -e go ]; do /bin/sleep 0.05; done\n',
        )
        chmodSync(join(bin, 'sleep'), 0o755)
        const program =
          'trap "echo warned; exit 7" USR1; echo $$ >ready; until [ -e over ]; do /bin/sleep 0.05; done; exit 9'
        const warned = job({
          command: ['/bin/sh', '-c', program],
          requirements: { ...DEFAULT_REQUIREMENTS, walltimeSeconds: 600 },
          warnSeconds: 60,
        })
        const first = spawn(shell, [...words, scriptOf(jobScript(warned, { environment, warn: 5 }))], {
          env: { PATH: `${bin}:/usr/bin:/bin` },
          cwd: folder,
          detached: true,
          stdio: 'ignore',
        })
        started.push(first)
        const until = async (file: string): Promise<void> => {
          const path = join(folder, file)
          // Whole, not only made.
          while (!existsSync(path) || !readFileSync(path, 'utf8').endsWith('\n')) await pause(20)
        }
        const end = once(first, 'exit')
        await Promise.all(['slept', 'ready'].map(until))
        expect(readFileSync(join(folder, 'slept'), 'utf8')).to.equal('540\n')
        expect(Number(readFileSync(join(folder, 'ready'), 'utf8'))).to.equal(first.pid)
        writeFileSync(join(folder, 'go'), '')
        expect((await end)[0]).to.equal(7)
        expect(readFileSync(join(folder, 'out.txt'), 'utf8')).to.equal('warned\n')
      })
    })
  }

  it('warn as the site says where the job says nothing, and never before it starts', () => {
    const after = (more: Partial<JobSpec>, warn?: number): string | undefined =>
      /^ow_warn=(.*)$/m.exec(jobScript(job(more), { environment, warn }))?.[1]
    const requirements = { ...DEFAULT_REQUIREMENTS, walltimeSeconds: 100 }
    expect(after({ requirements })).to.equal('')
    expect(after({ requirements }, 10)).to.equal('90')
    expect(after({ requirements, warnSeconds: 20 }, 10)).to.equal('80')
    expect(after({ requirements, warnSeconds: 200 })).to.equal('0')
  })
})
