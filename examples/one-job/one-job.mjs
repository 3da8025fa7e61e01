/**
 * Run one command as a job of the local backend, and say how it ended.
 *
 *   node one-job.mjs echo hello
 */

import { LocalBackend } from '@orbweaver/adapter-local'
import { DEFAULT_REQUIREMENTS, pathsOf, renderJobScript } from '@orbweaver/core'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const command = process.argv.slice(2)
if (command.length === 0) {
  console.error('Say what to run: node one-job.mjs PROGRAM [ARGUMENT...]')
  process.exit(2)
}

const folder = mkdtempSync(join(tmpdir(), 'one-job-'))
const backend = new LocalBackend({ stateDirectory: join(folder, 'state') })
try {
  const paths = pathsOf(join(folder, 'job'))
  for (const made of [paths.inputs, paths.outputs, paths.tmp, dirname(paths.stdout)])
    mkdirSync(made, { recursive: true })
  writeFileSync(
    paths.script,
    renderJobScript(command, { name: 'one-job', workspace: paths.root, walltimeSeconds: 60 }),
  )

  const [outcome] = await backend.submit([
    {
      name: 'one-job',
      command: ['/bin/sh', paths.script],
      directory: paths.root,
      stdoutPath: paths.stdout,
      stderrPath: paths.stderr,
      requirements: { ...DEFAULT_REQUIREMENTS, memoryBytes: 256 * 1024 ** 2, walltimeSeconds: 60 },
    },
  ])
  if (outcome?.kind !== 'accepted') throw outcome?.error ?? new Error(`not accepted: ${outcome?.reason}`)
  for (;;) {
    const status = (await backend.query([outcome.id])).get(outcome.id)
    if (status?.phase === 'finished') {
      process.stdout.write(readFileSync(paths.stdout))
      process.stderr.write(readFileSync(paths.stderr))
      console.log(`${outcome.id}: ${status.outcome}, exit code ${status.exitCode}`)
      process.exitCode = status.exitCode ?? 1
      break
    }
    await backend.changes(1000)
  }
} finally {
  await backend.close()
  rmSync(folder, { recursive: true })
}
