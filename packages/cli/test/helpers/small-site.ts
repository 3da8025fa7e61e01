import { FolderStore } from '@orbweaver/adapter-local'
import { mkdirSync, writeFileSync } from 'node:fs'
import { foreignAdapter } from './foreign-adapter.js'
import type { Sandbox } from './cli.js'

export interface SmallSiteOptions {
  /** Sessions of the one project, each with one scan. Default 2. */
  readonly sessions?: number
  /** What the job does: a line of shell that may use `$1` (input folder) and `$2` (output folder). */
  readonly job?: string
}

const LIST = 'ls "$1" > "$2/listing.txt"; echo "listed $1" >&2; echo done'

/** A site that runs in a second: a few tiny sessions, one processor, and a cluster of somebody else's. */
export async function smallSite(sandbox: Sandbox, options: SmallSiteOptions = {}): Promise<void> {
  const { sessions = 2, job = LIST } = options
  writeFileSync(sandbox.path('lsf.mjs'), foreignAdapter())
  mkdirSync(sandbox.path('processors'))
  writeProcessor(sandbox, job)
  writeFileSync(
    sandbox.path('orbweaver.yaml'),
    `site: small
store: { use: folder, path: ./archive }
cluster: { use: ./lsf.mjs, queue: short }
workRoot: ./work
timing: { poll: 1s, grace: 5s }
projects:
  - { id: P, processors: [./processors/hello.yaml] }
profiles:
  other: { workRoot: ./other-work }
`,
  )
  mkdirSync(sandbox.path('images'))
  const images = Array.from({ length: sessions }, (_, index) => {
    const path = sandbox.path('images', `${index + 1}.txt`)
    writeFileSync(path, `not really image ${index + 1}\n`)
    return path
  })
  const store = await FolderStore.open({ path: sandbox.path('archive'), create: true })
  try {
    await store.addProject('P')
    await store.ingest(
      images.map((source, index) => ({
        project: 'P',
        subject: `S${index + 1}`,
        session: `E${index + 1}`,
        scan: { label: '1', type: 'T1w' },
        resource: 'NIFTI',
        files: [{ path: 'image.txt', source }],
      })),
    )
  } finally {
    await store.close()
  }
}

export function writeProcessor(sandbox: Sandbox, job: string): void {
  writeFileSync(
    sandbox.path('processors', 'hello.yaml'),
    `name: hello
version: 1.0.0
level: session
inputs:
  image: { scan: { type: T1w }, resource: NIFTI }
requirements: { cpus: 1, memory: 64 MiB, walltime: 5m }
command: [sh, -c, ${JSON.stringify(job)}, hello, "{inputs.image.dir}", "{outputs}"]
outputs:
  TEXT: { path: listing.txt, required: true }
`,
  )
}
