import { expect } from 'chai'
import {
  ConflictError,
  systemClock,
  type AssessorChange,
  type AssessorNode,
  type DataStore,
  type TaskRecord,
} from '@orbweaver/core'
import { InMemoryStore, seedMany } from '@orbweaver/core/testing'
import { Records } from '#src/engine/records.js'

const ref = { project: 'P', subject: 'S0001', session: 'S0001_MR1', assessor: 'P-x-S-x-E-x-p_v1-x-0123abcd' }
const record: TaskRecord = {
  schema: 1,
  label: ref.assessor,
  procType: 'p_v1',
  procVersion: '1.0.0',
  target: ref,
  inputs: [],
  params: {},
  state: 'queued',
  reason: '',
  attempt: 1,
  failures: {},
  createdAtMs: 0,
  updatedAtMs: 0,
}

/** A store of which the next updates fail so. */
function failing(store: InMemoryStore, errors: Error[]): DataStore {
  const other = store.second()
  return Object.assign(other, {
    async updateAssessor(...args: Parameters<DataStore['updateAssessor']>): Promise<AssessorNode> {
      const error = errors.shift()
      if (error !== undefined) throw error
      return await store.updateAssessor(...args)
    },
  })
}

describe('records', () => {
  let store: InMemoryStore
  beforeEach(async () => {
    store = new InMemoryStore({ projects: [seedMany('P', 1)] })
    await store.createAssessor(ref, { procType: 'p_v1', procVersion: '1.0.0', scans: [], record })
  })
  const change = (now: TaskRecord): AssessorChange['record'] => ({ ...now, state: 'running' })

  it('are written in spite of a conflict, and tell of an engine that wrote over them', async () => {
    const told: string[] = []
    const errors = [
      new ConflictError('changed'),
      new ConflictError('written over', { details: { overwritten: true } }),
    ]
    const records = new Records(failing(store, errors), systemClock, ({ message }) => told.push(message))
    const written = await records.write(ref, change)
    expect(written?.state).to.equal('running')
    expect((await store.readAssessor(ref)).record?.state).to.equal('running')
    expect(told).to.deep.equal(['written over'])
  })

  it('give up after several conflicts', async () => {
    const errors = Array.from({ length: 20 }, () => new ConflictError('changed'))
    const records = new Records(failing(store, errors), systemClock)
    const error = await records.write(ref, change).catch((caught: unknown) => caught)
    expect(error).to.be.instanceOf(ConflictError)
    expect(errors.length).to.be.greaterThan(10)
  })
})
