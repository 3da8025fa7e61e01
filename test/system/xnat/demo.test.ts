/** The demo with an XNAT as the archive: a sandbox that it starts with jobs on this machine, and a server that is named, with jobs on a real Slurm. */

import { XnatClient, XnatCredentials } from '@orbweaver/xnat'
import { startSandbox, type Sandbox } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { slurmLabProblem, startSlurmLab, type SlurmLab } from '../../lab/slurm/slurm-lab.js'
import { skip } from '../../support/skip.js'
import { programsOf } from '../slurm/support/programs.js'
import { mustRun, runCli, type CliOptions } from '../support/cli.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
import { endJobs, jobProcesses } from '../support/processes.js'

/** What the four processors make of the sample images, and the resources of each result. */
const RESULTS: Readonly<Record<string, { readonly count: number; readonly resources: readonly string[] }>> = {
  dcm2niix_v1: { count: 4, resources: ['LOG', 'NIFTI', 'STATS'] },
  'dti-qa_v1': { count: 3, resources: ['LOG', 'MAPS', 'PDF', 'SNAPSHOTS', 'STATS'] },
  'fmri-qa_v1': { count: 3, resources: ['LOG', 'MAPS', 'PDF', 'SNAPSHOTS', 'STATS'] },
  'nifti-qa_v1': { count: 3, resources: ['LOG', 'PDF', 'SNAPSHOTS', 'STATS'] },
}

/** The sandbox that a demo left, served again where its site file says. */
class DemoServer {
  private constructor(
    readonly sandbox: Sandbox,
    readonly client: XnatClient,
  ) {}

  static async start(demo: string): Promise<DemoServer> {
    const directory = path.join(demo, 'xnat-sandbox')
    const site = fs.readFileSync(path.join(demo, 'orbweaver.yaml'), 'utf8')
    const port = /url: "http:\/\/127\.0\.0\.1:(\d+)"/.exec(site)?.[1]
    const sandbox = await startSandbox({ directory, port: Number(port) })
    const { name, password } = sandbox.users['demo'] ?? { name: 'demo', password: '' }
    const credentials = new XnatCredentials(name, password)
    return new DemoServer(sandbox, new XnatClient({ url: sandbox.url, credentials }))
  }

  /** One where `demo` is an owner of a project with nothing in it. */
  static async withEmptyProject(directory: string): Promise<DemoServer> {
    const sandbox = await startSandbox({
      directory,
      users: [{ name: 'demo', projects: { SAMPLE: 'owner' } }],
    })
    const as = (name: string): XnatClient =>
      new XnatClient({
        url: sandbox.url,
        credentials: new XnatCredentials(name, sandbox.users[name]?.password ?? ''),
      })
    const admin = as('admin')
    await admin.send({ method: 'PUT', path: '/data/projects/SAMPLE', query: { accessibility: 'private' } })
    await admin.close()
    return new DemoServer(sandbox, as('demo'))
  }

  async close(): Promise<void> {
    await this.client.close()
    await this.sandbox.close()
  }
}

async function text(
  client: XnatClient,
  address: Parameters<XnatClient['openFile']>[0],
  file: string,
): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of await client.openFile(address, file)) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

/** Every result is an assessor with DAX's words, its files and where they came from. */
async function checkResults(client: XnatClient): Promise<void> {
  const field = (name: string): string => `proc:genProcData/${name}`
  const rows = await client.allExperiments({
    xsiType: 'proc:genProcData',
    where: { project: 'SAMPLE' },
    columns: [
      'ID',
      'label',
      'session_ID',
      ...['procstatus', 'proctype', 'procversion', 'inputs', 'jobid'].map(field),
    ],
  })
  const counts: Record<string, number> = {}
  for (const row of rows) {
    const { label = '', session_id: experiment = '' } = row
    const cell = (name: string): string => row[field(name).toLowerCase()] ?? ''
    const type = cell('proctype')
    counts[type] = (counts[type] ?? 0) + 1
    expect(cell('procstatus'), label).to.equal('COMPLETE')
    expect(cell('procversion'), label).to.match(/^\d+\.\d+\.\d+$/)
    expect(cell('jobid'), label).not.to.equal('')
    const node = { experiment, assessor: label }
    const resources = await client.resources(node)
    expect(resources.map((one) => one.label).sort(), label).to.deep.equal(RESULTS[type]?.resources)
    const item = await client.item(node)
    const inputs = JSON.parse(item.fields['inputs'] ?? '') as Readonly<Record<string, unknown>>
    for (const source of Object.values(inputs).flat())
      expect(source, label).to.match(
        /^\/projects\/SAMPLE\/subjects\/[^/]+\/experiments\/[^/]+\/(scans|assessors)\//,
      )
    const log = { node, resource: 'LOG' }
    const provenance: unknown = JSON.parse((await text(client, log, 'provenance.json')).toString('utf8'))
    expect(provenance, label).to.be.an('object')
    if (RESULTS[type]?.resources.includes('PDF') !== true) continue
    expect(
      (await text(client, { node, resource: 'PDF' }, 'report.pdf')).subarray(0, 5).toString(),
      label,
    ).to.equal('%PDF-')
    const pictures = await client.files({ node, resource: 'SNAPSHOTS' })
    expect(pictures, label).to.have.length.of.at.least(1)
  }
  expect(counts).to.deep.equal(
    Object.fromEntries(Object.entries(RESULTS).map(([type, { count }]) => [type, count])),
  )
}

/** Requests that change something; a login and its end change nothing in the archive. */
function changes(sandbox: Sandbox, from = 0): readonly string[] {
  return sandbox.log
    .slice(from)
    .filter(
      ({ method, path: asked }) =>
        method !== 'GET' && method !== 'HEAD' && !asked.startsWith('/data/JSESSION'),
    )
    .map(({ method, path: asked }) => `${method} ${asked}`)
}

describe('orbweaver demo --profile xnat', function () {
  this.timeout(300_000)
  let folder: string
  let server: DemoServer | undefined

  before(() => {
    folder = scratchFolder('demo-xnat')
  })
  after(async () => {
    await server?.close()
    endJobs(folder)
    removeFolders()
  })

  const demo = (): string => path.join(folder, 'orbweaver-demo')

  it('starts a sandbox with the sample images and has every result on it', async () => {
    const { stdout, stderr } = await mustRun(['demo', '--profile', 'xnat'], { cwd: folder })
    expect(stdout).to.match(/An XNAT sandbox at http:\/\/127\.0\.0\.1:\d+/)
    expect(stdout).to.match(/Yes: \d+ files of 13 tasks read back, every byte\./)
    expect(stdout).to.match(/\/out\/resources\/PDF\/files\/report\.pdf/)
    const passwords = fs.readFileSync(path.join(demo(), 'xnat-sandbox', 'passwords.txt'), 'utf8')
    for (const line of passwords.trim().split('\n'))
      expect(stdout + stderr).not.to.include(line.split(' ')[1])
    server = await DemoServer.start(demo())
    await checkResults(server.client)
  })

  it('takes a server that is there, and a second pass changes nothing on it', async () => {
    const { stdout } = await mustRun(['demo', '--profile', 'xnat'], { cwd: folder })
    expect(stdout).to.match(/which are left as they are/)
    expect(stdout).to.match(/Nothing to do: 13 tasks are complete/)
    expect(server === undefined ? ['no server'] : changes(server.sandbox)).to.deep.equal([])
  })

  it('leaves no job behind', () => {
    expect(jobProcesses(folder)).to.deep.equal([])
  })
})

describe('orbweaver demo on a server of yours, with the jobs on Slurm', function () {
  this.timeout(300_000)
  let lab: SlurmLab | undefined
  let where: CliOptions
  let server: DemoServer | undefined

  before(async function () {
    const problem = slurmLabProblem()
    if (problem !== undefined) skip(this, problem)
    lab = await startSlurmLab({ cpus: 8 })
    const { uid, gid } = lab.account
    const folder = scratchFolder('demo-xnat-slurm')
    server = await DemoServer.withEmptyProject(scratchFolder('demo-xnat-server'))
    const demo = path.join(folder, 'orbweaver-demo')
    const file = path.join(demo, 'orbweaver.yaml')
    // The demo's own file as a user would have it after naming a server.
    await mustRun(['demo', '--profile', 'there-is-none'], { cwd: folder }).catch(() => undefined)
    const url = /url: "[^"]*"/g
    expect(fs.readFileSync(file, 'utf8')).to.match(url)
    write(file, fs.readFileSync(file, 'utf8').replace(url, `url: "${server.sandbox.url}"`))
    for (const each of [folder, demo, file]) fs.chownSync(each, uid, gid)
    const { name, password } = server.sandbox.users['demo'] ?? { name: '', password: '' }
    where = {
      cwd: folder,
      uid,
      gid,
      environment: {
        HOME: path.join(lab.directory, 'home'),
        PATH: `${programsOf(lab)}:${process.env['PATH']}`,
        XNAT_USER: name,
        XNAT_PASS: password,
      },
    }
  })
  after(async () => {
    await server?.close()
    await lab?.stop()
    removeFolders()
  })

  it('asks before it brings images in, and before it runs on those that are there', async () => {
    const { code, stderr } = await runCli(['demo', '--profile', 'xnat-slurm'], where)
    expect(code, stderr).to.equal(2)
    expect(stderr).to.match(/empty project SAMPLE.*--yes/s)
    await server?.client.putSubject({ project: 'SAMPLE', subject: 'other' })
    const other = await runCli(['demo', '--profile', 'xnat-slurm'], where)
    await server?.client.remove({ project: 'SAMPLE', subject: 'other' })
    expect(other.code, other.stderr).to.equal(2)
    expect(other.stderr).to.match(/all images of SAMPLE.*--yes/s)
  })

  it('brings the images in by the API, and has the results of jobs of Slurm on the server', async () => {
    const { stdout } = await mustRun(['demo', '--profile', 'xnat-slurm', '--yes'], where)
    expect(stdout).to.match(/Filled with the sample images: \d+ files in project SAMPLE/)
    expect(stdout).to.match(/Yes: \d+ files of 13 tasks read back, every byte\./)
    const jobs = await lab?.run(['sacct', '-a', '-n', '-X', '-P', '-S', 'now-1hour', '-o', 'State'])
    expect(new Set(jobs?.trim().split('\n'))).to.deep.equal(new Set(['COMPLETED']))
    if (server !== undefined) await checkResults(server.client)
  })

  it('finds nothing to do the second time', async () => {
    const from = server?.sandbox.log.length
    const { stdout } = await mustRun(['demo', '--profile', 'xnat-slurm', '--yes'], where)
    expect(stdout).to.match(/Nothing to do: 13 tasks are complete/)
    expect(server === undefined ? ['no server'] : changes(server.sandbox, from)).to.deep.equal([])
  })
})
