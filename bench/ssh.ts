/**
 * The SSH transport against scp, sftp and rsync, over a real OpenSSH server on loopback, in one run: a large file and many
 * small ones each way, and commands on a kept connection. Needs root, for the server; see test/lab/ssh.
 *
 *   node bench/dist/ssh.js [megabytes of the large file, default 1024] [number of small files, default 5000]
 */

import { execFile, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { createFolderSource, type Transport } from '@orbweaver/core'
import { createSshTransport } from '@orbweaver/transport-ssh'

const MEGABYTES = Number(process.argv[2] ?? 1024)
const SMALL_FILES = Number(process.argv[3] ?? 5000)
const SMALL_BYTES = 10_000
const COMMANDS = 200
/** Each is a login of its own. */
const LOGINS = 20

const lab = path.resolve(import.meta.dirname, '..', '..', 'test', 'lab', 'ssh', 'ssh-lab')
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-bench-ssh-'))
const run = promisify(execFile)

interface Row {
  readonly what: string
  readonly seconds: number
  readonly rate: string
}

const rows: Row[] = []
let peakMb = 0
const sampler = setInterval(() => (peakMb = Math.max(peakMb, process.memoryUsage().rss / 1024 ** 2)), 20)

async function measure(
  what: string,
  rate: (seconds: number) => string,
  action: () => Promise<unknown>,
): Promise<void> {
  const startedMs = performance.now()
  await action()
  const seconds = (performance.now() - startedMs) / 1000
  rows.push({ what, seconds, rate: rate(seconds) })
  console.log(`${what.padEnd(44)} ${seconds.toFixed(2).padStart(8)} s  ${rate(seconds)}`)
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
  const { files } = transport
  await transport.runner.run({ argv: ['true'] })

  await measure('large file there: scp', perSecondMb, () => run('scp', [...scp, large, `login:${far}/scp`]))
  await measure('large file there: sftp', perSecondMb, () => sftp(config, `put ${large} ${far}/sftp\n`))
  await measure('large file there: rsync', perSecondMb, () =>
    run('rsync', [...rsync, large, `login:${far}/rsync`]),
  )
  await measure('large file there: orbweaver', perSecondMb, () => files.put(large, `${far}/orbweaver`))
  await measure('large file back: scp', perSecondMb, () =>
    run('scp', [...scp, `login:${far}/scp`, `${near}/scp`]),
  )
  await measure('large file back: sftp', perSecondMb, () => sftp(config, `get ${far}/sftp ${near}/sftp\n`))
  await measure('large file back: rsync', perSecondMb, () =>
    run('rsync', [...rsync, `login:${far}/rsync`, `${near}/rsync`]),
  )
  await measure('large file back: orbweaver', perSecondMb, () =>
    files.get(`${far}/orbweaver`, `${near}/orbweaver`),
  )
  for (const name of ['scp', 'sftp', 'rsync', 'orbweaver']) {
    fs.rmSync(path.join(near, name))
    fs.rmSync(path.join(far, name))
  }

  await measure('small files there: scp', perSecondFiles, () =>
    run('scp', [...scp, '-r', small, `login:${far}/scp`]),
  )
  await measure('small files there: sftp', perSecondFiles, async () => {
    await sftp(config, `mkdir ${far}/sftp\nput -R ${small}/. ${far}/sftp\n`)
  })
  await measure('small files there: rsync', perSecondFiles, () =>
    run('rsync', [...rsync, `${small}/`, `login:${far}/rsync`]),
  )
  const source = await createFolderSource(small)
  await measure('small files there: orbweaver', perSecondFiles, async () => {
    const batch = files.batch?.(`${far}/orbweaver`)
    if (batch === undefined) throw new Error('the transport sends no batches')
    const waiting = [...source.files]
    const work = async (): Promise<void> => {
      for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop())
        await batch.write(entry.path, await source.open(entry.path), entry)
    }
    await Promise.all(Array.from({ length: 8 }, work))
    await batch.finish()
  })
  await measure('small files back: scp', perSecondFiles, () =>
    run('scp', [...scp, '-r', `login:${far}/rsync`, `${near}/scp`]),
  )
  await measure('small files back: sftp', perSecondFiles, () =>
    sftp(config, `get -R ${far}/rsync ${near}/sftp\n`),
  )
  await measure('small files back: rsync', perSecondFiles, () =>
    run('rsync', [...rsync, `login:${far}/rsync/`, `${near}/rsync`]),
  )
  await measure('small files back: orbweaver (streams)', perSecondFiles, async () => {
    const waiting = source.files.map((entry) => entry.path)
    const work = async (): Promise<void> => {
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
        const stream = await files.open(`${far}/orbweaver/${name}`)
        for await (const _chunk of stream) continue
      }
    }
    await Promise.all(Array.from({ length: 16 }, work))
  })

  await measure(
    `${LOGINS} commands, one after another: ssh`,
    (s) => `${Math.round(LOGINS / s)} commands/s`,
    async () => {
      for (let index = 0; index < LOGINS; index += 1) await run('ssh', ['-F', config, 'login', 'true'])
    },
  )
  await measure(
    `${COMMANDS} commands, one after another: orbweaver`,
    (s) => `${Math.round(COMMANDS / s)} commands/s`,
    async () => {
      for (let index = 0; index < COMMANDS; index += 1) await transport.runner.run({ argv: ['true'] })
    },
  )
  await measure(
    `${COMMANDS} commands at once: orbweaver`,
    (s) => `${Math.round(COMMANDS / s)} commands/s`,
    async () => {
      await Promise.all(Array.from({ length: COMMANDS }, () => transport.runner.run({ argv: ['true'] })))
    },
  )
  console.log(`peak memory of this process: ${Math.round(peakMb)} MB`)
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
