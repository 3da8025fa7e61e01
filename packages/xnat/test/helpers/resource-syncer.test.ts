import { mkdtemp, readFile, rm, symlink, unlink, writeFile, mkdir, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { ConflictError, NotFoundError } from '@orbweaver/core'
import { ResourceSyncer, type SyncResult, type XnatClient } from '@orbweaver/xnat'
import { decideFile, sameContent, type Version } from '#src/helpers/sync-plan.js'
import { XnatLab } from '../support/lab.js'

const SESSION = { project: 'P1', subject: 'S1', session: 'E1' }
const NIFTI = { node: { ...SESSION, scan: '4' }, resource: 'NIFTI' }
const IMAGE = 'scans/4/resources/NIFTI/deep/a.nii'
const NOTE = 'resources/NOTES/note.txt'

function pathsOf(entries: readonly { readonly path: string }[]): string[] {
  return entries.map(({ path }) => path).sort()
}

async function rejection(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('ResourceSyncer', () => {
  let lab: XnatLab
  let client: XnatClient
  let syncer: ResourceSyncer
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'orbweaver-sync-'))
    lab = await XnatLab.start()
    client = lab.client()
    syncer = new ResourceSyncer(client)
    await lab.seed([
      {
        label: 'P1',
        resources: { PLAN: { 'plan.txt': 'the plan' } },
        subjects: [
          {
            label: 'S1',
            resources: { FORMS: { 'form.txt': 'a form' } },
            sessions: [
              {
                label: 'E1',
                resources: { NOTES: { 'note.txt': 'a note' } },
                scans: [
                  {
                    label: '4',
                    type: 'T1w',
                    resources: { NIFTI: { 'deep/a.nii': 'image', 'b.nii': 'more' } },
                  },
                ],
              },
            ],
          },
        ],
      },
    ])
  })
  afterEach(async () => {
    await client.close()
    await lab.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const down = (options = {}): Promise<SyncResult> => syncer.syncToLocal(SESSION, folder, options)
  const up = (options = {}): Promise<SyncResult> => syncer.syncToXnat(folder, SESSION, options)
  const local = (path: string): Promise<string> => readFile(join(folder, path), 'utf8')
  const put = (path: string, text: string): Promise<unknown> =>
    client.uploadFile(NIFTI, path, text, { overwrite: true })
  const remote = async (path: string): Promise<string> => {
    const pieces: Buffer[] = []
    for await (const piece of await client.openFile(NIFTI, path)) pieces.push(piece as Buffer)
    return Buffer.concat(pieces).toString('utf8')
  }

  it('brings a session with its scans, and then finds nothing to do', async () => {
    const first = await down()
    expect(pathsOf(first.moved)).to.deep.equal([NOTE, 'scans/4/resources/NIFTI/b.nii', IMAGE])
    expect(first.movedBytes).to.equal(15)
    expect(await local(IMAGE)).to.equal('image')
    const again = await down()
    expect([again.moved, again.conflicts, again.failed]).to.deep.equal([[], [], []])
    expect(again.skipped).to.have.length(3)
  })

  it('brings a whole project, laid out as XNAT is', async () => {
    const { moved, failed } = await syncer.syncToLocal({ project: 'P1' }, folder)
    expect(failed).to.deep.equal([])
    expect(pathsOf(moved)).to.deep.equal([
      'resources/PLAN/plan.txt',
      'subjects/S1/resources/FORMS/form.txt',
      `subjects/S1/sessions/E1/${NOTE}`,
      'subjects/S1/sessions/E1/scans/4/resources/NIFTI/b.nii',
      `subjects/S1/sessions/E1/${IMAGE}`,
    ])
  })

  it('brings one scan alone', async () => {
    const { moved } = await syncer.syncToLocal(NIFTI.node, folder)
    expect(pathsOf(moved)).to.deep.equal(['resources/NIFTI/b.nii', 'resources/NIFTI/deep/a.nii'])
  })

  it('sends what is new or changed here, and leaves the rest', async () => {
    await down()
    await writeFile(join(folder, IMAGE), 'better')
    await mkdir(join(folder, 'scans/4/resources/MASK'), { recursive: true })
    await writeFile(join(folder, 'scans/4/resources/MASK/empty.txt'), '')
    const { moved, conflicts, failed } = await up()
    expect([conflicts, failed]).to.deep.equal([[], []])
    expect(pathsOf(moved)).to.deep.equal(['scans/4/resources/MASK/empty.txt', IMAGE])
    expect([await remote('deep/a.nii'), await remote('b.nii')]).to.deep.equal(['better', 'more'])
    expect((await up()).moved).to.deep.equal([])
    expect((await down()).moved).to.deep.equal([])
  })

  it('changes nothing in a dry run', async () => {
    const { moved, dryRun } = await down({ dryRun: true })
    expect([moved.length, dryRun]).to.deep.equal([3, true])
    expect(await readdir(folder)).to.deep.equal([])
    await down()
    await writeFile(join(folder, IMAGE), 'better')
    expect(pathsOf((await up({ dryRun: true })).moved)).to.deep.equal([IMAGE])
    expect(await remote('deep/a.nii')).to.equal('image')
  })

  it('reports what both sides changed, and overwrites only when told', async () => {
    await down()
    await writeFile(join(folder, IMAGE), 'mine')
    await put('deep/a.nii', 'theirs')
    for (const result of [await down(), await up()]) {
      expect(pathsOf(result.conflicts)).to.deep.equal([IMAGE])
      expect(result.moved).to.deep.equal([])
    }
    expect([await local(IMAGE), await remote('deep/a.nii')]).to.deep.equal(['mine', 'theirs'])
    expect((await down({ onConflict: 'local' })).moved).to.deep.equal([])
    expect(pathsOf((await down({ onConflict: 'remote' })).moved)).to.deep.equal([IMAGE])
    expect(await local(IMAGE)).to.equal('theirs')
    await writeFile(join(folder, IMAGE), 'mine again')
    await put('deep/a.nii', 'theirs again')
    expect(pathsOf((await up({ onConflict: 'local' })).moved)).to.deep.equal([IMAGE])
    expect(await remote('deep/a.nii')).to.equal('mine again')
  })

  it('leaves a change at the target to the other direction', async () => {
    await down()
    await writeFile(join(folder, IMAGE), 'mine')
    const { moved, conflicts } = await down()
    expect([moved, conflicts]).to.deep.equal([[], []])
    expect(await local(IMAGE)).to.equal('mine')
  })

  it('takes a folder that differs and was never synced for a conflict', async () => {
    await mkdir(join(folder, 'resources/NOTES'), { recursive: true })
    await writeFile(join(folder, NOTE), 'not the same')
    expect(pathsOf((await down()).conflicts)).to.deep.equal([NOTE])
    expect(await local(NOTE)).to.equal('not the same')
  })

  it('does not overwrite what somebody wrote after it was looked at', async () => {
    await down()
    await writeFile(join(folder, IMAGE), 'mine')
    let meanwhile: Promise<unknown> | undefined
    const files = client.files.bind(client)
    // Just after the decision, and before the upload looks again.
    client.files = async (...args) => {
      const listed = await files(...args)
      if (args[0].resource === 'NIFTI')
        meanwhile ??= lab.admin.uploadFile(NIFTI, 'deep/a.nii', 'theirs', { overwrite: true })
      await meanwhile
      return listed
    }
    const { failed, moved } = await up()
    expect(moved).to.deep.equal([])
    expect(failed.map(({ path, code }) => [path, code])).to.deep.equal([[IMAGE, 'CONFLICT']])
    expect(await remote('deep/a.nii')).to.equal('theirs')
  })

  it('goes on where an interrupted sync stopped', async () => {
    const stop = new AbortController()
    const error = await rejection(
      down({
        signal: stop.signal,
        onProgress: ({ movedFiles }: { movedFiles: number }) => movedFiles > 0 && stop.abort(),
      }),
    )
    expect((error as Error).name).to.equal('AbortError')
    const { moved, skipped } = await down()
    expect([moved.length, skipped.length]).to.deep.equal([2, 1])
  })

  it('says what failed, and brings the rest', async () => {
    lab.sandbox.setFaults({ errorRate: 1, only: /scans\/4\/resources\/NIFTI\/files/ })
    const { moved, failed } = await down()
    expect(pathsOf(moved)).to.deep.equal([NOTE])
    expect(failed.map(({ code, retryable }) => [code, retryable])).to.deep.equal([
      ['STORE_UNAVAILABLE', true],
    ])
    lab.sandbox.setFaults({})
    expect((await down()).moved).to.have.length(2)
  })

  it('finds out when XNAT said it stored something and did not', async () => {
    await down()
    await writeFile(join(folder, IMAGE), 'better')
    lab.sandbox.setFaults({ lieRate: 1 })
    const { moved, failed } = await up()
    expect([moved, failed.map(({ code }) => code)]).to.deep.equal([[], ['INTEGRITY']])
  })

  it('refuses links, and writes through none', async () => {
    await down()
    const outside = await mkdtemp(join(tmpdir(), 'orbweaver-sync-outside-'))
    try {
      await writeFile(join(outside, 'secret.txt'), 'secret')
      await symlink(join(outside, 'secret.txt'), join(folder, 'resources/NOTES/secret.txt'))
      const sent = await up()
      expect(sent.failed.map(({ path, code }) => [path, code])).to.deep.equal([
        ['resources/NOTES/secret.txt', 'INPUT_INVALID'],
      ])
      await rm(join(folder, 'scans'), { recursive: true })
      await symlink(outside, join(folder, 'scans'))
      const { failed } = await down()
      expect(pathsOf(failed)).to.deep.equal(['scans/4/resources/NIFTI/b.nii', IMAGE])
      expect(await readdir(outside)).to.deep.equal(['secret.txt'])
    } finally {
      await rm(outside, { recursive: true, force: true })
    }
  })

  it('refuses names from the server that would leave the folder', async () => {
    client.files = () =>
      Promise.resolve(
        ['../../evil', '/etc/evil', 'a/../../evil', 'a\\b', 'b.nii'].map((path) => ({
          path, bytes: 4, format: '', content: '', tags: '', uri: path,
        })), // prettier-ignore
      )
    const { moved, failed } = await syncer.syncToLocal(NIFTI.node, folder)
    expect(pathsOf(moved)).to.deep.equal(['resources/NIFTI/b.nii'])
    expect(new Set(failed.map(({ code }) => code))).to.deep.equal(new Set(['INPUT_INVALID']))
    expect(failed).to.have.length(4)
  })

  it('brings a file again that was removed here, and removes none', async () => {
    await down()
    await unlink(join(folder, IMAGE))
    expect((await up()).moved).to.deep.equal([])
    expect(await remote('deep/a.nii')).to.equal('image')
    expect(pathsOf((await down()).moved)).to.deep.equal([IMAGE])
  })

  it('refuses a folder of another place, and a place that is not there', async () => {
    await down()
    expect(await rejection(syncer.syncToLocal({ project: 'P1' }, folder))).to.be.instanceOf(ConflictError)
    const other = join(folder, 'other')
    const missing = { ...SESSION, session: 'NONE' }
    expect(await rejection(syncer.syncToLocal(missing, other))).to.be.instanceOf(NotFoundError)
  })
})

describe('what is decided for a file', () => {
  const version = fc.record({ bytes: fc.nat(3), md5: fc.constantFrom('a', 'b') })
  const side = fc.option(version, { nil: undefined })
  const same = (one: Version | undefined, other: Version | undefined): boolean =>
    one !== undefined && other !== undefined && sameContent(one, other)

  it('never loses content that the source has not seen, unless told', () => {
    fc.assert(
      fc.property(
        side,
        side,
        side,
        fc.constantFrom('toLocal', 'toXnat'),
        (local, remote, base, direction) => {
          const decision = decideFile({ local, remote, base }, direction, 'report')
          const target = direction === 'toLocal' ? local : remote
          if (decision.do === 'move') expect(target === undefined || same(target, base)).to.equal(true)
        },
      ),
    )
  })

  it('moves nothing when both sides are the same', () => {
    fc.assert(
      fc.property(version, side, fc.constantFrom('report', 'local', 'remote'), (both, base, onConflict) => {
        expect(decideFile({ local: both, remote: both, base }, 'toLocal', onConflict).do).to.equal('skip')
      }),
    )
  })
})
