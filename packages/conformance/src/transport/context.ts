import { randomBytes } from 'node:crypto'
import type { CommandResult, CommandRunner, FileTransfer } from '@orbweaver/core'
import type { TransportHarness, TransportLab } from '../harness.js'

export class TransportContext {
  readonly #lab: TransportLab
  readonly #harness: TransportHarness

  constructor(lab: TransportLab, harness: TransportHarness) {
    this.#lab = lab
    this.#harness = harness
  }

  get files(): FileTransfer {
    return this.#lab.transport.files
  }
  get runner(): CommandRunner {
    return this.#lab.transport.runner
  }
  get runsCommands(): true | string {
    return (this.#lab.runsCommands ?? true) || 'the transport has no machine behind it'
  }
  get canLink(): true | string {
    return this.#lab.link !== undefined || 'the lab cannot make links'
  }
  get tellsModes(): true | string {
    return this.#lab.mode !== undefined || 'the lab cannot tell modes'
  }
  get largeFile(): { readonly bytes: number; readonly maxGrowthBytes: number | undefined } {
    const mebibyte = 1024 ** 2
    return this.#harness.largeFile ?? { bytes: 64 * mebibyte, maxGrowthBytes: 56 * mebibyte }
  }

  /** A path on the far side. */
  path(...parts: readonly string[]): string {
    return [this.#lab.folder, ...parts].join('/')
  }

  /** A path of this machine. */
  local(...parts: readonly string[]): string {
    return [this.#lab.localFolder, ...parts].join('/')
  }

  async link(target: string, path: string): Promise<void> {
    await this.#lab.link?.(target, path)
  }

  async mode(path: string): Promise<number | undefined> {
    return await this.#lab.mode?.(path)
  }

  /** Run a shell script with arguments. */
  async sh(script: string, ...words: readonly string[]): Promise<CommandResult> {
    return await this.runner.run({ argv: ['/bin/sh', '-c', script, 'sh', ...words] })
  }

  /** Everything below the claim's folder, as `path` or `path (kind)`. */
  async listing(): Promise<readonly string[]> {
    const listed = await this.files.list(this.path())
    return listed.map(({ path, kind }) => (kind === 'file' ? path : `${path} (${kind})`))
  }

  /** A word that nobody else uses. */
  word(): string {
    return randomBytes(6).toString('hex')
  }

  async dispose(): Promise<void> {
    await this.#lab.transport.close()
    await this.#lab.dispose()
  }
}
