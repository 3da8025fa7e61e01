/**
 * The SSH transport against scp, sftp and rsync, over a real OpenSSH server on loopback, in one run: a large file and many
 * small ones each way, and commands on a kept connection. Needs root, for the server; see test/lab/ssh.
 *
 *   node bench/dist/ssh.js [megabytes of the large file, default 1024] [number of small files, default 5000] [rounds, default 3]
 *
 * Each round does everything once, the tools one after another; of each the best round counts, so that other work on the machine
 * spoils no ratio.
 */

import { execFile, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { createFolderSource, type FileBatch, type FileSource, type Transport } from '@orbweaver/core'
import { createSshTransport } from '@orbweaver/transport-ssh'

const MEGABYTES = Number(process.argv[2] ?? 1024)
const SMALL_FILES = Number(process.argv[3] ?? 5000)
const ROUNDS = Number(process.argv[4] ?? 3)
const SMALL_BYTES = 10_000
const COMMANDS = 200
/** Each is a login of its own. */
const LOGINS = 20

const lab = path.resolve(import.meta.dirname, '..', '..', 'test', 'lab', 'ssh', 'ssh-lab')
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-ssh-'))
const run = promisify(execFile)

type Tool = 'scp' | 'sftp' | 'rsync' | 'ssh' | 'orbweaver' | 'orbweaver, streams' | 'orbweaver, at once'

/** Seconds of the best round, by what was done and by whom. */
const best = new Map<string, Map<Tool, number>>()
let peakMb = 0
const sampler = setInterval(() => (peakMb = Math.max(peakMb, process.memoryUsage().rss / 1024 ** 2)), 20)

async function measure(
  what: string,
  tool: Tool,
  rate: (seconds: number) => string,
  action: () => Promise<unknown>,
): Promise<void> {
  const startedMs = performance.now()
  await action()
  const seconds = (performance.now() - startedMs) / 1000
  const tools = best.get(what) ?? new Map<Tool, number>()
  best.set(what, tools.set(tool, Math.min(seconds, tools.get(tool) ?? Infinity)))
  console.log(`${what.padEnd(20)} ${tool.padEnd(20)} ${seconds.toFixed(2).padStart(8)} s  ${rate(seconds)}`)
}

function report(): void {
  console.log(`\nbest of ${ROUNDS} rounds, and how many times as quick as the best other tool`)
  for (const [what, tools] of best) {
    const others = [...tools].filter(([tool]) => !tool.startsWith('orbweaver')).map(([, seconds]) => seconds)
    for (const [tool, seconds] of tools) {
      const ratio = others.length === 0 ? '' : (Math.min(...others) / seconds).toFixed(2)
      console.log(`${what.padEnd(20)} ${tool.padEnd(20)} ${seconds.toFixed(2).padStart(8)} s  ${ratio}`)
    }
  }
  console.log(`peak memory of this process: ${Math.round(peakMb)} MB`)
}

const perSecondMb = (seconds: number): string => `${Math.round(MEGABYTES / seconds)} MB/s`
const perSecondFiles = (seconds: number): string => `${Math.round(SMALL_FILES / seconds)} files/s`

try {
  await run(lab, ['up', root, '--max-sessions', '10'])
  const config = path.join(root, 'ssh_config')
  const account = /account=(\S+)/.exec(fs.readFileSync(path.join(root, 'settings'), 'utf8'))?.[1] ?? ''
  const transport = createSshTransport({ host: 'login', configFile: config })
  try {
    await bench(transport, config, account)
  } finally {
    await transport.close()
  }
} finally {
  clearInterval(sampler)
  await run(lab, ['down', root])
  fs.rmSync(root, { recursive: true, force: true })
}

async function bench(transport: Transport, config: string, account: string): Promise<void> {
  const near = path.join(root, 'near')
  const far = path.join(root, 'far')
  fs.mkdirSync(near)
  fs.mkdirSync(far)
  await run('chown', [account, far])
  const large = path.join(near, 'large')
  const piece = randomFillSync(Buffer.alloc(1024 ** 2))
  const file = fs.openSync(large, 'w')
  for (let written = 0; written < MEGABYTES; written += 1) fs.writeSync(file, piece)
  fs.closeSync(file)
  const small = path.join(near, 'small')
  for (let index = 0; index < SMALL_FILES; index += 1) {
    const folder = path.join(small, `series-${index % 20}`)
    if (index < 20) fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, `image-${index}.dcm`), piece.subarray(index, index + SMALL_BYTES))
  }
  const scp = ['-q', '-F', config]
  const rsync = ['-a', '--whole-file', '-e', `ssh -F ${config}`]
  const source = await createFolderSource(small)
  await transport.runner.run({ argv: ['true'] })
  for (let round = 0; round < ROUNDS; round += 1) {
    await largeFile(transport, { near, far, large, config, scp, rsync })
    await smallFiles(transport, { near, far, small, source, config, scp, rsync })
    await commands(transport, config)
  }
  report()
}

interface Place {
  readonly near: string
  readonly far: string
  readonly config: string
  readonly scp: readonly string[]
  readonly rsync: readonly string[]
}

async function largeFile(
  { files }: Transport,
  { near, far, large, config, scp, rsync }: Place & { readonly large: string },
): Promise<void> {
  const there = 'large file there'
  await measure(there, 'scp', perSecondMb, () => run('scp', [...scp, large, `login:${far}/scp`]))
  await measure(there, 'orbweaver', perSecondMb, () => files.put(large, `${far}/orbweaver`))
  await measure(there, 'sftp', perSecondMb, () => sftp(config, `put ${large} ${far}/sftp\n`))
  await measure(there, 'rsync', perSecondMb, () => run('rsync', [...rsync, large, `login:${far}/rsync`]))
  const back = 'large file back'
  await measure(back, 'scp', perSecondMb, () => run('scp', [...scp, `login:${far}/scp`, `${near}/scp`]))
  await measure(back, 'orbweaver', perSecondMb, () => files.get(`${far}/orbweaver`, `${near}/orbweaver`))
  await measure(back, 'sftp', perSecondMb, () => sftp(config, `get ${far}/sftp ${near}/sftp\n`))
  await measure(back, 'rsync', perSecondMb, () =>
    run('rsync', [...rsync, `login:${far}/rsync`, `${near}/rsync`]),
  )
  for (const name of ['scp', 'sftp', 'rsync', 'orbweaver']) {
    fs.rmSync(path.join(near, name))
    fs.rmSync(path.join(far, name))
  }
}

async function smallFiles(
  { files }: Transport,
  {
    near,
    far,
    small,
    source,
    config,
    scp,
    rsync,
  }: Place & { readonly small: string; readonly source: FileSource },
): Promise<void> {
  const there = 'small files there'
  await measure(there, 'scp', perSecondFiles, () => run('scp', [...scp, '-r', small, `login:${far}/scp`]))
  await measure(there, 'sftp', perSecondFiles, async () => {
    await sftp(config, `mkdir ${far}/sftp\nput -R ${small}/. ${far}/sftp\n`)
  })
  const batchOf = (name: string): FileBatch => {
    const batch = files.batch?.(`${far}/${name}`)
    if (batch === undefined) throw new Error('the transport sends no batches')
    return batch
  }
  await measure(there, 'orbweaver', perSecondFiles, async () => {
    const batch = batchOf('orbweaver')
    await atOnce(8, source.files, (entry) => batch.copyFrom?.(entry.path, path.join(small, entry.path)))
    await batch.finish()
  })
  await measure(there, 'orbweaver, streams', perSecondFiles, async () => {
    const batch = batchOf('streams')
    await atOnce(8, source.files, async (entry) =>
      batch.write(entry.path, await source.open(entry.path), entry),
    )
    await batch.finish()
  })
  await measure(there, 'rsync', perSecondFiles, () =>
    run('rsync', [...rsync, `${small}/`, `login:${far}/rsync`]),
  )
  const back = 'small files back'
  await measure(back, 'scp', perSecondFiles, () =>
    run('scp', [...scp, '-r', `login:${far}/rsync`, `${near}/scp`]),
  )
  await measure(back, 'sftp', perSecondFiles, () => sftp(config, `get -R ${far}/rsync ${near}/sftp\n`))
  await measure(back, 'orbweaver', perSecondFiles, async () => {
    for (let index = 0; index < 20; index += 1)
      fs.mkdirSync(path.join(near, 'orbweaver', `series-${index}`), { recursive: true })
    const gathering = files.gather?.(`${far}/orbweaver`, source.files)
    if (gathering === undefined) throw new Error('the transport gathers nothing')
    await atOnce(8, source.files, async ({ path: name }) => {
      await fs.promises.writeFile(
        path.join(near, 'orbweaver', name),
        await buffer(await gathering.open(name)),
      )
    })
    await gathering.close()
  })
  await measure(back, 'rsync', perSecondFiles, () =>
    run('rsync', [...rsync, `login:${far}/rsync/`, `${near}/rsync`]),
  )
  for (const name of ['scp', 'sftp', 'rsync', 'orbweaver', 'streams']) {
    fs.rmSync(path.join(near, name), { recursive: true, force: true })
    fs.rmSync(path.join(far, name), { recursive: true })
  }
}

async function commands({ runner }: Transport, config: string): Promise<void> {
  const perSecond =
    (count: number) =>
    (seconds: number): string =>
      `${Math.round(count / seconds)} commands/s`
  await measure(`${LOGINS} commands`, 'ssh', perSecond(LOGINS), async () => {
    for (let index = 0; index < LOGINS; index += 1) await run('ssh', ['-F', config, 'login', 'true'])
  })
  await measure(`${LOGINS} commands`, 'orbweaver', perSecond(LOGINS), async () => {
    for (let index = 0; index < LOGINS; index += 1) await runner.run({ argv: ['true'] })
  })
  await measure(`${COMMANDS} commands`, 'orbweaver', perSecond(COMMANDS), async () => {
    for (let index = 0; index < COMMANDS; index += 1) await runner.run({ argv: ['true'] })
  })
  await measure(`${COMMANDS} commands`, 'orbweaver, at once', perSecond(COMMANDS), async () => {
    await Promise.all(Array.from({ length: COMMANDS }, () => runner.run({ argv: ['true'] })))
  })
}

/** In the order of the list, so many at once. */
async function atOnce<T>(count: number, all: readonly T[], action: (one: T) => unknown): Promise<void> {
  const waiting = all.values()
  const work = async (): Promise<void> => {
    for (const one of waiting) await action(one)
  }
  await Promise.all(Array.from({ length: count }, work))
}

/** A batch file on standard input. */
async function sftp(config: string, commands: string): Promise<void> {
  const child = spawn('sftp', ['-q', '-F', config, '-b', '-', 'login'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  child.stdin.end(commands)
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`sftp ended with ${String(code)}`)
}
