import { expect } from 'chai'
import fc from 'fast-check'
import type { JobSpec } from '@orbweaver/core'
import type { Flavour, PbsConfig } from '@orbweaver/adapter-pbs'
import { pbsConfig } from '@orbweaver/adapter-pbs'
import { readQsub, refusalOf } from '#src/submit.js'
import { shortName } from '#src/status.js'
import { config, dialect, replyOf, spec, submitContext } from './specs.js'

const GIB = 1024 ** 3
const requirements = { cpus: 4, gpus: 2, memoryBytes: GIB + 1, scratchBytes: 0, walltimeSeconds: 90_001 }

function submissionsOf(
  flavour: Flavour,
  specs: readonly JobSpec[],
  more: Partial<PbsConfig> = {},
  arraySize = 1000,
) {
  return dialect(flavour, more).group(specs, { ...submitContext, arraySize })
}
function wordsOf(flavour: Flavour, specMore: Partial<JobSpec> = {}, more: Partial<PbsConfig> = {}) {
  return submissionsOf(flavour, [spec('ow-1', specMore)], more)[0]?.command.argv ?? []
}
/** Values of an option that may be there several times. */
const valuesOf = (words: readonly string[], flag: string): readonly string[] =>
  words.flatMap((word, index) => (word === flag ? [words[index + 1] ?? ''] : []))

describe('adapter-pbs: qsub', () => {
  describe('one job', () => {
    it('asks OpenPBS for one chunk, in whole mebibytes and seconds', () => {
      expect(valuesOf(wordsOf('openpbs', { requirements }), '-l')).to.deep.equal([
        'select=1:ncpus=4:mem=1025mb:ngpus=2',
        'place=pack',
        'walltime=25:00:01',
      ])
    })

    it('asks Torque for processors of one node, and for memory of the job', () => {
      const words = wordsOf('torque', { requirements }, { nodeProperties: ['bigmem'] })
      expect(valuesOf(words, '-l')).to.deep.equal([
        'nodes=1:ppn=4:gpus=2:bigmem',
        'mem=1025mb',
        'walltime=25:00:01',
      ])
    })

    it('never asks for 0 of memory or of walltime, which would mean something else', () => {
      const little = {
        requirements: { cpus: 1, gpus: 0, memoryBytes: 1, scratchBytes: 0, walltimeSeconds: 0.2 },
      }
      expect(valuesOf(wordsOf('openpbs', little), '-l')).to.deep.equal([
        'select=1:ncpus=1:mem=1mb',
        'place=pack',
        'walltime=00:00:01',
      ])
    })

    it('takes options of the site, and the queue and account of a job before those', () => {
      const site = {
        queue: 'long',
        account: 'lab',
        project: 'study',
        place: 'excl',
        select: { scratch: '20gb' },
        mail: 'ae',
        mailUser: 'a@b',
        hold: true,
        rerunnable: true,
        qsubOptions: ['-p10'],
      }
      const words = wordsOf('openpbs', { queue: 'short', nativeOptions: ['-lsoftware=fsl'] }, site)
      expect(valuesOf(words, '-q')).to.deep.equal(['short'])
      expect(valuesOf(words, '-A')).to.deep.equal(['lab'])
      expect(valuesOf(words, '-P')).to.deep.equal(['study'])
      expect(valuesOf(words, '-l')).to.include('place=excl')
      expect(valuesOf(words, '-l')[0]).to.match(/:scratch=20gb$/)
      expect(valuesOf(words, '-m')).to.deep.equal(['ae'])
      expect(valuesOf(words, '-M')).to.deep.equal(['a@b'])
      expect(valuesOf(words, '-r')).to.deep.equal(['y'])
      expect(words).to.include('-h')
      expect(words.slice(-2)).to.deep.equal(['-p10', '-lsoftware=fsl'])
      // In Torque -P is a user to submit for.
      expect(wordsOf('torque', {}, site)).not.to.include('-P')
    })

    it('never hands the environment of the caller on, and writes no mail unless asked', () => {
      for (const flavour of ['openpbs', 'torque'] as const) {
        const words = wordsOf(flavour)
        expect(words).not.to.include('-V')
        expect(valuesOf(words, '-m')).to.deep.equal(['n'])
        expect(valuesOf(words, '-v')).to.deep.equal(['ORBWEAVER_JOB=ow-1'])
        expect(valuesOf(words, '-W')).to.deep.equal(['umask=077'])
      }
    })

    it('has a name that every release takes whole, different for different jobs', () => {
      const name = 'ow-a-very-long-name-of-a-job-in-some-study-with-sessions-0001'
      expect(valuesOf(wordsOf('torque'), '-N')[0]).to.match(/^ow[0-9a-v]{13}$/)
      expect(shortName(name)).to.equal(shortName(name))
      expect(new Set(Array.from({ length: 1000 }, (_, index) => shortName(`${name}${index}`))).size).to.equal(
        1000,
      )
    })

    it('keeps messages of PBS beside stderr where the path is plain, when asked to', () => {
      expect(valuesOf(wordsOf('openpbs'), '-o')).to.deep.equal(['/dev/null'])
      const messages = { messages: true }
      expect(valuesOf(wordsOf('openpbs', {}, messages), '-o')).to.deep.equal(['/data/ow-1/err.txt.pbs'])
      for (const stderrPath of ['/data/a b/err', '/data/a:b/err', '/data/a,b', '/data/$PBS_JOBID', '/data/ä'])
        expect(valuesOf(wordsOf('openpbs', { stderrPath }, messages), '-o')).to.deep.equal(['/dev/null'])
    })
  })

  describe('arrays', () => {
    const alike = (count: number) =>
      Array.from({ length: count }, (_, index) => spec(`ow-${index}`, { groupKey: 'k' }))

    it('are made of jobs with one key and one set of requests, each job once', () => {
      const asked = fc.record({
        groupKey: fc.constantFrom('k', 'l', undefined),
        cpus: fc.constantFrom(1, 4),
        queue: fc.constantFrom('other', undefined),
      })
      fc.assert(
        fc.property(fc.array(asked, { maxLength: 30 }), fc.integer({ min: 2, max: 7 }), (jobs, arraySize) => {
          const keys = new Map<string, string>()
          const specs = jobs.map(({ groupKey, cpus, queue }, index) => {
            const name = `ow-${index}`
            keys.set(name, groupKey === undefined ? name : JSON.stringify([groupKey, cpus, queue]))
            return spec(name, {
              requirements: { ...requirements, cpus },
              ...(groupKey !== undefined && { groupKey }),
              ...(queue !== undefined && { queue }),
            })
          })
          const parts = submissionsOf('openpbs', specs, {}, arraySize)
          const names = parts.map(({ members }) => members.map(({ name }) => name))
          expect(names.flat()).to.have.members([...keys.keys()])
          for (const [at, part] of names.entries()) {
            expect(new Set(part.map((name) => keys.get(name)))).to.have.property('size', 1)
            expect(parts[at]).to.have.property('array', part.length > 1)
            expect(part.length).to.be.at.most(arraySize)
          }
          const sizes = new Map<string | undefined, number>()
          for (const key of keys.values()) sizes.set(key, (sizes.get(key) ?? 0) + 1)
          const fewest = [...sizes.values()].reduce((sum, size) => sum + Math.ceil(size / arraySize), 0)
          expect(parts).to.have.length(fewest)
        }),
        { numRuns: 200 },
      )
    })

    it('have at least two elements: one alone is a job', () => {
      const sizes = submissionsOf('openpbs', alike(5), {}, 2).map(({ array, members }) => [
        array,
        members.length,
      ])
      expect(sizes).to.deep.equal([
        [true, 2],
        [true, 2],
        [false, 1],
      ])
      expect(submissionsOf('openpbs', alike(3), {}, 1).map(({ array }) => array)).to.deep.equal([
        false,
        false,
        false,
      ])
    })

    it('count from 0, with a throttle, in the words of each', () => {
      const throttled = { arrayThrottle: 2 }
      for (const [flavour, flag, rerunnable] of [
        ['openpbs', '-J', 'y'],
        ['torque', '-t', 'n'],
      ] as const) {
        const [plain] = submissionsOf(flavour, alike(3))
        const [slow] = submissionsOf(flavour, alike(3), throttled)
        expect(valuesOf(plain?.command.argv ?? [], flag)).to.deep.equal(['0-2'])
        expect(valuesOf(slow?.command.argv ?? [], flag)).to.deep.equal(['0-2%2'])
        // OpenPBS: "cannot submit non-rerunable Array Job".
        expect(valuesOf(plain?.command.argv ?? [], '-r')).to.deep.equal([rerunnable])
      }
    })

    it('have a name of their own, which their table has too', () => {
      const [one, other] = submissionsOf('openpbs', alike(4), {}, 2)
      expect(one?.name).to.match(/^ow-arr-mwvnhj3w-[0-9a-z]+$/)
      expect(one?.name).not.to.equal(other?.name)
      expect(one?.files.map(({ path }) => path)).to.deep.equal([
        `${submitContext.stateFolder}/${one?.name}.sh`,
      ])
      expect(valuesOf(one?.command.argv ?? [], '-N')).to.deep.equal([shortName(one?.name ?? '')])
    })

    it('keep messages of each element apart on OpenPBS, and none on Torque', () => {
      const output = (flavour: Flavour) =>
        valuesOf(submissionsOf(flavour, alike(2), { messages: true })[0]?.command.argv ?? [], '-o')[0]
      expect(output('openpbs')).to.match(/^\/data\/\.orbweaver-pbs\/ow-arr-.*\.\^array_index\^\.log$/)
      expect(output('torque')).to.equal('/dev/null')
    })
  })

  describe('answers', () => {
    const read = (more: Parameters<typeof replyOf>[0], array = false) =>
      readQsub(replyOf(more), { array, members: array ? [spec('a'), spec('b')] : [spec('a')] })

    it('have the id in a line of its own, below whatever a site prints', () => {
      for (const stdout of [
        '123.pbs01\n',
        '\n   *** 3 nodes are down ***\nBalance of project 42: 77.5\n\n123.pbs01\n  \n',
        '123.pbs01\r\n',
      ])
        expect(read({ stdout })).to.deep.equal({ kind: 'accepted', ids: ['123.pbs01'] })
      expect(read({ stdout: '0.pbs02.cluster.example\n' })).to.have.property('kind', 'accepted')
    })

    it('of an array give an id to each element, and no id of a job fits an array', () => {
      expect(read({ stdout: '7[].pbs01\n' }, true)).to.deep.equal({
        kind: 'accepted',
        ids: ['7[0].pbs01', '7[1].pbs01'],
      })
      expect(read({ stdout: '7.pbs01\n' }, true)).to.have.property('kind', 'unreadable')
      expect(read({ stdout: '7[].pbs01\n' })).to.have.property('kind', 'unreadable')
    })

    it('without an id are no answer', () => {
      expect(read({ stdout: 'Welcome\n' })).to.have.property('kind', 'unreadable')
      expect(read({})).to.have.property('kind', 'unreadable')
      expect(
        readQsub(
          { exitCode: undefined, signal: 'SIGKILL', stdout: '', stderr: '' },
          { array: false, members: [spec('a')] },
        ),
      ).to.have.property('kind', 'unavailable')
    })
  })

  describe('refusals', () => {
    /** As OpenPBS 23.06 and Torque 7.0 say them; their exit codes differ. */
    const SEEN: readonly (readonly [stderr: string, kind: string, rule?: string])[] = [
      ['qsub: Unknown queue', 'refused', 'queue'],
      ['qsub: submit error (Unknown queue MSG=requested queue not found)', 'refused', 'queue'],
      ['qsub: Queue is not enabled', 'refused', 'queue'],
      [
        'qsub: submit error (Queue is not enabled MSG=queue is disabled: user alice@pbs02.cluster.example, queue closed)',
        'refused',
        'queue',
      ],
      ['qsub: Illegal attribute or resource value Resource_List.walltime', 'refused', 'resource'],
      [
        'qsub: submit error (Illegal attribute or resource value for Resource_List.walltime)',
        'refused',
        'resource',
      ],
      ['qsub: Unknown resource Resource_List.nosuch', 'refused', 'resource'],
      ['qsub: Unknown resource: bogus', 'refused', 'resource'],
      ['qsub: submit error (Unknown resource type  Resource_List.nosuch)', 'refused', 'resource'],
      ['qsub: Job violates queue and/or server resource limits', 'refused', 'limits of the queue'],
      [
        'qsub: submit error (Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement)',
        'refused',
        'limits of the queue',
      ],
      [
        'qsub: submit error (Job exceeds queue resource limits MSG=cannot locate feasible nodes (nodes file is empty, all systems are busy, or no nodes have the requested feature))',
        'refused',
        'limits of the queue',
      ],
      [
        "qsub: invalid option -- '-'\nusage: qsub [-a date_time] [-A account_string]",
        'refused',
        'options of qsub',
      ],
      ['[a single - is not a valid option]\n\nusage: qsub [-a date_time]', 'refused', 'options of qsub'],
      ['qsub: illegal -N value\nusage: qsub [-a date_time] [-A account_string]', 'refused', 'name'],
      ['[qsub: illegal -N value]\n\nusage: qsub [-a date_time]', 'refused', 'name'],
      ['qsub: Bad UID for job execution', 'refused', 'account that submits'],
      ['qsub can not be run as root', 'refused', 'account that submits'],
      ['qsub: Unauthorized Request ', 'refused', 'permission'],
      ['qsub: Access to queue is denied', 'refused', 'permission'],
      ['qsub: Invalid Account', 'refused', 'account'],
      ['qsub: your project has no hours left', 'refused', 'rule of the site'],
      ['qsub: Maximum number of jobs already in queue', 'later'],
      ['qsub: Maximum number of jobs for user alice already in queue workq', 'later'],
      ["qsub: would exceed queue workq's per-user limit", 'later'],
      ["qsub: would exceed complex's per-project limit", 'later'],
      ['Connection refused\nqsub: cannot connect to server pbs01 (errno=15010)', 'unavailable'],
      [
        "\nUnable to communicate with pbs02(10.99.0.2)\nCannot connect to specified server host 'pbs02'.\nqsub: cannot connect to server pbs02 (errno=111) Connection refused",
        'unavailable',
      ],
      ['qsub: Request not allowed: Server shutting down', 'unavailable'],
      ['Segmentation fault', 'unreadable'],
    ]
    for (const [stderr, kind, rule] of SEEN)
      it(`${kind}${rule === undefined ? '' : ` (${rule})`}: ${stderr.replaceAll('\n', ' ').slice(0, 70)}`, () => {
        const reading = readQsub(replyOf({ exitCode: 170, stderr: `${stderr}\n` }), {
          array: false,
          members: [spec('a')],
        })
        expect(reading.kind).to.equal(kind)
        if (reading.kind === 'refused') expect(reading.rule).to.equal(rule)
      })

    it('of arrays that are too large lead to smaller ones', () => {
      for (const stderr of [
        'qsub: Array job exceeds server or queue size limit\n',
        'qsub: submit error (Bad Job Array Request MSG=Requested array size too large, limit is 1000)\n',
      ]) {
        const reply = replyOf({ exitCode: 3, stderr })
        const kind = (array: boolean) => readQsub(reply, { array, members: [spec('a'), spec('b')] }).kind
        expect([kind(true), kind(false)]).to.deep.equal(['too-large', 'refused'])
      }
    })
  })

  describe('before PBS is asked', () => {
    const limits = { maxCpus: 8, maxWalltimeSeconds: 3600, source: { maxCpus: 'the largest node' } }
    const refused = (more: Partial<JobSpec>, site: Partial<PbsConfig> = {}) =>
      refusalOf(spec('a', more), limits, config(site))

    it('refuses what can never run, with the rule', () => {
      expect(refused({ requirements: { ...requirements, walltimeSeconds: 60, cpus: 9 } })).to.deep.equal({
        rule: 'the largest node',
        message: 'asks for 9 cpus; the most is 8',
      })
      expect(refused({ requirements: { ...requirements, walltimeSeconds: 60 } })).to.equal(undefined)
      // Of another queue the limits are not known.
      expect(refused({ queue: 'long', requirements })).to.equal(undefined)
      expect(refused({ queue: 'long', requirements }, { queue: 'long' })).to.have.property('rule')
    })

    it('refuses options that would break names, outputs, arrays and environment', () => {
      for (const option of [
        '-N',
        '-Nx',
        '-J0-1',
        '-t1',
        '-o/x',
        '-V',
        '-vA=1',
        '-I',
        '--',
        '-Wblock=true',
        'x',
        '-lx\n',
      ])
        expect(refused({ nativeOptions: [option] }), option).to.have.property('rule', 'options of qsub')
      for (const option of ['-lsoftware=fsl', '-p10', '-a202611251200', '-Wgroup_list=lab'])
        expect(refused({ nativeOptions: [option] }), option).to.equal(undefined)
      expect(pbsConfig.safeParse({ qsubOptions: ['-V'] }).success).to.equal(false)
    })

    it('refuses what no program can be given', () => {
      expect(refused({ command: ['a\0b'] })).to.have.property('rule', 'command')
      expect(refused({ environment: { 'A B': '1' } })).to.have.property('rule', 'environment')
    })
  })
})
