import { expect } from 'chai'
import { jobId } from '@orbweaver/core'
import { slurmDialect } from '@orbweaver/adapter-slurm'
import { readSubmit, refusal } from '#src/submit.js'
import { config, context, reply, spec } from './specs.js'

const refused = (stderr: string, exitCode = 1, array = false) =>
  readSubmit(reply({ exitCode, stderr }), { array, members: array ? [spec('a'), spec('b')] : [spec('a')] })
const failed = (text: string) => `sbatch: error: Batch job submission failed: ${text}`

describe('submit', () => {
  describe('groups', () => {
    const counts = (specs: Parameters<ReturnType<typeof slurmDialect>['group']>[0], arraySize = 1000) =>
      slurmDialect(config())
        .group(specs, context({ arraySize }))
        .map(({ members }) => members.map(({ name }) => name))

    it('makes arrays of jobs with one key and one set of requests, each job once', () => {
      const more = { groupKey: 'k' }
      const large = { ...more, requirements: { ...spec('x').requirements, cpus: 4 } }
      const specs = [
        spec('a', more),
        spec('b', large),
        spec('c', more),
        spec('d'),
        spec('e', large),
        spec('f', { ...more, queue: 'other' }),
        spec('g', { groupKey: 'l' }),
      ]
      expect(counts(specs)).to.deep.equal([['a', 'c'], ['b', 'e'], ['d'], ['f'], ['g']])
    })

    it('cuts arrays to the size that the site takes, and makes none where there are none', () => {
      const specs = ['a', 'b', 'c', 'd', 'e'].map((name) => spec(name, { groupKey: 'k' }))
      expect(counts(specs, 2)).to.deep.equal([['a', 'b'], ['c', 'd'], ['e']])
      expect(counts(specs, 1).every(({ length }) => length === 1)).to.equal(true)
    })

    it('names every array differently, with its age', () => {
      const specs = ['a', 'b', 'c', 'd'].map((name) => spec(name, { groupKey: 'k' }))
      const names = slurmDialect(config())
        .group(specs, context({ arraySize: 2 }))
        .map(({ name }) => name)
      expect(new Set(names).size).to.equal(2)
      for (const name of names) expect(name).to.match(/^ow-arr-mwvnhj3w-[0-9a-z]+$/)
    })
  })

  describe('words', () => {
    const wordsOf = (specMore = {}, configMore = {}) => {
      const [submission] = slurmDialect(config(configMore)).group([spec('ow-1', specMore)], context())
      return submission?.command.argv ?? []
    }

    it('asks for what the job needs, in whole minutes and mebibytes', () => {
      const requirements = {
        cpus: 4,
        gpus: 2,
        memoryBytes: 1024 ** 3 + 1,
        walltimeSeconds: 90_001,
        scratchBytes: 0,
      }
      expect(wordsOf({ requirements })).to.include.members([
        'sbatch',
        '--parsable',
        '--export=ALL',
        '--job-name=ow-1',
        '--cpus-per-task=4',
        '--nodes=1',
        '--ntasks-per-node=1',
        '--mem=1025M',
        '--time=1-01:01:00',
        '--gres=gpu:2',
        '--no-requeue',
        '--output=/work/ow-1/log/stderr.txt',
        '--open-mode=append',
      ])
    })

    it('says what the site file says, each option in one word', () => {
      const words = wordsOf(
        {},
        {
          partition: 'long',
          account: 'cci',
          qos: 'high',
          constraint: 'a&b',
          reservation: 'r',
          licenses: 'matlab:1',
          nodes: 2,
          exclusive: true,
          begin: 'now+1hour',
          nice: 5,
          mail: ['END', 'FAIL'],
          mailUser: 'a@b.c',
          requeue: true,
          warn: 300,
          sbatchOptions: ['--tmp=20G'],
          cluster: 'c2',
          bin: '/opt/slurm/bin/',
        },
      )
      expect(words).to.include.members([
        '/opt/slurm/bin/sbatch',
        '--clusters=c2',
        '--partition=long',
        '--account=cci',
        '--qos=high',
        '--constraint=a&b',
        '--reservation=r',
        '--licenses=matlab:1',
        '--nodes=2',
        '--exclusive',
        '--begin=now+1hour',
        '--nice=5',
        '--mail-type=END,FAIL',
        '--mail-user=a@b.c',
        '--requeue',
        '--signal=B:USR1@300',
        '--tmp=20G',
      ])
      expect(words).to.not.include('--no-requeue')
    })

    it('lets the job’s own queue, account, warning and options win', () => {
      const words = wordsOf(
        { queue: 'short', account: 'mine', warnSeconds: 60, nativeOptions: ['--tmp=1G'] },
        { partition: 'long', account: 'cci', warn: 300, sbatchOptions: ['--tmp=20G'] },
      )
      expect(words).to.include.members(['--partition=short', '--account=mine', '--signal=B:USR1@60'])
      expect(words.at(-2)).to.equal('--tmp=1G') // after those of the site; Slurm takes the last
    })

    it('gives Slurm no path in which it would read a pattern', () => {
      for (const stderrPath of ['/work/%j/err', '/work/a b/err', '/work/back\\slash', `/${'x'.repeat(2000)}`])
        expect(wordsOf({ stderrPath })).to.include('--output=/dev/null')
    })

    it('limits how many elements of an array run at once', () => {
      const specs = ['a', 'b', 'c'].map((name) => spec(name, { groupKey: 'k' }))
      const [submission] = slurmDialect(config({ arrayThrottle: 2 })).group(specs, context())
      expect(submission?.command.argv).to.include('--array=0-2%2')
    })
  })

  describe('answers', () => {
    it('reads ids of jobs and of the elements of an array', () => {
      const members = [spec('a'), spec('b')]
      expect(
        readSubmit(reply({ stdout: 'Welcome 2026!\n\n75168975;cluster\n' }), {
          array: false,
          members: [spec('a')],
        }),
      ).to.deep.equal({ kind: 'accepted', ids: ['75168975'] })
      expect(readSubmit(reply({ stdout: '20\n' }), { array: true, members })).to.deep.equal({
        kind: 'accepted',
        ids: ['20_0', '20_1'],
      })
    })

    it('does not make an id of other numbers', () => {
      for (const stdout of ['', 'Stampede3', 'Something else 10', 'quota 12 GB', '0', '99999999999', '12x'])
        expect(readSubmit(reply({ stdout }), { array: false, members: [spec('a')] }).kind, stdout).to.equal(
          'unreadable',
        )
    })

    const RULES: readonly (readonly [string, string])[] = [
      [
        'sbatch: error: invalid partition specified: nosuch\n' + failed('Invalid partition name specified'),
        'partition',
      ],
      [failed('Invalid account or account/partition combination specified'), 'account'],
      [failed('Invalid qos specification'), 'QOS'],
      [
        'sbatch: error: Memory specification can not be satisfied\n' +
          failed('Requested node configuration is not available'),
        'memory of the nodes',
      ],
      [
        'sbatch: error: CPU count per node can not be satisfied\n' +
          failed('Requested node configuration is not available'),
        'cpus of the nodes',
      ],
      [failed('Requested node configuration is not available'), 'size of the nodes'],
      [failed('Requested time limit is invalid (missing or exceeds some limit)'), 'walltime'],
      [failed('Requested reservation is invalid'), 'reservation'],
      [failed('Invalid feature specification'), 'constraint'],
      ['sbatch: error: Invalid generic resource (gres) specification', 'gpus'],
      [failed('Job dependency problem'), 'dependency'],
      [
        'sbatch: unrecognized option \'--nosuchoption\'\nTry "sbatch --help" for more information',
        'options of sbatch',
      ],
      [failed("User's group not permitted to use this partition"), 'permission'],
      [
        'sbatch: error: QOSMaxWallDurationPerJobLimit\n' +
          failed("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"),
        'limit of one job of the account or QOS',
      ],
      [
        'sbatch: error: please name your project with --wckey\n' + failed('Unspecified error'),
        'rule of the site',
      ],
      ['sbatch: error: lab rule 7: no jobs on Sundays', 'rule of the site'],
    ]
    for (const [stderr, rule] of RULES)
      it(`refuses for good, and names the rule: ${rule}`, () => {
        const reading = refused(stderr)
        expect(reading).to.include({ kind: 'refused', rule })
        expect(reading)
          .to.have.property('message')
          .that.does.not.match(/sbatch: error/)
      })

    for (const text of [
      'sbatch: error: AssocMaxSubmitJobLimit\n' +
        failed("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"),
      'sbatch: error: QOSMaxSubmitJobPerUserLimit\n' +
        failed("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"),
      failed("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"),
      'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n' +
        failed('Resource temporarily unavailable'),
      failed('Required partition not available (inactive or drain)'),
    ])
      it(`waits: ${text.split('\n')[0]}`, () => {
        expect(refused(text).kind).to.equal('later')
      })

    for (const text of [
      failed('Unable to contact slurm controller (connect failure)'),
      failed('Socket timed out on send/recv operation'),
      failed('Zero Bytes were transmitted or received'),
      'sbatch: error: If munged is up, restart with --num-threads=10\nsbatch: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2"\n' +
        failed('Protocol authentication error'),
      failed('Invalid authentication credential'),
    ])
      it(`knows nothing: ${text.split('\n').at(-1)}`, () => {
        expect(refused(text).kind).to.equal('unavailable')
      })

    it('tells a too large array from other refusals', () => {
      expect(refused(failed('Invalid job array specification'), 1, true).kind).to.equal('too-large')
    })

    it('knows nothing when sbatch was ended, and cannot read an end without a word', () => {
      expect(
        readSubmit(reply({ exitCode: undefined, signal: 'SIGKILL' }), { array: false, members: [] }).kind,
      ).to.equal('unavailable')
      expect(refused('', 1).kind).to.equal('unreadable')
      expect(refused('slurm: something new', 1).kind).to.equal('unreadable')
    })
  })

  describe('refusals before Slurm is asked', () => {
    const limits = {
      maxCpus: 8,
      maxMemoryBytes: 1024 ** 3,
      maxWalltimeSeconds: 3600,
      maxGpus: 1,
      source: { maxCpus: 'largest node of partition main', maxWalltimeSeconds: 'partition main (MaxTime)' },
    }
    const asking = (more: object) =>
      spec('a', {
        requirements: { cpus: 1, gpus: 0, memoryBytes: 1, walltimeSeconds: 60, scratchBytes: 0, ...more },
      })

    it('name the rule of the site', () => {
      expect(refusal(asking({ walltimeSeconds: 3601 }), limits, config())).to.deep.equal({
        rule: 'partition main (MaxTime)',
        message: 'asks for 3601 seconds of walltime; at most 3600 are given',
      })
      expect(refusal(asking({ cpus: 9 }), limits, config())?.rule).to.equal('largest node of partition main')
      expect(refusal(asking({}), limits, config())).to.equal(undefined)
    })

    it('leave a job to Slurm that goes to another partition', () => {
      expect(
        refusal({ ...asking({ cpus: 9 }), queue: 'big' }, limits, config({ partition: 'main' })),
      ).to.equal(undefined)
      expect(
        refusal({ ...asking({ cpus: 9 }), queue: 'main' }, limits, config({ partition: 'main' })),
      ).to.not.equal(undefined)
    })

    it('keep from Slurm what would break the job', () => {
      for (const bad of [
        spec('a', { nativeOptions: ['--array=0-5'] }),
        spec('a', { nativeOptions: ['-J', 'other'] }),
        spec('a', { nativeOptions: ['rm -rf'] }),
        spec('a', { command: ['echo', 'a\0b'] }),
        spec('a', { environment: { 'A B': 'c' } }),
        spec('a', { command: ['echo', 'x'.repeat(5_000_000)] }),
      ])
        expect(refusal(bad, limits, config())).to.have.property('rule')
    })
  })

  it('cancels in few words, and reads what scancel says job by job', () => {
    const dialect = slurmDialect(config())
    const ids = ['7', '20_0', '20_1', '20_2', '20_7', '8'].map(jobId)
    expect(dialect.control('cancel', ids).argv).to.deep.equal(['scancel', '7', '8', '20_[0-2,7]'])
    expect(dialect.control('hold', ids.slice(0, 3)).argv).to.deep.equal(['scontrol', 'hold', '7,20_[0-1]'])
    const read = (stderr: string, exitCode: number) =>
      dialect.readControl(reply({ stderr, exitCode }), 'cancel').kind
    expect(read('', 0)).to.equal('answer')
    expect(read('scancel: error: Kill job error on job id 1: Invalid job id specified', 1)).to.equal('answer')
    expect(
      read('scancel: error: Kill job error on job id 1: Job/step already completing or completed', 0),
    ).to.equal('answer')
    expect(read('scancel: error: Kill job error on job id 1: Access/permission denied', 0)).to.equal('denied')
    expect(
      read(
        'scancel: error: Kill job error on job id 1: Unable to contact slurm controller (connect failure)',
        8,
      ),
    ).to.equal('unavailable')
    expect(read('', 1)).to.equal('unreadable')
  })
})
