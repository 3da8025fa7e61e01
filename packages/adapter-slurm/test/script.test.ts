import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { renderArrayScript, renderScript, renderTasks } from '#src/script.js'
import { spec } from './specs.js'

const ODD = [
  'two words',
  "it's",
  '$(touch pwned)',
  '`touch pwned`',
  '$HOME',
  'a;b & c | d > e',
  '*',
  'back\\slash\\',
  'new\nline',
  '',
  '-n',
  'é脳',
  '%j',
  'A=b',
]

for (const shell of ['/bin/sh', '/bin/bash'].filter((path) => existsSync(path))) {
  describe(`job script, run by ${shell}`, () => {
    let folder: string
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'ow-script-'))
    })
    afterEach(() => {
      rmSync(folder, { recursive: true, force: true })
    })

    const place = (name: string, more: object = {}) => {
      const directory = join(folder, name)
      mkdirSync(directory)
      return spec(name, {
        directory,
        stdoutPath: join(directory, 'out'),
        stderrPath: join(directory, 'err'),
        ...more,
      })
    }
    const node = (code: string, ...words: string[]): string[] => [process.execPath, '-e', code, ...words]
    const PRINT =
      'console.log(JSON.stringify({argv: process.argv.slice(1), env: process.env, cwd: process.cwd()}))'
    const run = (script: string, environment: Readonly<Record<string, string>> = {}) =>
      spawnSync(shell, ['-s'], {
        input: script,
        env: { PATH: process.env['PATH'] ?? '', ...environment },
        cwd: '/',
        encoding: 'utf8',
      })
    const printed = (path: string) =>
      JSON.parse(readFileSync(path, 'utf8')) as { argv: string[]; env: Record<string, string>; cwd: string }

    it('hands arguments, variables and the folder on as they are', () => {
      const environment = Object.fromEntries(ODD.map((word, index) => [`ODD_${index}`, word]))
      const one = place("odd 'name' $(x)", { command: node(PRINT, '--', ...ODD), environment })
      const { status, stderr } = run(renderScript(one, {}))
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' })
      const { argv, env, cwd } = printed(one.stdoutPath)
      expect(argv).to.deep.equal(ODD)
      expect(cwd).to.equal(one.directory)
      expect(ODD.map((_, index) => env[`ODD_${index}`])).to.deep.equal(ODD)
    })

    it('keeps of the node’s environment what is documented, and lets the job’s own win', () => {
      const one = place('env', { command: node(PRINT), environment: { SITE: 'job', HOME: '/job' } })
      run(renderScript(one, { SITE: 'site', FREESURFER_HOME: '/opt/fs' }), {
        SLURM_JOB_ID: '7',
        SLURM_EXPORT_ENV: 'NONE',
        SLURM_TIME_FORMAT: '%s',
        CUDA_VISIBLE_DEVICES: '1',
        HOME: '/home/a',
        USER: 'a',
        SECRET: 'x',
        LD_PRELOAD_X: 'y',
        MULTI: 'a\nSLURM_FAKE=b',
        'BASH_FUNC_f%%': '() { echo pwned; }',
      })
      const { env } = printed(one.stdoutPath)
      expect(env).to.include({
        SLURM_JOB_ID: '7',
        SLURM_EXPORT_ENV: 'ALL',
        CUDA_VISIBLE_DEVICES: '1',
        HOME: '/job',
        USER: 'a',
        SITE: 'job',
        FREESURFER_HOME: '/opt/fs',
        LANG: 'C.UTF-8',
      })
      expect(env['PATH']).to.equal('/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin')
      expect(env).to.not.have.any.keys(
        'SECRET',
        'LD_PRELOAD_X',
        'MULTI',
        'SLURM_TIME_FORMAT',
        'BASH_FUNC_f%%',
      )
    })

    it('ends with 75 on a node that does not see its folder', () => {
      const one = place('unseen', { command: ['true'] })
      const gone = join(folder, 'gone', 'file')
      const statuses = [
        renderScript({ ...one, stdoutPath: gone }, {}),
        renderScript({ ...one, stderrPath: gone }, {}),
        renderScript({ ...one, directory: gone }, {}),
        renderArrayScript(gone),
      ].map((script) => run(script, { SLURM_ARRAY_TASK_ID: '0' }).status)
      expect(statuses).to.deep.equal([75, 75, 75, 75])
    })

    it('has a user and a shell where nobody names one', () => {
      const one = place('user', { command: node(PRINT) })
      run(renderScript(one, {}), { USER: '', LOGNAME: '', SHELL: '', SLURM_JOB_USER: 'b' })
      expect(printed(one.stdoutPath).env).to.include({ USER: 'b', LOGNAME: 'b', SHELL: '/bin/sh' })
    })

    it('is the command: its exit code, its signal, its process', () => {
      const exits = place('exits', { command: ['/bin/sh', '-c', 'echo said >&2; exit 7'] })
      expect(run(renderScript(exits, {})).status).to.equal(7)
      expect(readFileSync(exits.stderrPath, 'utf8')).to.equal('said\n')
      const dies = place('dies', { command: ['/bin/sh', '-c', 'kill -9 $$'] })
      expect(run(renderScript(dies, {})).signal).to.equal('SIGKILL')
      const equals = place('equals', { command: [join(folder, 'a=b')] })
      writeFileSync(join(folder, 'a=b'), '#!/bin/sh\necho ran\n', { mode: 0o755 })
      run(renderScript(equals, {}))
      expect(readFileSync(equals.stdoutPath, 'utf8')).to.equal('ran\n')
    })

    it('never succeeds where the folder or the program is missing', () => {
      const one = place('gone')
      for (const broken of [
        { ...one, directory: join(folder, 'nowhere') },
        { ...one, command: ['/nonexistent/program'] },
        { ...one, stdoutPath: join(folder, 'nowhere/out') },
      ])
        expect(run(renderScript(broken, {})).status).to.be.above(0)
    })

    it('is each element of an array by its index, and nothing without one', () => {
      const members = ['first', 'second', "th'ird"].map((name, index) =>
        place(name, { command: node(PRINT, name), environment: { INDEX: String(index) } }),
      )
      const tasks = join(folder, "tasks 'file'.sh")
      writeFileSync(tasks, renderTasks(members, { SITE: 's' }))
      for (const index of members.keys())
        expect(run(renderArrayScript(tasks), { SLURM_ARRAY_TASK_ID: String(index) }).status).to.equal(0)
      for (const [index, member] of members.entries()) {
        const { argv, env, cwd } = printed(member.stdoutPath)
        expect({ argv, cwd }).to.deep.equal({ argv: [member.name], cwd: member.directory })
        expect(env).to.include({ INDEX: String(index), SITE: 's', SLURM_ARRAY_TASK_ID: String(index) })
      }
      for (const environment of [{}, { SLURM_ARRAY_TASK_ID: '3' }, { SLURM_ARRAY_TASK_ID: '*' }])
        expect(run(renderArrayScript(tasks), environment).status).to.be.above(0)
      rmSync(tasks)
      expect(run(renderArrayScript(tasks), { SLURM_ARRAY_TASK_ID: '0' }).status).to.be.above(0)
    })

    it('lets nobody else read what the job writes', () => {
      const one = place('mask', { command: ['/bin/sh', '-c', 'umask'] })
      run(renderScript(one, {}))
      expect(readFileSync(one.stdoutPath, 'utf8').trim()).to.equal('0077')
    })
  })
}
