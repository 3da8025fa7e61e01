/** Every state, flag and reason of Slurm that is known, in both spellings, and what is made of words that are not. */

import { expect } from 'chai'
import { readNative, readReason, readState } from '#src/states.js'

describe('states of Slurm', () => {
  const STATES: readonly (readonly [long: string, compact: string | undefined, meaning: string])[] = [
    ['PENDING', 'PD', 'queued'],
    ['RUNNING', 'R', 'running'],
    ['SUSPENDED', 'S', 'suspended'],
    ['COMPLETED', 'CD', 'finished succeeded'],
    ['CANCELLED', 'CA', 'finished cancelled'],
    ['CANCELLED by 1002', undefined, 'finished cancelled'],
    ['FAILED', 'F', 'finished failed'],
    ['TIMEOUT', 'TO', 'finished timeout'],
    ['NODE_FAIL', 'NF', 'finished node-fail'],
    ['PREEMPTED', 'PR', 'finished preempted'],
    ['BOOT_FAIL', 'BF', 'finished launch-failed'],
    ['DEADLINE', 'DL', 'finished deadline'],
    ['OUT_OF_MEMORY', 'OOM', 'finished out-of-memory'],
    ['CONFIGURING', 'CF', 'starting'],
    ['POWER_UP_NODE', undefined, 'starting'],
    ['COMPLETING', 'CG', 'finishing'],
    ['STAGE_OUT', 'SO', 'finishing'],
    ['RESIZING', 'RS', 'running'],
    ['SIGNALING', 'SI', 'running'],
    ['STOPPED', 'ST', 'suspended'],
    ['REQUEUED', 'RQ', 'queued'],
    ['REQUEUE_FED', 'RF', 'queued'],
    ['EXPEDITING', undefined, 'queued'],
    ['REQUEUE_HOLD', 'RH', 'held requeue'],
    ['SPECIAL_EXIT', 'SE', 'held requeue'],
    ['RESV_DEL_HOLD', 'RD', 'held admin'],
    ['REVOKED', 'RV', 'finished revoked'],
  ]
  const said = (word: string | readonly string[]): string => {
    const { phase, outcome, heldBy } = readState(word).meaning
    return [phase, outcome, heldBy].filter((part) => part !== undefined).join(' ')
  }
  for (const [long, compact, meaning] of STATES) {
    it(`${long}${compact === undefined ? '' : `, ${compact}`}: ${meaning}`, () => {
      expect(said(long)).to.equal(meaning)
      if (compact !== undefined) expect(said(compact)).to.equal(meaning)
      expect(readNative(long, undefined).native.state).to.equal(long)
    })
  }

  for (const flag of ['LAUNCH_FAILED', 'RECONFIG_FAIL', 'UPDATE_DB']) {
    it(`${flag} leaves the base state as it is`, () => {
      expect(said(['RUNNING', flag])).to.equal('running')
      expect(said(['FAILED', flag])).to.equal('finished failed')
    })
  }

  it('a flag wins over the base state, in any order', () => {
    expect(said(['COMPLETED', 'COMPLETING'])).to.equal('finishing')
    expect(said(['REQUEUE_HOLD', 'PENDING'])).to.equal('held requeue')
  })

  for (const word of [
    '',
    '?',
    'SOMETHING_NEW',
    'COMPLETED+',
    'completed',
    'constructor',
    '__proto__',
    '2047',
  ]) {
    it(`${word === '' ? 'nothing' : word} is unknown, and the word is kept`, () => {
      expect(said(word)).to.equal('unknown')
      expect(readNative(word, 'None').native.state).to.equal(word)
    })
  }

  it('an unknown word beside a known one is unknown', () => {
    expect(said(['COMPLETED', 'SOMETHING_NEW'])).to.equal('unknown')
  })
})

describe('reasons of Slurm', () => {
  const REASONS: readonly (readonly [reason: string, meaning: string])[] = [
    ['None', ''],
    ['', ''],
    ['(null)', ''],
    ['Priority', 'priority'],
    ['Resources', 'resources'],
    ['Dependency', 'dependency'],
    ['DependencyNeverSatisfied', 'dependency never'],
    ['DependencyNeverSatis', 'dependency never'],
    ['BeginTime', 'begin-time'],
    ['Cleaning', 'begin-time'],
    ['JobArrayTaskLimit', 'array-throttle'],
    ['JobHeldUser', 'held user'],
    ['JobHeldAdmin', 'held admin'],
    ['JobHoldMaxRequeue', 'held requeue'],
    ['launch failed requeued held', 'held requeue'],
    ['job requeued in held state', 'held requeue'],
    ['ReservationDeleted', 'held requeue'],
    ['PartitionTimeLimit', 'limit never'],
    ['PartitionNodeLimit', 'limit never'],
    ['BadConstraints', 'limit never'],
    ['AccountNotAllowed', 'limit never'],
    ['QOSNotAllowed', 'limit never'],
    ['InvalidQOS', 'limit never'],
    ['InvalidAccount', 'limit never'],
    ['AssocGrpCpuLimit', 'limit'],
    ['AssocMaxJobsLimit', 'limit'],
    ['AssociationJobLimit', 'limit'],
    ['AccountingPolicy', 'limit'],
    ['QOSMaxJobsPerUserLimit', 'limit'],
    ['QOSGrpGRES', 'limit'],
    ['QOSResourceLimit', 'limit'],
    ['MaxCpuPerAccount', 'limit'],
    ['MaxMemPerLimit', 'limit'],
    ['GrpTRESRunMins', 'limit'],
    ['PartitionDown', 'partition-down'],
    ['PartitionInactive', 'partition-down'],
    ['NodeDown', 'partition-down'],
    ['FrontEndDown', 'partition-down'],
    ['ReqNodeNotAvail, UnavailableNodes:node[1-3]', 'partition-down'],
    ['ReqNodeNotAvail,_UnavailableNodes:node1', 'partition-down'],
    [
      'Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions',
      'partition-down',
    ],
    ['Licenses', 'licence'],
    ['Reservation', 'reservation'],
    ['BurstBufferResources', 'other'],
    ['BurstBufferStageIn', 'other'],
    ['BurstBufferStageOut', 'other'],
    ['Prolog', 'other'],
    ['SomethingNew', 'other'],
  ]
  for (const [reason, meaning] of REASONS) {
    it(`${reason === '' ? 'nothing' : reason}: ${meaning === '' ? 'nothing is said' : meaning}`, () => {
      for (const text of reason.startsWith('(') ? [reason] : [reason, `(${reason})`]) {
        const { waitingOn, heldBy, willNeverRun } = readReason(text)
        const parts = [
          heldBy === undefined ? waitingOn : `held ${heldBy}`,
          willNeverRun === true ? 'never' : '',
        ]
        expect(parts.filter(Boolean).join(' ')).to.equal(meaning)
      }
    })
  }

  it('a reason says something of jobs that wait only', () => {
    expect(readNative('RUNNING', 'JobHeldUser')).to.not.have.any.keys('heldBy', 'waitingOn')
    expect(readNative('COMPLETED', 'PartitionTimeLimit')).to.not.have.property('willNeverRun')
  })

  it('a job that is cancelled for its dependency has failed by that', () => {
    expect(readNative('CANCELLED', 'DependencyNeverSatisfied').outcome).to.equal('dependency-failed')
    expect(readNative('CANCELLED', 'Dependency').outcome).to.equal('cancelled')
  })
})
