/** Real XNAT clients, unchanged, against the sandbox. What one asks for and does not get is a failure here. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import { startSandbox, type Sandbox } from '@orbweaver/xnat-sandbox'
import { sampleDirectory } from '@orbweaver/processors'
import { skip } from '../../support/skip.js'
import { PythonClients, run } from './support.js'

/**
 * pyxnat's own tests that need a server where anybody may write. Left out, with reason: of `attributes` the one that
 * compares the site's schema word for word, of `custom_variables` what needs field groups of the protocol (a page of the
 * site's administrators), of `prearchive` what needs a certain session to wait there;
 * `repr`, `pipelines`, `sessionmirror`, `array`, `downloadutils`,
 * `experiments`, `graphdata`, `inspector`, `interfaces`, `manage`, `project_manager`, `scans`, `xpass` and `xpath` want a certain public server
 * or its data, and `user_and_project_management` the accounts of a certain container.
 */
const OWN_TESTS: readonly (readonly [file: string, leftOut: readonly string[]])[] = [
  ['resources_test.py', []],
  ['search_test.py', []],
  ['attributes_test.py', ['test_06_list_project_attrs']],
  ['provenance_test.py', []],
  ['prearchive_test.py', ['test_prearchive_status']],
  ['custom_variables_test.py', ['test_02_get_params', 'test_04_add_custom_variables']],
]

describe('real clients of XNAT', function () {
  this.timeout(600_000)
  let folder: string
  let sandbox: Sandbox
  let clients: PythonClients
  let login: readonly string[]

  before(async function () {
    folder = mkdtempSync(path.join(tmpdir(), 'orbweaver-xnat-'))
    const installed = await PythonClients.install()
    if (typeof installed === 'string') skip(this, installed)
    clients = installed
    sandbox = await startSandbox({ directory: path.join(folder, 'sandbox') })
    login = [sandbox.url, 'admin', sandbox.users.admin?.password ?? '']
    await fill(sandbox)
  })
  after(async () => {
    await sandbox?.close()
    clients?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Requests since `from` that the sandbox had nothing for. Old servers are told from new ones by two of them. */
  const unserved = (from: number): readonly string[] =>
    sandbox.log
      .slice(from)
      .filter(({ status, path: asked }) => status >= 500 && !/^\/data\/(version|buildInfo)/.test(asked))
      .map(({ method, path: asked, status, note }) => `${method} ${asked} ${status} ${note ?? ''}`)

  it('xnatpy connects, makes a tree, uploads, downloads, searches, imports and deletes', async () => {
    const from = sandbox.log.length
    const zip = await dicomZip(folder)
    const { code, output } = await clients.script('use_xnatpy.py', [...login, zip])
    expect(code, output).to.equal(0)
    expect(unserved(from)).to.deep.equal([])
  })

  it('DAX lists, makes an assessor, uploads results and sees them', async () => {
    const from = sandbox.log.length
    const { code, output } = await clients.script('use_dax.py', login)
    expect(code, output).to.equal(0)
    expect(unserved(from)).to.deep.equal([])
  })

  it('yaxil lists and downloads', async () => {
    const from = sandbox.log.length
    const { code, output } = await clients.script('use_yaxil.py', login)
    expect(code, output).to.equal(0)
    expect(unserved(from)).to.deep.equal([])
  })

  for (const [file, leftOut] of OWN_TESTS) {
    it(`pyxnat passes its own ${file}${leftOut.length > 0 ? ` but for ${leftOut.join(', ')}` : ''}`, async () => {
      const work = await pyxnatTests(clients, login)
      const argv = leftOut.flatMap((name) => ['--deselect', `${file}::${name}`])
      const { code, output } = await clients.pytest(work, [file, ...argv])
      expect(code, output).to.equal(0)
    })
  }
})

/** Projects that the clients' scripts and pyxnat's tests expect to find. */
async function fill(sandbox: Sandbox): Promise<void> {
  const { password = '' } = sandbox.users.admin ?? {}
  const login = await fetch(`${sandbox.url}/data/JSESSION`, {
    headers: { Authorization: `Basic ${Buffer.from(`admin:${password}`).toString('base64')}` },
  })
  const headers = { Cookie: `JSESSIONID=${await login.text()}`, 'Content-Type': 'application/octet-stream' }
  const put = async (request: string, body?: string): Promise<void> => {
    const answer = await fetch(`${sandbox.url}/data/projects/${request}`, {
      method: 'PUT',
      headers,
      ...(body === undefined ? {} : { body }),
    })
    if (!answer.ok) throw new Error(`${request}: ${answer.status} ${await answer.text()}`)
  }
  await put('DAX?accessibility=private')
  const session = 'DAX/subjects/S1/experiments/E1'
  await put(`${session}?xsiType=xnat:mrSessionData&date=2024-01-02`)
  for (const [id, type] of [
    ['1', 'T1w'],
    ['2', 'BOLD'],
  ] as const) {
    await put(`${session}/scans/${id}?xsiType=xnat:mrScanData&type=${type}&quality=usable`)
  }
  await put(`${session}/scans/1/resources/DICOM/files/t1.dcm?inbody=true`, 'dicom')
  await put(`${session}/scans/1/resources/NIFTI/files/t1.nii?inbody=true`, 'image')
  await put(`${session}/scans/2/resources/NIFTI/files/bold.nii?inbody=true`, 'image')
  for (const project of ['pyxnat_tests2', 'nosetests', 'X1', 'X2', 'X3', 'X4'])
    await put(`${project}?accessibility=private`)
  await put('pyxnat_tests?description=pyxnat%20CI%20tests&alias=pyxnat')
  // As on the server that pyxnat's search test was written for.
  const schizbull = 'cs_schizbull08/subjects/sub01/experiments/sess01'
  await put('cs_schizbull08?accessibility=private')
  await put(`${schizbull}?xsiType=xnat:mrSessionData&ID=xnat_E02579`)
  await put(`${schizbull}/scans/anat?xsiType=xnat:mrScanData&type=anat`)
  await put(`${schizbull}/assessors/assr01?xsiType=xnat:qcAssessmentData&ID=xnat_E02580`)
}

/** pyxnat's installed tests, with what lies beside them in its repository and the settings that they read. */
async function pyxnatTests(
  clients: PythonClients,
  [url = '', user = '', password = '']: readonly string[],
): Promise<string> {
  const work = clients.scratch()
  const { output } = await run(
    clients.python,
    ['-c', 'import pyxnat, os; print(os.path.dirname(pyxnat.__file__))'],
    { cwd: work },
  )
  const source = path.join(output.trim().split('\n').at(-1) ?? '', 'tests')
  for (const name of readdirSync(source))
    if (name.endsWith('.py') && name !== '__init__.py') cpSync(path.join(source, name), path.join(work, name))
  writeFileSync(path.join(work, 'hello_xnat.txt'), 'Hello XNAT!\n')
  writeFileSync(path.join(work, 'hello_again.txt'), 'Hello again!\n')
  mkdirSync(path.join(work, 'hello_dir', 'hello_dir2'), { recursive: true })
  writeFileSync(path.join(work, 'hello_dir', 'hello_xnat_dir.txt'), 'Hello\n')
  writeFileSync(path.join(work, 'hello_dir', 'hello_dir2', 'hello_xnat_dir2.txt'), 'Hello\n')
  const zipped = await run(clients.python, ['-m', 'zipfile', '-c', 'hello_dir.zip', 'hello_dir'], {
    cwd: work,
  })
  if (zipped.code !== 0) throw new Error(zipped.output)
  for (const name of ['.devxnat.cfg', '.central.cfg']) {
    writeFileSync(path.join(work, name), JSON.stringify({ server: url, user, password }), { mode: 0o600 })
  }
  return work
}

/** One series of the sample, zipped. */
async function dicomZip(folder: string): Promise<string> {
  const target = path.join(folder, 'dicom.zip')
  const source = path.join(sampleDirectory(), 'dicom')
  const [first] = readdirSync(source).sort()
  const { code, output } = await run('python3', ['-m', 'zipfile', '-c', target, first ?? ''], { cwd: source })
  if (code !== 0) throw new Error(output)
  return target
}
