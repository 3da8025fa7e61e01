/** A sandbox of one's own, and a client that says what it sends. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startSandbox, type Sandbox, type SandboxOptions } from '@orbweaver/xnat-sandbox'

export interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
  readonly bytes: Buffer
  readonly headers: Headers
}

export type Row = Readonly<Record<string, string>>

export interface RequestParts {
  readonly body?: string | Buffer | FormData
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** One user with one HTTP session. */
export class Client {
  #cookie: string | undefined

  constructor(
    readonly url: string,
    readonly user: string,
    readonly password: string,
  ) {}

  async send(method: string, path: string, { body, type, headers = {} }: RequestParts = {}): Promise<Answer> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      redirect: 'manual',
      headers: {
        ...(this.#cookie === undefined
          ? { Authorization: `Basic ${Buffer.from(`${this.user}:${this.password}`).toString('base64')}` }
          : { Cookie: this.#cookie }),
        ...(type === undefined ? {} : { 'Content-Type': type }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    })
    for (const cookie of response.headers.getSetCookie()) {
      if (cookie.startsWith('JSESSIONID=')) this.#cookie = cookie.split(';', 1)[0]
    }
    const bytes = Buffer.from(await response.arrayBuffer())
    const { status, headers: received } = response
    return {
      status,
      type: received.get('content-type') ?? '',
      text: bytes.toString('utf8'),
      bytes,
      headers: received,
    }
  }

  get(path: string, parts?: RequestParts): Promise<Answer> {
    return this.send('GET', path, parts)
  }

  /** @throws Error with what came back, for anything but success */
  async put(path: string, parts?: RequestParts): Promise<string> {
    const answer = await this.send('PUT', path, parts)
    if (answer.status >= 300) throw new Error(`PUT ${path}: ${answer.status} ${answer.text}`)
    return answer.text
  }

  async upload(path: string, body: string | Buffer, type = 'application/octet-stream'): Promise<Answer> {
    return this.send('PUT', `${path}${path.includes('?') ? '&' : '?'}inbody=true`, { body, type })
  }

  async rows(path: string): Promise<readonly Row[]> {
    const answer = await this.get(path)
    if (answer.status !== 200) throw new Error(`GET ${path}: ${answer.status} ${answer.text}`)
    return (JSON.parse(answer.text) as { ResultSet: { Result: Row[] } }).ResultSet.Result
  }
}

export interface Bench {
  readonly sandbox: Sandbox
  readonly admin: Client
  as(user: string): Client
  /** Close and open again on the same folder. */
  restart(options?: Partial<SandboxOptions>): Promise<void>
  dispose(): Promise<void>
}

export async function bench(options: Partial<SandboxOptions> = {}): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'orbweaver-sandbox-'))
  let sandbox = await startSandbox({ directory, ...options })
  const as = (user: string): Client => new Client(sandbox.url, user, sandbox.users[user]?.password ?? '')
  let admin = as('admin')
  return {
    get sandbox() {
      return sandbox
    },
    get admin() {
      return admin
    },
    as,
    async restart(changed = {}) {
      await sandbox.close()
      sandbox = await startSandbox({ directory, ...options, ...changed })
      admin = as('admin')
    },
    async dispose() {
      await sandbox.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export const SESSION = '/data/projects/P1/subjects/S1/experiments/E1'

/** P1 / S1 / E1 with scans 1 (T1w) and 2 (BOLD), a file in scan 1 and one processing result. */
export async function smallProject(
  admin: Client,
): Promise<{ readonly session: string; readonly assessor: string }> {
  await admin.put('/data/projects/P1?accessibility=private')
  const session = await admin.put(`${SESSION}?xsiType=xnat:mrSessionData&date=2024-03-02`)
  await admin.put(`${SESSION}/scans/1?xsiType=xnat:mrScanData&type=T1w&quality=usable`)
  await admin.put(`${SESSION}/scans/2?xsiType=xnat:mrScanData&type=BOLD`)
  await admin.upload(`${SESSION}/scans/1/resources/NIFTI/files/t1.nii?format=NIFTI`, 'image')
  const assessor = await admin.put(
    `${SESSION}/assessors/A1?xsiType=proc:genProcData&proc:genProcData/procstatus=COMPLETE`,
  )
  return { session, assessor }
}
