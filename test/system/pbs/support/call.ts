/** Programs of PBS, called as somebody on the machine would. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'
import path from 'node:path'

export interface CallResult {
  readonly exit: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * @param account - whose the jobs are on a real PBS. `root` then is who runs the tests
 * @param user - for a fake: who calls
 * @param input - of the program; without it, it has none
 */
export async function call(
  {
    bin,
    account,
  }: { readonly bin: string; readonly account?: { readonly uid: number; readonly gid: number } | undefined },
  user: 'root' | undefined,
  [program = '', ...words]: readonly string[],
  input?: string,
): Promise<CallResult> {
  const child = spawn(path.join(bin, program), words, {
    stdio: 'pipe',
    cwd: os.tmpdir(),
    env: { ...process.env, ...(user !== undefined && { FAKE_PBS_USER: user }) },
    ...(account !== undefined && user === undefined && { uid: account.uid, gid: account.gid }),
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.end(input)
  await once(child, 'close')
  return { exit: child.exitCode, stdout, stderr }
}
