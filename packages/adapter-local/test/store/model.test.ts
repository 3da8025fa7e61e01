import { expect } from 'chai'
import fc from 'fast-check'
import type { AssessorNode } from '@orbweaver/core'
import type { FolderStore } from '@orbweaver/adapter-local'
import {
  collect,
  contentOf,
  failure,
  init,
  makeLab,
  memorySource,
  taskRecord,
  type Files,
  type Lab,
} from './helpers.js'

const PARENTS = [
  { project: 'P', subject: 'S1', session: 'E1' },
  { project: 'P', subject: 'S1' },
  { project: 'P' },
] as const
const LABELS = ['A', 'B'] as const

interface ModelAssessor {
  state: string
  quality: string
  revision: string
  stale: string | undefined
  readonly resources: Map<string, Files>
}
type Model = Map<string, ModelAssessor>

const parent = fc.constantFrom(...PARENTS)
const label = fc.constantFrom(...LABELS)
const path = fc.constantFrom('a', 'b', 'd/a', 'd/e/f', 'd', 'a/x')
const files = fc.dictionary(path, fc.constantFrom('', 'one', 'two', 'three')).map((all): Files => {
  // A file cannot be a folder of another; which of the two stays does not matter here.
  const paths = Object.keys(all)
  return Object.fromEntries(
    Object.entries(all).filter(([one]) => !paths.some((other) => one.startsWith(`${other}/`))),
  )
})

const operation = fc.oneof(
  fc.record({ kind: fc.constant('create' as const), parent, label }),
  fc.record({
    kind: fc.constant('update' as const),
    parent,
    label,
    state: fc.constantFrom('queued', 'complete', 'failed'),
    quality: fc.option(fc.constantFrom('Passed', 'Failed')),
    stale: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('upload' as const),
    parent,
    label,
    resource: fc.constantFrom('R', 'T'),
    files,
  }),
  fc.record({ kind: fc.constant('delete' as const), parent, label }),
  fc.record({ kind: fc.constant('reopen' as const) }),
)
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

describe('folder archive against a model', function () {
  this.timeout(60_000)
  let lab: Lab
  let store: FolderStore
  beforeEach(async () => {
    lab = await makeLab()
    store = await lab.open()
  })
  afterEach(() => lab.dispose())

  it('does what the model does, in any order of operations', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
        const model: Model = new Map()
        for (const step of operations) await apply(step, model)
        await compare(model)
        for (const ref of PARENTS)
          for (const assessor of LABELS) await store.deleteAssessor({ ...ref, assessor })
        expect(await collect(store.check({ deep: true }))).to.deep.equal([])
      }),
      { numRuns: 30 },
    )
  })

  async function apply(step: Operation, model: Model): Promise<void> {
    if (step.kind === 'reopen') {
      await store.close()
      store = await lab.open()
      return
    }
    const ref = { ...step.parent, assessor: step.label }
    const key = JSON.stringify(ref)
    const known = model.get(key)
    switch (step.kind) {
      case 'create': {
        const { created, node } = await store.createAssessor(ref, init())
        expect(created).to.equal(known === undefined)
        if (known === undefined) {
          model.set(key, {
            state: 'ready',
            quality: '',
            revision: node.revision,
            stale: undefined,
            resources: new Map(),
          })
        }
        return
      }
      case 'update': {
        const record = taskRecord({ state: step.state as 'queued' })
        const change = { record, ...(step.quality !== null && { quality: step.quality }) }
        const revision = (step.stale ? known?.stale : known?.revision) ?? '0'
        const update = store.updateAssessor(ref, change, revision)
        if (known === undefined) expect((await failure(update)).code).to.equal('NOT_FOUND')
        else if (revision !== known.revision) expect((await failure(update)).code).to.equal('CONFLICT')
        else {
          const node = await update
          known.stale = known.revision
          known.revision = node.revision
          known.state = step.state
          known.quality = step.quality ?? known.quality
        }
        return
      }
      case 'upload': {
        const upload = store.upload({ node: ref, resource: step.resource }, memorySource(step.files))
        if (known === undefined) expect((await failure(upload)).code).to.equal('NOT_FOUND')
        else {
          await upload
          known.resources.set(step.resource, step.files)
        }
        return
      }
      case 'delete':
        await store.deleteAssessor(ref)
        model.delete(key)
    }
  }

  async function compare(model: Model): Promise<void> {
    const { project, subjects } = await store.snapshot('P')
    const [subject] = await collect(subjects)
    const found = new Map<string, AssessorNode>()
    const groups = [subject?.sessions[0]?.assessors, subject?.assessors, project.assessors]
    PARENTS.forEach((ref, index) => {
      for (const node of groups[index] ?? [])
        found.set(JSON.stringify({ ...ref, assessor: node.label }), node)
    })
    expect([...found.keys()].sort()).to.deep.equal([...model.keys()].sort())
    for (const [key, expected] of model) {
      const node = found.get(key)
      const { state, quality, revision } = expected
      expect(node).to.include({ state, quality, revision })
      expect(node?.resources.map((each) => each.label)).to.deep.equal([...expected.resources.keys()].sort())
      for (const [resource, content] of expected.resources) {
        const ref = { node: JSON.parse(key) as { project: string }, resource }
        expect(await contentOf(store, ref)).to.deep.equal(content)
        const told = node?.resources.find((each) => each.label === resource)
        expect(told?.fileCount).to.equal(Object.keys(content).length)
        expect(told?.bytes).to.equal(Object.values(content).join('').length)
      }
    }
  }
})
