import { expect } from 'chai'
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ASSESSOR, PDF, init, makeLab, memorySource, type Lab } from './helpers.js'
import { skipTest } from '@orbweaver/core/testing'

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('./mounted-child.js', import.meta.url))
/** `sh -c SCRIPT sh FOLDER NODE CHILD ARCHIVE MODE`: mounts, then becomes the child. The mount goes with the process. */
const READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" "$3" "$4" "$5"'
const SMALL = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" "$3" "$4" "$5"'

async function canMount(): Promise<boolean> {
  try {
    await run('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt'])
    return true
  } catch (error) {
    if (error instanceof Error) return false
    throw error
  }
}

describe('folder archive on a file system that takes nothing', function () {
  this.timeout(30_000)
  let lab: Lab
  before(async function () {
    if (!(await canMount())) skipTest(this, 'no file system may be mounted here')
  })
  beforeEach(async () => {
    lab = await makeLab()
  })
  afterEach(() => lab.dispose())

  const inMount = async (script: string, folder: string, archive: string, mode: string): Promise<unknown> => {
    const { stdout } = await run('unshare', [
      '-rm',
      'sh',
      '-c',
      script,
      'sh',
      folder,
      process.execPath,
      CHILD,
      archive,
      mode,
    ])
    return JSON.parse(stdout)
  }

  it('can be read when it is read-only, and refuses every change', async () => {
    const store = await lab.open()
    await store.createAssessor(ASSESSOR, init())
    await store.upload(PDF, memorySource({ a: 'old' }))
    await store.close()
    expect(await inMount(READ_ONLY, lab.folder, lab.archive, 'read-only')).to.deep.equal({
      projects: ['P'],
      content: { a: 'old' },
      create: 'ACCESS_DENIED',
      upload: 'ACCESS_DENIED',
      delete: 'ACCESS_DENIED',
      import: 'ACCESS_DENIED',
      feed: 'all',
      doctor: ['archive: write access: warning'],
      'new archive': 'ACCESS_DENIED',
      'files of the scan': [],
    })
  })

  it('says so when the disk is full, and keeps what it had', async () => {
    const mount = join(lab.folder, 'mount')
    mkdirSync(mount)
    expect(await inMount(SMALL, mount, join(mount, 'archive'), 'full')).to.deep.equal({
      'upload that does not fit': 'NO_SPACE',
      'import that does not fit': 'NO_SPACE',
      'old content': { a: 'old' },
      check: [],
      'filling the database': 'NO_SPACE',
      'still readable': ASSESSOR.assessor,
    })
  })
})
