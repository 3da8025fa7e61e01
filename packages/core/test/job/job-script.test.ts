import { mkdtempSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { InputError } from '#src/errors.js'
import { interpreterFor, parseExitRecord, parseStartRecord, renderJobScript } from '#src/job/job-script.js'
import { shellQuote } from '#src/job/shell-words.js'
import { SHELLS, ScriptLab, textOf, until, type Shell } from './script-lab.js'

/** Prints its words, a NUL after each. */
const PRINT_WORDS = ['/bin/sh', '-c', String.raw`for word do printf '%s\0' "$word"; done`, 'print']
const HOSTILE = [
  "it's",
  '$(touch pwned)',
  '`id`',
  'a b',
  '',
  '-n',
  '\\',
  '\n',
  'é 脳',
  '"; exit 9; "',
  '*',
  '~',
  '$HOME',
  '!x',
]
const word = fc.string({ unit: 'binary', maxLength: 30 }).filter((text) => !text.includes('\0'))

describe('job script', function () {
  this.timeout(40_000)
  let lab: ScriptLab
  beforeEach(() => {
    lab = new ScriptLab()
  })
  afterEach(() => lab.dispose())

  for (const shell of SHELLS) {
    describe(`under ${shell.name}`, () => {
      inShell(shell)
    })
  }

  function inShell(shell: Shell): void {
    it('gives words to the command as they are', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(word, { maxLength: 25 }), async (drawn) => {
          const words = [...HOSTILE, ...drawn]
          const { stdout, code } = await lab.run([...PRINT_WORDS, ...words], { shell })
          expect(code).to.equal(0)
          expect(stdout.toString('utf8').split('\0').slice(0, -1)).to.deep.equal(words)
        }),
        { numRuns: 5 },
      )
    })

    it('gives variables to the command as they are, and its own', async () => {
      const environment = Object.fromEntries(HOSTILE.map((text, index) => [`V${index}`, text]))
      const names = [
        ...Object.keys(environment),
        'ORBWEAVER_INPUTS',
        'TMPDIR',
        'OMP_NUM_THREADS',
        'MKL_NUM_THREADS',
        'IFS',
      ]
      const print = String.raw`for name do eval "printf '%s\0' \"\${$name}\""; done`
      const workspace = lab.workspace("a 'b' $c")
      const { stdout } = await lab.run(['/bin/sh', '-c', print, 'print', ...names], {
        shell,
        workspace,
        cpus: 3,
        environment: { ...environment, IFS: '/', MKL_NUM_THREADS: '1' },
        outside: { OMP_NUM_THREADS: '2' },
      })
      expect(stdout.toString('utf8').split('\0').slice(0, -2)).to.deep.equal([
        ...HOSTILE,
        `${workspace}/inputs`,
        `${workspace}/tmp`,
        '2',
        '1',
      ])
    })

    it('writes both records whole, with what was found', async () => {
      const { code, start, exit, stderr } = await lab.run(
        ['/bin/sh', '-c', 'echo out; echo err >&2; exit 3'],
        {
          shell,
          name: 'ow-"quoted"-1',
          outside: { PBS_JOBID: '12[3].head"\n\\x' },
        },
      )
      expect(code).to.equal(3)
      expect(stderr).to.equal('err\n')
      expect(start).to.include({ name: 'ow-"quoted"-1', schedulerJobId: '12[3].headx' })
      expect(exit).to.include({
        name: 'ow-"quoted"-1',
        exitCode: 3,
        startedAt: start?.startedAt,
        host: start?.host,
      })
      expect(exit).to.not.have.any.keys('signal', 'timedOut', 'received')
      expect(exit?.endedAt).to.be.at.least(exit?.startedAt ?? Infinity)
      expect(exit?.cpuSeconds).to.be.a('number')
    })

    it('runs several commands in order and stops at the first that fails', async () => {
      const say = (text: string, code = 0): readonly string[] => [
        '/bin/sh',
        '-c',
        `printf '%s\n' "$1"; exit ${code}`,
        'say',
        text,
      ]
      const good = await lab.run([say('one'), say(' two '), say("th'ree")], { shell })
      expect([good.code, good.stdout.toString()]).to.deep.equal([0, "one\n two \nth'ree\n"])
      const bad = await lab.run([say('one'), say('two', 7), say('three')], { shell })
      expect([bad.code, bad.exit?.exitCode, bad.stdout.toString()]).to.deep.equal([7, 7, 'one\ntwo\n'])
    })

    it('tells the signal that ended the command', async () => {
      for (const [name, number] of [
        ['KILL', 9],
        ['SEGV', 11],
        ['TERM', 15],
        ['USR1', 10],
      ] as const) {
        const { code, exit } = await lab.run(['/bin/sh', '-c', `kill -${name} $$`], { shell })
        expect(code).to.equal(128 + number)
        expect(exit).to.include({ exitCode: 128 + number, signal: `SIG${name}` })
        expect(exit).to.not.have.any.keys('timedOut', 'received')
      }
    })

    it('hands signals on to the command, and lets it end in its own way', async () => {
      for (const name of ['TERM', 'USR1', 'USR2', 'HUP', 'XCPU', 'INT']) {
        // Shells without job control start background commands deaf to SIGINT.
        const heard = name === 'INT' && /^(dash|busybox)/.test(shell.name) ? 'TERM' : name
        const job = lab.start(
          [
            '/bin/sh',
            '-c',
            `trap 'echo heard; exit 5' ${heard}; echo ready >"$1"; while :; do sleep 0.05; done`,
            'x',
            join(lab.folder, name),
          ],
          { shell },
        )
        await until('the command is ready', () => textOf(join(lab.folder, name)) === 'ready\n')
        process.kill(job.child.pid as number, `SIG${name}`)
        const { code, exit, stdout } = await job.done
        expect([name, code, stdout.toString()]).to.deep.equal([name, 5, 'heard\n'])
        expect(exit).to.include({ exitCode: 5, received: `SIG${name}` })
      }
    })

    it('ends the command and its children shortly before the walltime, also those that ignore SIGTERM', async () => {
      const stubborn = `trap '' TERM; sh -c 'trap "" TERM; sleep 300' & sleep 300; sleep 300`
      const { exit, code, stderr } = await lab.run(['/bin/sh', '-c', stubborn], {
        shell,
        walltimeSeconds: 2,
        marginSeconds: 1,
        graceSeconds: 1,
      })
      expect(exit).to.include({ timedOut: true, signal: 'SIGKILL', exitCode: 137 })
      expect(code).to.equal(137)
      expect(stderr).to.contain('the time is up')
      await lab.nothingLeft()
    })

    it('lets the command end well when the time is up', async () => {
      const polite = `trap 'echo saved; exit 0' TERM; while :; do sleep 0.05; done`
      const { exit, stdout } = await lab.run(['/bin/sh', '-c', polite], {
        shell,
        walltimeSeconds: 2,
        marginSeconds: 1,
      })
      expect(exit).to.include({ timedOut: true, exitCode: 0 })
      expect(stdout.toString()).to.equal('saved\n')
    })

    it('leaves no process behind: neither its timer, nor what the command left in its group', async () => {
      await lab.run(['/bin/sleep', '0.3'], { shell, walltimeSeconds: 3600 })
      await lab.nothingLeft()
      const { code } = await lab.run(['/bin/sh', '-c', 'sleep 300 & exit 0'], {
        shell,
        walltimeSeconds: 3600,
      })
      expect(code).to.equal(0)
      await lab.nothingLeft()
    })

    it('says what is missing: a command, a program, a workspace', async () => {
      const none = await lab.run(['orbweaver-no-such-program'], { shell })
      expect([none.code, none.exit?.exitCode]).to.deep.equal([127, 127])
      expect(none.stderr).to.contain('orbweaver-no-such-program')
      const nowhere = await lab.run(['/bin/true'], { shell, workspace: join(lab.folder, 'nowhere') })
      expect(nowhere.code).to.equal(75)
      expect(nowhere.stderr).to.contain('nowhere')
    })
  }

  it('exits with the exit code of the command, whatever it is', async () => {
    const codes = Array.from({ length: 256 }, (_, code) => code)
    const workers = Array.from({ length: 6 }, async () => {
      for (let code = codes.shift(); code !== undefined; code = codes.shift()) {
        const result = await lab.run(['/bin/sh', '-c', `exit ${code}`])
        expect(result.code).to.equal(code)
        expect(result.exit?.exitCode).to.equal(code)
        if (code <= 128 || code > 192) expect(result.exit).to.not.have.property('signal')
      }
    })
    await Promise.all(workers)
  })

  it('makes files that only their owner may read', async () => {
    const workspace = lab.workspace()
    await lab.run(['/bin/sh', '-c', 'echo secret >outputs/x'], { workspace, fsync: true })
    for (const file of ['started.json', 'exit.json', 'outputs/x']) {
      expect(statSync(join(workspace, file)).mode & 0o777, file).to.equal(0o600)
    }
  })

  it('is one fixed program below its head', () => {
    const bodyOf = (script: string): string => script.slice(script.indexOf('# ---- From here on'))
    const plain = renderJobScript(['true'], { name: 'a', workspace: '/w' })
    fc.assert(
      fc.property(
        fc.array(word, { minLength: 1, maxLength: 5 }),
        fc.dictionary(fc.constantFrom('A', 'B_1'), word),
        (words, environment) => {
          fc.pre(words[0] !== '')
          const script = renderJobScript(words, {
            name: 'x',
            workspace: '/w',
            environment,
            walltimeSeconds: 7,
            cpus: 2,
          })
          expect(script.endsWith(bodyOf(plain))).to.equal(true)
        },
      ),
    )
  })

  it('refuses what cannot be run', () => {
    const options = { name: 'x', workspace: '/w' }
    for (const wrong of [
      () => renderJobScript([], options),
      () => renderJobScript([[]], options),
      () => renderJobScript([''], options),
      () => renderJobScript(['a\0b'], options),
      () => renderJobScript(['a'], { ...options, workspace: 'relative' }),
      () => renderJobScript(['a'], { ...options, environment: { 'A B': '1' } }),
      () => renderJobScript(['a'], { ...options, environment: { PPID: '1' } }),
      () => renderJobScript(['a'], { ...options, environment: { ow_pid: '1' } }),
      () => renderJobScript(['a'], { ...options, walltimeSeconds: 1.5 }),
      () => renderJobScript(['a'], { ...options, container: { image: '--privileged' } }),
      () => renderJobScript(['a'], { ...options, container: { image: 'x', binds: ['/a'] } }),
      () => renderJobScript(['a'], { ...options, workspace: '/a:b', container: { image: 'x' } }),
      () => shellQuote('\0'),
    ]) {
      expect(wrong).to.throw(TypeError)
    }
  })

  describe('in a container', () => {
    let bin: string
    /** A program that writes its words and its variables, a NUL after each. */
    const fake = (name: string): void => {
      writeFileSync(
        join(bin, name),
        String.raw`#!/bin/sh
printf '%s\0' "$@" >"${lab.folder}/words"
env -0 >"${lab.folder}/variables"
case $* in *exit-with-4*) exit 4 ;; esac
`,
        { mode: 0o700 },
      )
    }
    const words = (): readonly string[] => textOf(join(lab.folder, 'words')).split('\0').slice(0, -1)
    beforeEach(() => {
      bin = mkdtempSync(join(lab.folder, 'bin-'))
      for (const tool of [
        'sh',
        'bash',
        'date',
        'mv',
        'dd',
        'id',
        'sleep',
        'env',
        'mkdir',
        'tr',
        'uname',
        'setsid',
      ]) {
        const found = ['/usr/bin', '/bin']
          .map((folder) => join(folder, tool))
          .find((path) => statSync(path, { throwIfNoEntry: false }))
        if (found !== undefined) symlinkSync(found, join(bin, tool))
      }
    })
    const run = (
      container: Parameters<typeof renderJobScript>[1]['container'],
      command: readonly string[] = ['tool', "it's", 'exit-with-4'],
    ) =>
      lab.run(command, {
        name: 'ow-test-1',
        workspace: join(lab.folder, 'w'),
        ...(container !== undefined && { container }),
        memoryBytes: 1024,
        environment: { A: "x'y $z\n", PATH: '/opt/tool/bin' },
        outside: { PATH: bin, CUDA_VISIBLE_DEVICES: '1' },
      })
    beforeEach(() => lab.workspace('w'))

    it('runs it with apptainer, cut off from the node', async () => {
      fake('apptainer')
      fake('docker')
      const { code } = await run({
        image: 'ghcr.io/lab/tool:1',
        binds: ['/data/ref:/ref', '/b:/c'],
        gpus: true,
      })
      expect(code).to.equal(4)
      expect(words()[0]).to.equal('exec')
      expect(words().slice(-5)).to.deep.equal([
        '/b:/c:ro',
        'docker://ghcr.io/lab/tool:1',
        'tool',
        "it's",
        'exit-with-4',
      ])
      expect(words()).to.include.members([
        '--contain',
        '--cleanenv',
        '--net',
        'none',
        '--nv',
        'inputs:/INPUTS:ro',
        'outputs:/OUTPUTS',
        'tmp:/tmp',
        '/data/ref:/ref:ro',
      ])
      const variables = textOf(join(lab.folder, 'variables')).split('\0')
      expect(variables).to.include.members([
        "APPTAINERENV_A=x'y $z\n",
        'APPTAINERENV_PATH=/opt/tool/bin',
        'APPTAINERENV_ORBWEAVER_INPUTS=/INPUTS',
        'APPTAINERENV_TMPDIR=/tmp',
        'APPTAINERENV_CUDA_VISIBLE_DEVICES=1',
      ])
      expect(variables).to.include(`PATH=${bin}`)
    })

    it('runs it with docker, as this user and by its name', async () => {
      fake('docker')
      const { code } = await run({ image: 'docker://ghcr.io/lab/tool:1', binds: ['/data/ref:/ref'] })
      expect(code).to.equal(4)
      expect(words().slice(0, 7)).to.deep.equal([
        'run',
        '--rm',
        '--init',
        '--name',
        'ow-test-1',
        '--user',
        `${process.getuid?.()}:${process.getgid?.()}`,
      ])
      expect(words().slice(-5)).to.deep.equal([
        '--entrypoint',
        'tool',
        'ghcr.io/lab/tool:1',
        "it's",
        'exit-with-4',
      ])
      expect(words()).to.include.members([
        '--network',
        'none',
        '--memory',
        '1024',
        "A=x'y $z\n",
        'ORBWEAVER_OUTPUTS=/OUTPUTS',
        '/data/ref:/ref:ro',
        `${lab.folder}/w/inputs:/INPUTS:ro`,
        `${lab.folder}/w/tmp:/tmp`,
      ])
    })

    it('takes the runtime that is asked for, and lets the network in only when it is asked to', async () => {
      for (const runtime of ['apptainer', 'singularity', 'podman', 'docker'] as const) fake(runtime)
      await run({ image: 'x', runtime: 'podman', network: true })
      expect(words()[0]).to.equal('run')
      expect(words()).to.not.include('--network')
      await run({ image: '/images/x.sif', runtime: 'singularity' })
      expect(words()).to.include('/images/x.sif')
      expect(textOf(join(lab.folder, 'variables'))).to.contain('SINGULARITYENV_A=')
    })

    it('ends with 127 and says why when no runtime fits', async () => {
      const none = await run({ image: 'x' })
      expect([none.code, none.exit?.exitCode]).to.deep.equal([127, 127])
      expect(none.stderr).to.contain('no apptainer singularity podman docker on')
      fake('docker')
      const file = await run({ image: '/images/x.sif', runtime: 'docker' })
      expect([file.code, file.exit?.exitCode]).to.deep.equal([127, 127])
      expect(file.stderr).to.contain('docker cannot run an image file')
    })
  })

  describe('records', () => {
    it('are read back, and anything else is none', () => {
      expect(
        parseExitRecord(
          '{"schema":1,"name":"a","host":"h","exitCode":0,"startedAt":1,"endedAt":2.5,"later":1}',
        ),
      ).to.deep.equal({
        schema: 1,
        name: 'a',
        host: 'h',
        exitCode: 0,
        startedAt: 1,
        endedAt: 2.5,
      })
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
          expect(parseExitRecord(text)).to.equal(undefined)
          expect(parseStartRecord(text)).to.equal(undefined)
        }),
      )
    })
  })

  it('knows the interpreter of a script by its extension', () => {
    expect(interpreterFor('/a/x.py')).to.deep.equal(['python3'])
    expect(interpreterFor('/a/x.sh')).to.deep.equal(['sh'])
    expect(interpreterFor('/a/x.mjs')).to.deep.equal(['node'])
    expect(() => interpreterFor('/a/x.exe')).to.throw(InputError)
  })
})
