/** An engine of its own process: submits the jobs it is given, says what it got, and then does as it is told. */

import type { JobSpec } from '@orbweaver/core'
import { LocalBackend } from '#src/backend/local-backend.js'

const [stateDirectory = '', then = '', specs = '[]'] = process.argv.slice(2)
const backend = new LocalBackend({ stateDirectory, config: { cpus: 2, memory: 2 * 1024 ** 3, killGrace: 1 } })
const outcomes = await backend.submit(JSON.parse(specs) as JobSpec[])
const ids = outcomes.map((outcome) => (outcome.kind === 'accepted' ? outcome.id : outcome.kind))
process.stdout.write(`${JSON.stringify(ids)}\n`, () => {
  // 'end': with nothing more to do the process must end by itself, though its jobs run.
  if (then === 'die') process.kill(process.pid, 'SIGKILL')
})
