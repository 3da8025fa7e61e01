/** The passwords of a sandbox, for people and scripts: a file in its folder that only its owner can read. */

import { systemErrorCode } from '@orbweaver/core'
import type { Sandbox } from '@orbweaver/xnat-sandbox'
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'

export const PASSWORDS = 'passwords.txt'

/** One line a user. Names have no blanks, and neither do made passwords; a given one may end the line with any. */
export async function writePasswords(sandbox: Sandbox): Promise<void> {
  const file = join(sandbox.directory, PASSWORDS)
  const text = Object.values(sandbox.users)
    .map(({ name, password }) => `${name} ${password}\n`)
    .join('')
  const handle = await open(`${file}.new`, 'w', 0o600)
  try {
    await handle.chmod(0o600)
    await handle.writeFile(text)
  } finally {
    await handle.close()
  }
  await rename(`${file}.new`, file)
}

/** Undefined: there is no sandbox in this folder, or no such user. */
export async function readPassword(directory: string, user: string): Promise<string | undefined> {
  let text: string
  try {
    text = await readFile(join(directory, PASSWORDS), 'utf8')
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
  const line = text.split('\n').find((one) => one.startsWith(`${user} `))
  return line?.slice(user.length + 1)
}
