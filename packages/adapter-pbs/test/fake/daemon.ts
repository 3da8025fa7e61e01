/** The process behind the programs. Its jobs end with it, and it ends with the one that started it. */

import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { Fault, FakeSite, Flavour, Output, Request } from './model.js'
import { send } from './processes.js'
import { run } from './programs.js'
import { Server } from './server.js'

const [flavour = 'openpbs', folder = '', site = '{}'] = process.argv.slice(2)
const calls = join(folder, 'calls')
const faultPath = (fault: Fault): string => join(folder, 'faults', fault)
const has = (fault: Fault): boolean => existsSync(faultPath(fault))
const once = (fault: Fault): boolean => {
  const was = has(fault)
  rmSync(faultPath(fault), { force: true })
  return was
}
const { username } = userInfo()
process.umask(0o077)
const server = new Server(flavour as Flavour, JSON.parse(site) as FakeSite, join(folder, 'spool'), has)

/** A call is a file whose name ends in .call: words ended by NUL, put there whole by renaming. */
function serve(): void {
  for (const file of readdirSync(calls)) {
    if (!file.endsWith('.call')) continue
    const path = join(calls, file)
    const [pid = '', directory = '', user = '', home = '', path_ = '', program = '', ...words] = readFileSync(
      path,
      'utf8',
    )
      .split('\0')
      .slice(0, -1)
    rmSync(path)
    const input = join(calls, `${pid}.in`)
    const owner = user === '' ? username : user
    const request: Request = {
      program,
      words,
      directory,
      user: owner,
      stdin: existsSync(input) ? readFileSync(input, 'utf8') : '',
      variables: {
        PBS_O_HOME: home === '' ? homedir() : home,
        PBS_O_LOGNAME: owner,
        PBS_O_PATH: path_,
        PBS_O_SHELL: '/bin/sh',
        PBS_O_LANG: 'C.UTF-8',
        PBS_O_WORKDIR: directory,
        PBS_O_HOST: server.site.host,
      },
    }
    const output = answer(request)
    if (output === undefined) continue // it waits for ever
    writeFileSync(join(calls, `${pid}.out`), output.stdout ?? '')
    writeFileSync(join(calls, `${pid}.err`), output.stderr ?? '')
    tell(pid, output.exit)
  }
}

function answer(request: Request): Output | undefined {
  try {
    return run(request, server, has, once)
  } catch (error) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { exit: 70, stderr: `the fake server failed: ${text}\n` }
  }
}

/** As soon as the program listens. One that has been killed is forgotten. */
function tell(pid: string, exit: number): void {
  const pipe = join(calls, `${pid}.pipe`)
  try {
    const handle = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
    writeSync(handle, `${exit}\n`)
    closeSync(handle)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENXIO' && send(Number(pid), 0)) {
      setTimeout(tell, 2, pid, exit)
      return
    }
    if (code !== 'ENXIO' && code !== 'ENOENT' && code !== 'EPIPE') throw error
    for (const kind of ['pipe', 'in', 'out', 'err']) rmSync(join(calls, `${pid}.${kind}`), { force: true })
  }
}

function stop(): void {
  server.stop()
  rmSync(join(folder, 'pid'), { force: true })
  process.exit(0)
}
watch(calls, serve)
writeFileSync(join(folder, 'pid'), `${process.pid}\n`)
process.on('disconnect', stop)
process.on('SIGTERM', stop)
process.on('SIGINT', () => undefined) // a key of the terminal is for the one who started us
process.send?.('ready')
