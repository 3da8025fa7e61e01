import { expect } from 'chai'
import {
  NotFoundError,
  NotSupportedError,
  PipelineError,
  TransportUnavailableError,
  type CommandResult,
} from '@orbweaver/core'
import { AWKWARD_WORDS } from '../backend/awkward.js'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import type { TransportContext } from './context.js'

const SECRET = 'ORBWEAVER_CONFORMANCE_SECRET'
const runs = (lab: TransportContext): true | string => lab.runsCommands

/** A program with a child and a grandchild that ignores SIGTERM; all write their ids to the file named. */
const FAMILY = String.raw`
echo $$ >> "$1"
sh -c 'trap "" TERM; echo $$ >> "$1"; sh -c "echo \$\$ >> \"\$1\"; exec sleep 300" grandchild "$1" & wait' child "$1" &
wait
`
const ALIVE = String.raw`
for pid in "$@"; do
  kill -0 "$pid" 2>/dev/null || continue
  [ "$(sed 's/.*) \(.\) .*/\1/' "/proc/$pid/stat" 2>/dev/null)" = Z ] || echo "$pid"
done
`

/** Start the family, wait until it is whole, do something to it, and wait until nobody of it is left. */
async function familyEnds(
  lab: TransportContext,
  start: (file: string) => Promise<CommandResult>,
  whenWhole: () => void = () => undefined,
): Promise<Error> {
  const file = lab.path('family')
  const ended = rejection(start(file))
  const pids = await until('the family is whole', async () => {
    const text = (await lab.files.readMany([file])).get(file) ?? ''
    const found = text.split('\n').filter(Boolean)
    return found.length === 3 && text.endsWith('\n') && found
  })
  whenWhole()
  const error = await ended
  await until('the family is gone', async () => (await lab.sh(ALIVE, ...pids)).stdout === '')
  return error
}

async function until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
  const deadline = Date.now() + 30_000
  for (;;) {
    const found = await look()
    if (found !== false) return found
    if (Date.now() > deadline) expect.fail(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export const commands: Chapter<TransportContext> = {
  port: 'transport',
  title: 'T1 commands',
  claims: [
    claim(
      'T1.1',
      'any exit code is a result, with standard output and standard error apart',
      async (lab) => {
        expect(await lab.sh('echo out; echo err >&2; exit 3')).to.deep.equal({
          exitCode: 3,
          stdout: 'out\n',
          stderr: 'err\n',
        })
        expect(await lab.runner.run({ argv: ['true'] })).to.deep.equal({
          exitCode: 0,
          stdout: '',
          stderr: '',
        })
        expect((await lab.sh('exit 255')).exitCode).to.equal(255)
      },
      runs,
    ),

    claim(
      'T1.2',
      'arguments reach the program as they are, whatever they hold',
      async (lab) => {
        const words = [...AWKWARD_WORDS, '', '-', 'two\nlines', "'", '"']
        const { stdout } = await lab.sh(`for word in "$@"; do printf '%s|' "$word"; done`, ...words)
        expect(stdout).to.equal(words.map((word) => `${word}|`).join(''))
      },
      runs,
    ),

    claim(
      'T1.3',
      'the input reaches the program whole, and a program need not read it',
      async (lab) => {
        const stdin = `Ünïcödé 脳\n${'x'.repeat(1024 ** 2)}\nend`
        const { stdout } = await lab.runner.run({ argv: ['cat'], stdin })
        expect(stdout.length).to.equal(stdin.length)
        expect(stdout === stdin, 'came through').to.equal(true)
        expect((await lab.runner.run({ argv: ['true'], stdin })).exitCode).to.equal(0)
        expect((await lab.runner.run({ argv: ['cat'] })).stdout, 'no input is the end of input').to.equal('')
      },
      runs,
    ),

    claim(
      'T1.4',
      'a program has the minimal environment and the variables it was given, and none of ours',
      async (lab) => {
        process.env[SECRET] = 'must stay here'
        try {
          const names = ['GIVEN', SECRET, 'LANG', 'LC_ALL']
          const script = names.map((name) => `printf '%s|' "$${name}"`).join('; ')
          const { stdout } = await lab.runner.run({
            argv: ['/bin/sh', '-c', `${script}; [ -n "$PATH" ] && [ -n "$HOME" ] && echo both`],
            environment: { GIVEN: 'it\'s "$(given)"; really' },
          })
          expect(stdout).to.equal('it\'s "$(given)"; really||C.UTF-8|C.UTF-8|both\n')
        } finally {
          delete process.env[SECRET]
        }
      },
      runs,
    ),

    claim(
      'T1.5',
      'a program runs in the directory it was given, however that is named',
      async (lab) => {
        for (const word of AWKWARD_WORDS) {
          const directory = lab.path(`d ${word} d`)
          await lab.files.mkdir(directory)
          expect((await lab.runner.run({ argv: ['pwd'], directory })).stdout).to.equal(`${directory}\n`)
        }
      },
      runs,
    ),

    claim(
      'T1.6',
      'a program that does not exist is not found, and neither is a directory',
      async (lab) => {
        for (const program of ['orbweaver-no-such-program', '/nonexistent/program', lab.path('nothing')]) {
          const error = await rejection(lab.runner.run({ argv: [program, '--version'] }))
          expect(error, program).to.be.instanceOf(NotFoundError)
          expect(error.message).to.contain(program)
        }
        const directory = lab.path('nowhere')
        const error = await rejection(lab.runner.run({ argv: ['true'], directory }))
        expect(error).to.be.instanceOf(NotFoundError)
        expect(error.message).to.contain(directory)
      },
      runs,
    ),

    claim(
      'T1.7',
      'a program ended by a signal has the signal and no exit code',
      async (lab) => {
        const { exitCode, signal } = await lab.sh('kill -s KILL $$')
        expect({ exitCode, signal }).to.deep.equal({ exitCode: undefined, signal: 'SIGKILL' })
      },
      runs,
    ),

    claim(
      'T1.8',
      'a program over its time is ended with all its children, and the call fails',
      async (lab) => {
        const error = await familyEnds(lab, (file) =>
          lab.runner.run({ argv: ['/bin/sh', '-c', FAMILY, 'sh', file], timeoutMs: 1500 }),
        )
        expect(error).to.be.instanceOf(TransportUnavailableError)
      },
      runs,
    ),

    claim(
      'T1.9',
      "an abort ends the program with all its children, and rejects with the signal's reason",
      async (lab) => {
        const controller = new AbortController()
        const reason = new Error('enough')
        const error = await familyEnds(
          lab,
          (file) =>
            lab.runner.run({ argv: ['/bin/sh', '-c', FAMILY, 'sh', file] }, { signal: controller.signal }),
          () => controller.abort(reason),
        )
        expect(error).to.equal(reason)
        expect((await lab.sh('echo still works')).stdout).to.equal('still works\n')
      },
      runs,
    ),

    claim(
      'T1.10',
      'an aborted signal starts nothing',
      async (lab) => {
        const reason = new Error('not wanted any more')
        const mark = lab.path('mark')
        const run = lab.runner.run({ argv: ['touch', mark] }, { signal: AbortSignal.abort(reason) })
        expect(await rejection(run)).to.equal(reason)
        expect(await lab.files.exists(mark)).to.equal(false)
      },
      runs,
    ),

    claim(
      'T1.11',
      'more output than allowed is an error, never a silent cut',
      async (lab) => {
        const print = (bytes: number, to: string): readonly string[] => [
          '/bin/sh',
          '-c',
          `head -c ${bytes} /dev/zero | tr '\\0' x ${to}`,
        ]
        const exact = await lab.runner.run({ argv: print(1000, ''), maxOutputBytes: 1000 })
        expect(exact.stdout).to.have.length(1000)
        for (const to of ['', '>&2']) {
          const error = await rejection(lab.runner.run({ argv: print(1001, to), maxOutputBytes: 1000 }))
          expect(error).to.be.instanceOf(PipelineError)
        }
        const endless = lab.runner.run({ argv: ['yes'], maxOutputBytes: 1000 })
        expect(await rejection(endless)).to.be.instanceOf(PipelineError)
      },
      runs,
    ),

    claim(
      'T1.12',
      'large output comes through whole, characters of several bytes as well',
      async (lab) => {
        const line = 'Ünïcödé 脳 🧠'
        const { stdout } = await lab.sh('yes "$1" | head -n 50000', line)
        expect(stdout === `${line}\n`.repeat(50_000), 'came through').to.equal(true)
      },
      runs,
    ),

    claim(
      'T1.13',
      'many programs may run at once',
      async (lab) => {
        const results = await Promise.all(
          Array.from({ length: 30 }, (_, index) => lab.sh('echo "$1"; exit "$1"', String(index))),
        )
        expect(results.map(({ exitCode, stdout }) => [exitCode, stdout])).to.deep.equal(
          results.map((_, index) => [index, `${index}\n`]),
        )
      },
      runs,
    ),

    claim(
      'T1.14',
      'without a machine behind it, running a program is refused as not supported',
      async (lab) => {
        expect(await rejection(lab.runner.run({ argv: ['true'] }))).to.be.instanceOf(NotSupportedError)
      },
      (lab) => lab.runsCommands !== true || 'the transport runs programs',
    ),
  ],
}
