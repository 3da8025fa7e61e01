import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect } from 'chai'
import { NotFoundError, type CommandResult, type CommandRunner, type FileTransfer } from '@orbweaver/core'
import type { InMemoryFiles } from '@orbweaver/core/testing'
import { listClaims, transportSuite } from '@orbweaver/conformance'
import { runClaims } from './doubles/failed-claims.js'
import { override } from './doubles/override.js'
import { localTransportHarness, memoryFilesHarness } from './doubles/transports.js'

const wrongFiles: readonly {
  readonly name: string
  readonly change: (files: InMemoryFiles) => Partial<FileTransfer>
  readonly fails: readonly string[]
}[] = [
  {
    name: 'makes no parents',
    change: (files) => ({
      async mkdir(path, options) {
        if (!(await files.exists(path.slice(0, path.lastIndexOf('/')) || '/')))
          throw new NotFoundError('no parent')
        await files.mkdir(path, options)
      },
    }),
    fails: ['T2.1'],
  },
  {
    name: 'gives every file the same mode',
    change: (files) => ({
      writeAtomic: (path, text) => files.writeAtomic(path, text, { mode: 0o644 }),
    }),
    fails: ['T2.2', 'T2.20'],
  },
  {
    name: 'appends',
    change: (files) => ({
      async write(path, content, entry, options) {
        const before = (await files.exists(path)) ? await buffer(await files.open(path)) : Buffer.alloc(0)
        await files.write(path, content, entry, options)
        const after = Buffer.concat([before, await buffer(await files.open(path))])
        await files.write(path, Readable.from([after]), { path, bytes: after.length })
      },
    }),
    fails: ['T2.3'],
  },
  {
    name: 'writes in place',
    change: (files) => ({
      async write(path, content, _entry, options) {
        const chunks: Buffer[] = []
        const save = async (): Promise<void> => {
          const all = Buffer.concat(chunks)
          await files.write(path, Readable.from([all], { objectMode: false }), { path, bytes: all.length })
        }
        options?.signal?.throwIfAborted()
        await save()
        for await (const chunk of content) {
          chunks.push(Buffer.from(chunk as Buffer))
          await save()
          options?.signal?.throwIfAborted()
        }
      },
    }),
    fails: ['T2.4', 'T2.5', 'T2.13', 'T2.21'],
  },
  {
    name: 'checks sizes only',
    change: (files) => ({
      write: (path, content, { bytes }, options) => files.write(path, content, { path, bytes }, options),
    }),
    fails: ['T2.5'],
  },
  {
    name: 'puts text, not bytes',
    change: (files) => ({
      async put(localPath, path, options) {
        await files.put(localPath, path, options)
        const text = await readFile(localPath, 'utf8')
        await files.writeAtomic(path, text, options)
      },
    }),
    fails: ['T2.6'],
  },
  {
    name: 'gets an empty file for a missing one',
    change: (files) => ({
      get: (path, localPath, options) =>
        files.get(path, localPath, options).catch(async (error: unknown) => {
          if (!(error instanceof NotFoundError)) throw error
          await writeFile(localPath, '')
        }),
    }),
    fails: ['T2.7'],
  },
  {
    name: 'cuts long texts',
    change: (files) => ({
      async read(path, options = {}) {
        const { maxBytes, tail: _ignored, ...rest } = options
        return (await files.read(path, rest)).slice(0, maxBytes)
      },
    }),
    fails: ['T2.8'],
  },
  {
    name: 'fails for many files when one is missing',
    change: (files) => ({
      async readMany(paths, options) {
        const found = new Map<string, string>()
        for (const path of paths) found.set(path, await files.read(path, options))
        return found
      },
    }),
    fails: ['T2.9'],
  },
  {
    name: 'writes atomically in two steps',
    change: (files) => ({
      async writeAtomic(path, text, options) {
        await files.writeAtomic(path, text.slice(0, text.length / 2), options)
        await new Promise((resolve) => setImmediate(resolve))
        await files.writeAtomic(path, text, options)
      },
    }),
    fails: ['T2.10'],
  },
  {
    name: 'does not rename over what is there',
    change: (files) => ({
      async rename(from, to, options) {
        if (await files.exists(to)) throw new Error('EEXIST')
        await files.rename(from, to, options)
      },
    }),
    fails: ['T2.11'],
  },
  {
    name: 'lists one level only',
    change: (files) => ({
      list: async (path, options) =>
        (await files.list(path, options)).filter((one) => !one.path.includes('/')),
    }),
    fails: ['T2.1', 'T2.11', 'T2.12', 'T2.14', 'T2.17', 'T2.19'],
  },
  {
    name: 'follows links',
    change: (files) => ({
      list: async (path, options) =>
        (await files.list(path, options)).map((one) =>
          one.kind === 'link' ? { ...one, kind: 'file' } : one,
        ),
    }),
    fails: ['T2.14'],
  },
  {
    name: 'makes checksums of whatever it is asked',
    change: (files) => ({
      async checksums(path, names, options) {
        const sums = new Map<string, string>()
        for (const name of names) {
          const folder = name.startsWith('/') ? '' : path
          const parts: string[] = []
          for (const part of `${folder}/${name}`.split('/')) {
            if (part === '..') parts.pop()
            else if (part !== '') parts.push(part)
          }
          const [sum = ''] = (await files.checksums('/', [parts.join('/')], options)).values()
          sums.set(name, sum)
        }
        return sums
      },
    }),
    fails: ['T2.15', 'T2.19', 'T2.24'],
  },
  {
    name: 'sees files where there are none',
    change: () => ({ exists: async () => true }),
    fails: ['T2.16', 'T2.20'],
  },
  {
    name: 'removes whatever begins like the path',
    change: (files) => ({
      async remove(path, options) {
        await files.remove(path, options)
        for (const other of files.paths()) if (other.startsWith(path)) await files.remove(other)
      },
    }),
    fails: ['T2.17'],
  },
  {
    name: 'does not know its room',
    change: () => ({ freeSpace: async () => Number.NaN }),
    fails: ['T2.7', 'T2.18', 'T2.20'],
  },
  {
    name: 'unquotes paths',
    change: (files) => ({
      mkdir: (path, options) => files.mkdir(path.replace(/['"\\$]/g, ''), options),
    }),
    fails: ['T2.19'],
  },
  {
    name: 'does not listen to abort signals',
    change: (files) => ({
      write: (path, content, entry) => files.write(path, content, entry),
      mkdir: (path) => files.mkdir(path),
    }),
    fails: ['T2.20', 'T2.21'],
  },
  {
    name: 'takes relative paths',
    change: (files) => ({
      mkdir: (path, options) => files.mkdir(path.startsWith('/') ? path : `/${path}`, options),
    }),
    fails: ['T2.22'],
  },
  {
    name: 'takes a folder for an empty file',
    change: (files) => ({
      read: (path, options) =>
        files.read(path, options).catch((error: unknown) => {
          if (error instanceof Error && error.message.includes('not a plain file')) return ''
          throw error
        }),
    }),
    fails: ['T2.23'],
  },
  {
    name: 'damages large files',
    change: (files) => ({
      async write(path, content, entry, options) {
        await files.write(path, content, entry, options)
        if (entry.bytes < 1_000_000) return
        const data = await buffer(await files.open(path))
        data[500_000] = (data[500_000] ?? 0) ^ 1
        await files.write(path, Readable.from([data], { objectMode: false }), { path, bytes: data.length })
      },
    }),
    fails: ['T2.24'],
  },
  {
    name: 'leads to another file of this machine',
    change: () => ({ localPath: () => '/dev/null' }),
    fails: ['T2.25'],
  },
]

interface Call {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
}

/** A runner as one writes it on a Monday: no group, no limits, the environment of this process. */
function naive(runner: CommandRunner, change: (call: Call) => Call = (call) => call): CommandRunner {
  return {
    async run({ argv, directory, environment, stdin }): Promise<CommandResult> {
      const call = change({ argv, env: { ...process.env, ...environment } })
      expect(runner).to.be.an('object')
      return await new Promise((resolve, reject) => {
        const [program = '', ...words] = call.argv
        const child = spawn(program, words, {
          env: call.env,
          timeout: 1000,
          ...(directory !== undefined && { cwd: directory }),
        })
        let [stdout, stderr] = ['', '']
        child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
        child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
        child.stdin.on('error', () => undefined)
        child.stdin.end(stdin)
        child.on('error', reject)
        child.on('exit', (exitCode) => {
          child.stdout.destroy()
          resolve({ exitCode: exitCode ?? 1, stdout, stderr })
        })
      })
    },
  }
}

/** Change what a right runner is given, or what it gives. */
const changed =
  (
    before: (command: Parameters<CommandRunner['run']>[0]) => Parameters<CommandRunner['run']>[0],
    after: (result: CommandResult) => CommandResult = (result) => result,
  ) =>
  (runner: CommandRunner): CommandRunner => ({
    run: async (command, options) => after(await runner.run(before(command), options)),
  })

const wrongRunners: readonly {
  readonly name: string
  readonly wrap: (runner: CommandRunner) => CommandRunner
  readonly fails: readonly string[]
}[] = [
  {
    name: 'mixes the two outputs',
    wrap: changed(
      (command) => command,
      (result) => ({ ...result, stdout: result.stdout + result.stderr }),
    ),
    fails: ['T1.1'],
  },
  {
    name: 'hands words to a shell',
    wrap: changed((command) => ({ ...command, argv: ['/bin/sh', '-c', command.argv.join(' ')] })),
    fails: ['T1.2', 'T1.6'],
  },
  {
    name: 'gives no input',
    wrap: changed(({ stdin: _lost, ...command }) => command),
    fails: ['T1.3'],
  },
  { name: 'is naive about environments', wrap: (runner) => naive(runner), fails: ['T1.4'] },
  {
    name: 'does not care where a program runs',
    wrap: changed(({ directory: _lost, ...command }) => command),
    fails: ['T1.5', 'T1.6'],
  },
  { name: 'is naive about signals', wrap: (runner) => naive(runner), fails: ['T1.7'] },
  { name: 'is naive about aborts', wrap: (runner) => naive(runner), fails: ['T1.10'] },
  {
    // Ends the family all the same: a double must leave nothing behind.
    name: 'makes errors of its own out of time-outs and aborts',
    wrap: (runner) => ({
      run: (command, options) =>
        runner.run(command, options).catch((error: unknown) => {
          throw new Error('it failed', { cause: error })
        }),
    }),
    fails: ['T1.6', 'T1.8', 'T1.9', 'T1.10', 'T1.11'],
  },
  {
    name: 'cuts output',
    wrap: (runner) => ({
      async run({ maxOutputBytes, ...command }, options) {
        const result = await runner.run({ ...command, timeoutMs: 1000 }, options)
        return { ...result, stdout: result.stdout.slice(0, maxOutputBytes) }
      },
    }),
    fails: ['T1.11'],
  },
  {
    name: 'takes bytes for characters',
    wrap: changed(
      (command) => command,
      (result) => ({ ...result, stdout: Buffer.from(result.stdout).toString('latin1') }),
    ),
    fails: ['T1.12'],
  },
  {
    name: 'runs one program at a time',
    wrap: (runner) => {
      let busy = false
      return {
        async run(command, options) {
          if (busy) throw new Error('busy')
          busy = true
          try {
            return await runner.run(command, options)
          } finally {
            busy = false
          }
        },
      }
    },
    fails: ['T1.13'],
  },
]

describe('the kit on transports', () => {
  for (const { name, change, fails } of wrongFiles) {
    it(`sees that a transport is wrong that ${name}`, async () => {
      const harness = memoryFilesHarness((files) => override<FileTransfer>(files, change(files)))
      const { failed } = await runClaims((options) => transportSuite(harness, { ...options, only: ['T2'] }))
      expect(failed).to.deep.equal(fails)
    })
  }

  for (const { name, wrap, fails } of wrongRunners) {
    it(`sees that a runner is wrong that ${name}`, async () => {
      const { failed } = await runClaims((options) =>
        transportSuite(localTransportHarness(wrap), { ...options, only: fails }),
      )
      expect(failed).to.deep.equal(fails)
    })
  }

  it('sees that a transport is wrong that runs programs and says that it does not', async () => {
    const harness = localTransportHarness()
    const modest = { create: async () => ({ ...(await harness.create()), runsCommands: false }) }
    const { failed } = await runClaims((options) => transportSuite(modest, { ...options, only: ['T1.14'] }))
    expect(failed).to.deep.equal(['T1.14'])
  })

  it('has seen every one of its claims fail', () => {
    const seen = new Set([
      'T1.8',
      'T1.9',
      'T1.14',
      ...[...wrongFiles, ...wrongRunners].flatMap(({ fails }) => fails),
    ])
    const all = listClaims().filter(({ port }) => port === 'transport')
    expect(all.map(({ id }) => id).filter((id) => !seen.has(id))).to.deep.equal([])
  })
})
