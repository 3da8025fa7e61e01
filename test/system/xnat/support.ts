/** Real Python clients: installed once a run into a folder of their own, from their packages. */

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { ROOT } from '../../support/repository.js'

/** What was current when these tests were written; a newer one is tried by changing it here. */
const PACKAGES = {
  pyxnat: '1.6.4',
  xnat: '0.8.1',
  yaxil: '0.17.0',
  dax: '2.21.0',
  pytest: '9.2.0',
} as const
type PythonPackage = keyof typeof PACKAGES

export interface Ended {
  readonly code: number
  readonly output: string
}

export function run(
  program: string,
  argv: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, argv, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const take = (piece: Buffer): void => {
      output += piece.toString('utf8')
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code: code ?? -1, output }))
  })
}

export class PythonClients {
  private constructor(
    readonly folder: string,
    readonly python: string,
  ) {}

  /**
   * @param wanted - default: all
   * @returns why they cannot be had, as text
   */
  static async install(
    wanted = Object.keys(PACKAGES) as readonly PythonPackage[],
  ): Promise<PythonClients | string> {
    const folder = mkdtempSync(path.join(tmpdir(), 'orbweaver-clients-'))
    const python = path.join(folder, 'venv', 'bin', 'python')
    const fail = (reason: string): string => {
      rmSync(folder, { recursive: true, force: true })
      return reason
    }
    const made = await run('python3', ['-m', 'venv', path.join(folder, 'venv')], { cwd: folder }).catch(
      () => undefined,
    )
    if (made?.code !== 0) return fail('no python3 with venv on this machine')
    const exact = wanted.map((name) => `${name}==${PACKAGES[name]}`)
    const installed = await run(python, ['-m', 'pip', 'install', '--quiet', ...exact], { cwd: folder })
    if (installed.code !== 0)
      return fail(
        `the Python packages cannot be had here: ${installed.output.trim().split('\n').at(-1) ?? ''}`,
      )
    return new PythonClients(folder, python)
  }

  /** A script beside this file, in an empty folder. */
  script(name: string, argv: readonly string[]): Promise<Ended> {
    return this.#python([path.join(ROOT, 'test', 'system', 'xnat', 'clients', name), ...argv], this.scratch())
  }

  scratch(): string {
    return mkdtempSync(path.join(this.folder, 'work-'))
  }

  pytest(folder: string, argv: readonly string[]): Promise<Ended> {
    return this.#python(['-m', 'pytest', '-q', '-p', 'no:cacheprovider', ...argv], folder)
  }

  #python(argv: readonly string[], cwd: string): Promise<Ended> {
    // No settings of the person who runs the tests, and no byte code beside the sources.
    return run(this.python, argv, {
      cwd,
      env: { PATH: process.env.PATH, HOME: cwd, LANG: 'C.UTF-8', PYTHONDONTWRITEBYTECODE: '1' },
    })
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
