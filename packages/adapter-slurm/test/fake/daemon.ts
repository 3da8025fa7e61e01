/** The process behind the programs. It lives as long as the one that started it, and ends every job with itself. */

import {
  constants,
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { homedir, userInfo } from 'node:os'
import { Cluster } from './cluster.js'
import type { Fault, FakeSite } from './model.js'
import { run, type Output, type Request } from './programs.js'
import { signal } from './processes.js'

const RETRY_MS = 2

const [folder = '', siteText = '{}'] = process.argv.slice(2)
const requests = join(folder, 'requests')
const cluster = new Cluster(JSON.parse(siteText) as FakeSite, folder)
const me = userInfo()
/** Request → what it still waits for. */
const open = new Map<string, { fed?: (text: string) => void }>()

const faultFile = (fault: Fault): string => join(folder, 'faults', fault)
const has = (fault: Fault): boolean => existsSync(faultFile(fault))
const once = (fault: Fault): boolean => {
  if (!has(fault)) return false
  rmSync(faultFile(fault), { force: true })
  return true
}

function look(): void {
  for (const file of readdirSync(requests)) {
    const [id = '', kind] = file.split('.')
    if (kind === 'req' && !open.has(id)) begin(id)
    else if (kind === 'fed') {
      const fed = open.get(id)?.fed
      if (fed === undefined) continue
      delete open.get(id)?.fed
      rmSync(join(requests, file), { force: true })
      fed(readText(join(requests, `${id}.in`)))
    }
  }
}

/** Words of a request, each ended by NUL: pid, how many arguments, directory, uid, user, time format, program, arguments. */
function begin(id: string): void {
  const text = readText(join(requests, `${id}.req`))
  const fields = text.split('\0').slice(0, -1)
  const [pid, count, directory = '', uid, user = '', timeFormat = '', program = '', ...args] = fields
  if (fields.length < 7 || args.length < Number(count)) return // it is still being written
  rmSync(join(requests, `${id}.req`), { force: true })
  const state: { fed?: (text: string) => void } = {}
  open.set(id, state)
  const request: Request = {
    program,
    args,
    directory,
    user: user === '' ? me.username : user,
    uid: uid === '' ? me.uid : Number(uid),
    home: homedir(),
    environment: environmentOf(readText(join(requests, `${id}.env`))),
    timeFormat,
    stdin: async () => {
      const fed = new Promise<string>((resolve) => {
        state.fed = resolve
      })
      answer(id, Number(pid), 'stdin')
      return await fed
    },
  }
  run(request, cluster, has, once)
    .catch((error: unknown): Output => ({
      exitCode: 70,
      stdout: '',
      stderr: `fake ${program}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    }))
    .then(({ exitCode, stdout, stderr }) => {
      open.delete(id)
      if (exitCode === undefined) return // it stays without an answer
      if (stdout !== '') writeFileSync(join(requests, `${id}.out`), stdout)
      if (stderr !== '') writeFileSync(join(requests, `${id}.err`), stderr)
      answer(id, Number(pid), `${exitCode} ${stdout === '' ? 0 : 1} ${stderr === '' ? 0 : 1}`)
    })
    .catch((error: unknown) => {
      console.error(error)
    })
}

function environmentOf(text: string): Readonly<Record<string, string>> {
  const words = text.split('\0').filter((word) => word.includes('=') && !word.startsWith('FAKE_SLURM_'))
  const entries = words.map((word): [string, string] => [
    word.slice(0, word.indexOf('=')),
    word.slice(word.indexOf('=') + 1),
  ])
  return Object.fromEntries(entries)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** Into the program's pipe, as soon as it listens; a program that has gone is forgotten. */
function answer(id: string, pid: number, line: string): void {
  try {
    const pipe = openSync(join(requests, `${id}.reply`), constants.O_WRONLY | constants.O_NONBLOCK)
    writeSync(pipe, `${line}\n`)
    closeSync(pipe)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENXIO' && code !== 'ENOENT' && code !== 'EPIPE') throw error
    if (code === 'ENXIO' && signal(pid, 0)) {
      setTimeout(() => {
        answer(id, pid, line)
      }, RETRY_MS)
      return
    }
    open.delete(id)
    for (const kind of ['req', 'env', 'in', 'fed', 'out', 'err', 'reply'])
      rmSync(join(requests, `${id}.${kind}`), { force: true })
  }
}

function stop(): void {
  cluster.stop()
  rmSync(join(folder, 'pid'), { force: true })
  process.exit(0)
}

process.umask(0o077)
watch(requests, look)
writeFileSync(join(folder, 'pid'), `${process.pid}\n`)
process.on('disconnect', stop)
process.on('SIGTERM', stop)
process.on('SIGINT', () => undefined) // of the terminal: the one who started us decides
process.send?.('ready')
