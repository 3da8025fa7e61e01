/** The fake Slurm prints what a real one prints: the same scenario on both, the shapes of their replies side by side. */

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { createFakeLab, type FakeLab } from './fake-lab.js'

interface Recorded {
  readonly id: string
  readonly command: string
  readonly exit: number
  readonly stdout?: string
  readonly stderr?: string
}
const FIXTURES = join(import.meta.dirname, '../test/fixtures/slurm-22.05.8')
const { recordings } = JSON.parse(readFileSync(join(FIXTURES, 'recordings.json'), 'utf8')) as {
  readonly recordings: readonly Recorded[]
}

/** Numbers, times, names of people and how long it took may differ; words, columns and separators may not. */
function shape(text: string, user: string): readonly string[] {
  return text
    .split('\n')
    .map((line) =>
      line
        .trimEnd()
        .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/g, 'TIME')
        .replace(/\b(?:\d+-)?\d*\d:\d\d(?::\d\d)?\b(?!\|0:0)/g, 'CLOCK')
        .replace(/CANCELLED by \d+/g, 'CANCELLED by UID')
        .replace(/\|\d+(?:\.\d+)?K\|/g, '||')
        .replaceAll(user, 'alice')
        // Rows of short jobs are written before all of them is known.
        .replace(/\ballocation\b/g, 'wrap')
        .replace(/\|CLOCK\|(?:Partition_Limit)?\|TIME/, '|CLOCK|CLOCK|TIME')
        .replace(/127\.0\.0\.1:\d+/g, 'HOST'),
    )
    .filter((line) => line !== '')
}

describe('the fake Slurm prints what Slurm 22.05.8 prints', () => {
  let lab: FakeLab
  let user: string
  before(async () => {
    lab = await createFakeLab({ minuteMs: 4000 })
    user = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim()
  })
  after(() => lab.dispose())

  /** A command as recorded, on the fake. */
  const call = (words: readonly string[]): { exit: number | null; stdout: string; stderr: string } => {
    const [program = '', ...args] = words
    const { status, stdout, stderr } = spawnSync(join(lab.fake.bin, program), args, {
      encoding: 'utf8',
      cwd: lab.folder,
      input: '#!/bin/sh\ntrue\n',
    })
    return { exit: status, stdout, stderr }
  }
  const submit = (...words: readonly string[]): string =>
    call(['sbatch', '--parsable', ...words]).stdout.trim()
  const settled = async (id: string, wanted: RegExp): Promise<void> => {
    for (let round = 0; round < 400; round++) {
      if (wanted.test(call(['squeue', '-h', '-t', 'all', '-r', '-j', `${id},${id}`, '-o', '%T']).stdout))
        return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect.fail(`${id} does not become ${wanted.source}`)
  }
  const split = (command: string): readonly string[] =>
    (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, '$1'))

  /** Scenario of the recordings → how it is brought about here; its recorded id is that of ours. */
  const SCENARIOS: readonly (readonly [prefix: RegExp, recorded: string, make: () => Promise<string>])[] = [
    [
      /^failed-exit-3\/.*done/,
      '110',
      async () => {
        const id = submit('--wrap', 'exit 3')
        await settled(id, /FAILED/)
        return id
      },
    ],
    [
      /^killed-by-signal\/.*sigkill-done/,
      '114',
      async () => {
        const id = submit('--wrap', 'kill -9 $$')
        await settled(id, /FAILED/)
        return id
      },
    ],
    [
      /^time-limit\/.*done/,
      '115',
      async () => {
        const id = submit('--time=1', '--wrap', 'sleep 60')
        await settled(id, /TIMEOUT/)
        return id
      },
    ],
    [
      /^held\/.*user-held/,
      '122',
      async () => {
        const id = submit('--hold', '--wrap', 'true')
        await settled(id, /PENDING/)
        return id
      },
    ],
    [
      /^output-directory-missing\/.*done/,
      '145',
      async () => {
        const id = submit('--output=/nonexistent/folder/x', '--wrap', 'true')
        await settled(id, /FAILED/)
        return id
      },
    ],
    [
      /^accepted-but-cannot-start\/.*partition-time-limit/,
      '140',
      async () => {
        const id = submit('--partition=short', '--wrap', 'true')
        await settled(id, /PENDING/)
        return id
      },
    ],
    [
      /^accepted-but-cannot-start\/.*partition-down/,
      '141',
      async () => {
        const id = submit('--partition=closed', '--wrap', 'true')
        await settled(id, /PENDING/)
        return id
      },
    ],
    [
      /^dependency-never\/.*never/,
      '131',
      async () => {
        const first = submit('--wrap', 'exit 1')
        await settled(first, /FAILED/)
        const id = submit(`--dependency=afterok:${first}`, '--wrap', 'true')
        await settled(id, /PENDING/)
        return id
      },
    ],
    [
      /^array\/.*started-(?:squeue|squeue-fmt|squeue-all-states|squeue-r)$/,
      '124',
      async () => {
        const id = submit('--array=1-6%2', '--wrap', 'sleep 30')
        await settled(id, /RUNNING[\s\S]*RUNNING/)
        return id
      },
    ],
  ]
  for (const [prefix, recordedId, make] of SCENARIOS) {
    it(prefix.source.replace(/[\\^$]|\.\*/g, ' ').trim(), async () => {
      const id = await make()
      const wanted = recordings.filter(
        (one) =>
          prefix.test(one.id) && /^(?:squeue|sacct) /.test(one.command) && !one.command.includes('--json'),
      )
      expect(wanted.length, 'recordings of it').to.be.above(1)
      for (const one of wanted) {
        const ours = call(split(one.command.replaceAll(recordedId, id)))
        expect(ours.exit, one.command).to.equal(one.exit)
        const text = (all: string, own: string): readonly string[] =>
          [...shape(all.replaceAll(new RegExp(String.raw`\b${own}(?=[_|.\s]|$)`, 'gm'), 'ID'), user)]
            // Raw ids of elements and the order of rows are their own.
            .map((line) => line.replace(/(ID_\d+)\|(?:\d+|ID)\|ID\|/, '$1|RAW|ID|').replace(/\s+/g, ' '))
            .sort()
        expect(text(ours.stdout, id), one.command).to.deep.equal(text(one.stdout ?? '', recordedId))
      }
      call(['scancel', '--me'])
    })
  }

  it('refusals and questions about nobody have the same words and exit codes', () => {
    const wanted = recordings.filter(
      ({ id, command }) =>
        (id.startsWith('submit-rejected/') || id.startsWith('unknown-job-id/')) &&
        !/--json|text\.txt|-n 4096|show job|-A nosuch|-q nosuch/.test(command),
    )
    expect(wanted.length).to.be.above(10)
    for (const one of wanted) {
      const ours = call(split(one.command))
      expect({ exit: ours.exit, stderr: ours.stderr }, one.command).to.deep.equal({
        exit: one.exit,
        stderr: one.stderr ?? '',
      })
    }
  })

  it('outages have the same words and exit codes', () => {
    for (const [part, fault] of [
      ['no-slurmdbd-sacct', 'accounting-down'],
      ['no-slurmctld-', 'controller-down'],
      ['no-munge-', 'munge-down'],
    ] as const) {
      const wanted = recordings.filter(
        ({ id, command }) => id.includes(part) && !/--json|^SLURM_CONF/.test(command),
      )
      expect(wanted.length, part).to.be.above(0)
      lab.fake.setFault(fault, true)
      for (const one of wanted) {
        const ours = call(split(one.command))
        expect({ exit: ours.exit, stderr: shape(ours.stderr, user) }, one.command).to.deep.equal({
          exit: one.exit,
          stderr: shape(one.stderr ?? '', user),
        })
      }
      lab.fake.setFault(fault, false)
    }
  })

  it('leaves nothing behind: no process, no request', async () => {
    const other = await createFakeLab()
    const { pid, bin } = other.fake
    execFileSync(join(bin, 'sbatch'), ['--wrap', 'sleep 60'], { cwd: other.folder })
    await other.dispose()
    expect(existsSync(bin)).to.equal(false)
    expect(() => process.kill(pid, 0)).to.throw()
  })
})
