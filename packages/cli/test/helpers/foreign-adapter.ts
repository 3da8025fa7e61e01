import { pathToFileURL } from 'node:url'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const url = (name: string): string => JSON.stringify(pathToFileURL(require.resolve(name)).href)

/**
 * Text of a small but complete cluster backend as somebody elsewhere would write it: each job is a process of this
 * machine, known by its number; what a finished one ended with is asked of nobody but its exit record.
 */
export function foreignAdapter(): string {
  return `
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { CLUSTER_BACKEND } from ${url('@orbweaver/core')}
import { ContainerModule } from ${url('inversify')}
import { z } from ${url('zod')}

const running = (pid) => {
  try {
    process.kill(pid, 0)
    // A child that has ended and was not waited for is still a process.
    return readFileSync('/proc/' + pid + '/stat', 'utf8').split(') ')[1][0] !== 'Z'
  } catch { return false }
}

class Lsf {
  name = 'lsf'
  capabilities = { history: false, findsFinished: false, arrays: false, hold: false, enforcesWalltime: false, enforcesMemory: false, gpus: false, peakMemory: false }
  constructor(queue) { this.queue = queue }
  async submit(specs) {
    return specs.map((spec) => {
      const out = openSync(spec.stdoutPath, 'a')
      const err = openSync(spec.stderrPath, 'a')
      const env = { PATH: process.env.PATH, HOME: process.env.HOME, LSF_QUEUE: this.queue, ...spec.environment }
      const child = spawn(spec.command[0], spec.command.slice(1), { cwd: spec.directory, env, detached: true, stdio: ['ignore', out, err] })
      child.unref()
      closeSync(out)
      closeSync(err)
      return { kind: 'accepted', id: String(child.pid) }
    })
  }
  async query(ids) {
    return new Map(ids.filter((id) => running(Number(id))).map((id) => [id, { id, phase: 'running', restarts: 0, native: { state: 'RUN' }, evidence: [] }]))
  }
  async find() { return new Map() }
  async cancel(ids) { for (const id of ids) try { process.kill(-Number(id), 'SIGTERM') } catch {} }
  async hold() { throw new Error('no') }
  async release() { throw new Error('no') }
  async limits() { return { source: {} } }
  async diagnose() { return [{ check: 'lsf', status: 'ok', found: 'queue ' + this.queue }] }
  async close() {}
}

export default {
  kind: 'cluster-backend',
  name: 'lsf',
  configSchema: z.strictObject({ queue: z.string().default('normal') }),
  module: ({ queue }) => new ContainerModule(({ bind }) => { bind(CLUSTER_BACKEND).toConstantValue(new Lsf(queue)) }),
}
`
}
