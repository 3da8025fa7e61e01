import type { Transport } from '../ports/transport.js'
import { createLocalRunner, type LocalRunnerOptions } from './command-runner.js'
import { createLocalFiles } from './local-files.js'

export type LocalTransportOptions = LocalRunnerOptions

/** Commands and files of this machine. Holds nothing open: `close` has nothing to do. */
export function createLocalTransport(options: LocalTransportOptions = {}): Transport {
  return {
    name: 'local',
    runner: createLocalRunner(options),
    files: createLocalFiles(),
    close: () => Promise.resolve(),
  }
}
