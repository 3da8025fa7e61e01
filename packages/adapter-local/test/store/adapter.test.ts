import { expect } from 'chai'
import { Container } from 'inversify'
import { DATA_STORE } from '@orbweaver/core'
import adapters, { folderAdapter } from '@orbweaver/adapter-local'
import { makeLab, type Lab } from './helpers.js'

describe('folder adapter', () => {
  let lab: Lab
  beforeEach(async () => {
    lab = await makeLab()
  })
  afterEach(() => lab.dispose())

  it('is one of the adapters of the package', () => {
    expect(adapters).to.include(folderAdapter)
    expect(folderAdapter).to.include({ kind: 'data-store', name: 'folder' })
  })

  it('binds a store on a path relative to the site file, and closes it with the container', async () => {
    const container = new Container()
    const config = folderAdapter.configSchema.parse({ path: './archive' })
    expect(config).to.deep.equal({ path: './archive', words: 'dax' })
    const context = {
      siteDirectory: lab.folder,
      stateDirectory: lab.folder,
      workRoot: lab.folder,
      site: 'test',
    }
    container.load(folderAdapter.module(config, context))
    const store = container.get(DATA_STORE)
    expect(await store.projects()).to.deep.equal(['P'])
    expect(container.get(DATA_STORE)).to.equal(store)
    await container.unbindAllAsync()
    expect(await store.projects().catch((error: unknown) => error)).to.be.instanceOf(TypeError)
  })

  it('refuses options it does not know', () => {
    const { configSchema } = folderAdapter
    expect(configSchema.safeParse({ path: 'x', wrods: 'dax' }).success).to.equal(false)
    expect(configSchema.safeParse({ path: 'x', words: 'klingon' }).success).to.equal(false)
    expect(configSchema.safeParse({ path: '' }).success).to.equal(false)
  })
})
