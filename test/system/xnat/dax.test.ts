/** Side by side with DAX: what it has made is not made again, and it sees what we have made. All of DAX's code is its own. */

import { TASK_STATES, taskLabel, type TaskRecord } from '@orbweaver/core'
import { XnatCredentials, XnatDataStore } from '@orbweaver/xnat'
import { startSandbox, type Sandbox } from '@orbweaver/xnat-sandbox'
import { expect } from 'chai'
import path from 'node:path'
import { skip } from '../../support/skip.js'
import { askJson, mustRun, type CliOptions } from '../support/cli.js'
import { removeFolders, scratchFolder, write } from '../support/folders.js'
import { endJobs } from '../support/processes.js'
import { PythonClients } from './support.js'

interface Planned {
  readonly processor: string
  readonly target: { readonly subject?: string; readonly session?: string }
  readonly label?: string
  readonly madeBy?: string
  readonly action: string
  readonly to: string
}

interface Seen {
  readonly label: string
  readonly procstatus: string
  readonly qcstatus: string
  readonly proctype: string
  readonly jobid?: string
  readonly resources?: readonly string[]
}

const SCRIPT = '#!/bin/sh\nset -eu\necho done >"$ORBWEAVER_OUTPUTS/result.txt"\n'
const processor = (name: string, level: string, inputs: object): string =>
  JSON.stringify({
    name,
    version: '1.4.0',
    level,
    inputs,
    requirements: { cpus: 1, memory: '64 MB', walltime: '5m' },
    script: './work.sh',
    outputs: { DATA: { path: 'result.txt', required: true } },
  })

describe('side by side with DAX', function () {
  this.timeout(600_000)
  let folder: string
  let sandbox: Sandbox
  let clients: PythonClients
  let where: CliOptions
  let login: readonly string[]
  /** By session or subject. */
  let theirs: Readonly<Record<string, string>>

  before(async function () {
    const installed = await PythonClients.install(['dax'])
    if (typeof installed === 'string') skip(this, installed)
    clients = installed
    folder = scratchFolder('xnat-dax')
    sandbox = await startSandbox({ directory: path.join(folder, 'server') })
    const { password = '' } = sandbox.users.admin ?? {}
    login = [sandbox.url, 'admin', password]
    await fill(sandbox, password)
    const inputs = (more: object): object => ({ t1: { scan: { type: 'T1w' }, resource: 'NIFTI', ...more } })
    write(path.join(folder, 'work.sh'), SCRIPT)
    write(path.join(folder, 'demo.yaml'), processor('demo', 'session', inputs({})))
    write(path.join(folder, 'group.yaml'), processor('group', 'subject', inputs({ all: true })))
    write(
      path.join(folder, 'orbweaver.yaml'),
      `site: beside-dax
store: { use: xnat, url: "${sandbox.url}" }
cluster: { use: local }
workRoot: ./work
timing: { poll: 1s }
projects: [{ id: DAX, processors: [./demo.yaml, ./group.yaml] }]
`,
    )
    where = { cwd: folder, environment: { XNAT_USER: 'admin', XNAT_PASS: password } }
    const made = await clients.script('dax_assessors.py', login)
    expect(made.code, made.output).to.equal(0)
    theirs = JSON.parse(made.output.trim().split('\n').at(-1) ?? '') as typeof theirs
  })
  after(async () => {
    if (folder !== undefined) endJobs(folder)
    await sandbox?.close()
    clients?.dispose()
    removeFolders()
  })

  it('what DAX has made counts as made, and what it works on is left to it', async () => {
    const { decisions } = await askJson<{ readonly decisions: readonly Planned[] }>(['plan', '--all'], where)
    const planned: Readonly<Record<string, unknown>> = Object.fromEntries(
      decisions.map(({ target, action, to, madeBy }) => [
        target.session ?? target.subject ?? '',
        madeBy === undefined ? { action, to } : { action, to, madeBy },
      ]),
    )
    expect(planned).to.deep.equal({
      E1: { action: 'none', to: 'complete', madeBy: theirs.E1 },
      E2: { action: 'none', to: 'running', madeBy: theirs.E2 },
      E3: { action: 'none', to: 'failed', madeBy: theirs.E3 },
      S1: { action: 'none', to: 'complete', madeBy: theirs.S1 },
      E4: { action: 'submit', to: 'ready' },
      S2: { action: 'submit', to: 'ready' },
    })
    const explained = await mustRun(['explain', theirs.E1 ?? ''], where)
    expect(explained.stdout).to.contain('made by another program')
  })

  it('a run makes what is missing and nothing else, and costs no request for each of theirs', async () => {
    await mustRun(['run'], where)
    const from = sandbox.log.length
    const { stdout } = await mustRun(['run'], where)
    expect(stdout).to.match(/Nothing to do/)
    const asked = sandbox.log.slice(from).map(({ path: address }) => address)
    for (const label of Object.values(theirs)) expect(asked.join('\n')).not.to.contain(label)
    const { tasks } = await askJson<{
      readonly tasks: readonly { label: string; madeElsewhere?: boolean }[]
    }>(['status'], where)
    const foreign = tasks.filter(({ madeElsewhere }) => madeElsewhere).map(({ label }) => label)
    expect(foreign.sort()).to.deep.equal(Object.values(theirs).sort())
    expect(tasks).to.have.length(6)
    expect((await mustRun(['verify'], where)).stdout).not.to.match(/differ/)
  })

  it('DAX sees every state of ours under its own words, takes our results for its own, and makes none again', async () => {
    const words = await makeOneOfEachState(sandbox, login)
    const { code, output } = await clients.script('dax_sees.py', [...login, 'DAX'])
    expect(code, output).to.equal(0)
    const seen = JSON.parse(output.trim().split('\n').at(-1) ?? '') as {
      readonly sessions: readonly Seen[]
      readonly subjects: readonly Seen[]
      readonly taken: Readonly<Record<string, string>>
    }
    const shown = new Map([...seen.sessions, ...seen.subjects].map((one) => [one.label, one]))
    for (const [label, word] of words) expect(shown.get(label)?.procstatus, label).to.equal(word)
    const ours = [...shown.values()].filter(
      ({ jobid, procstatus }) => jobid !== '' && procstatus === 'COMPLETE',
    )
    expect(ours.map(({ proctype }) => proctype).sort()).to.deep.equal(['demo_v1', 'group_v1'])
    for (const { label, resources } of ours) {
      expect([...(resources ?? [])].sort(), label).to.deep.equal(['DATA', 'LOG'])
      expect(seen.taken[label], 'its builder finds it by type and inputs').to.equal(label)
    }
    for (const label of Object.values(theirs)) expect(seen.taken[label]).to.equal(label)
  })
})

/** One assessor in each state that a task can have; labels with the word that DAX knows for it. */
async function makeOneOfEachState(
  sandbox: Sandbox,
  [, user = '', password = '']: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const store = new XnatDataStore({ url: sandbox.url, credentials: new XnatCredentials(user, password) })
  const WORDS = {
    waiting: 'NEED_INPUTS',
    held: 'NEED_INPUTS',
    ready: 'NEED_TO_RUN',
    queued: 'JOB_RUNNING',
    running: 'JOB_RUNNING',
    uploading: 'UPLOADING',
    complete: 'COMPLETE',
    failed: 'JOB_FAILED',
    cancelled: 'JOB_FAILED',
  } as const
  const session = { project: 'DAX', subject: 'S2', session: 'E4' }
  const words = new Map<string, string>()
  try {
    for (const state of TASK_STATES) {
      const procType = `state-${state}_v1`
      const label = taskLabel(procType, session, [])
      const record: TaskRecord = {
        schema: 1,
        label,
        procType,
        procVersion: '1.0.0',
        target: session,
        inputs: [],
        params: {},
        state,
        reason: 'a test',
        attempt: 0,
        failures: {},
        createdAtMs: Date.now(),
        updatedAtMs: Date.now(),
      }
      const ref = { ...session, assessor: label }
      await store.createAssessor(ref, { procType, procVersion: '1.0.0', scans: [], record })
      words.set(label, WORDS[state])
    }
  } finally {
    await store.close()
  }
  return words
}

/** S1 with three sessions and S2 with one; one T1 each. */
async function fill(sandbox: Sandbox, password: string): Promise<void> {
  const authorization = `Basic ${Buffer.from(`admin:${password}`).toString('base64')}`
  const put = async (request: string, body?: string): Promise<void> => {
    const answer = await fetch(`${sandbox.url}/data/projects/${request}`, {
      method: 'PUT',
      headers: { authorization, 'Content-Type': 'application/octet-stream' },
      ...(body === undefined ? {} : { body }),
    })
    if (!answer.ok) throw new Error(`${request}: ${answer.status} ${await answer.text()}`)
  }
  await put('DAX?accessibility=private')
  for (const [subject, session] of [
    ['S1', 'E1'],
    ['S1', 'E2'],
    ['S1', 'E3'],
    ['S2', 'E4'],
  ] as const) {
    const at = `DAX/subjects/${subject}/experiments/${session}`
    await put(`${at}?xsiType=xnat:mrSessionData&date=2024-01-02`)
    await put(`${at}/scans/1?xsiType=xnat:mrScanData&type=T1w&quality=usable`)
    await put(`${at}/scans/1/resources/NIFTI/files/t1.nii?inbody=true`, `image of ${session}`)
  }
}
