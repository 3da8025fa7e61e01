/**
 * A sandbox alone in a process, to be killed: `node server-process.js DIRECTORY PORT USER PASSWORD_FILE [ARCHIVE]`. Says its URL
 * on standard output, and ends when standard input ends.
 */

import { FolderStore } from '@orbweaver/adapter-local'
import { startSandbox } from '@orbweaver/xnat-sandbox'
import fs from 'node:fs'

const [directory = '', port = '0', user = '', passwordFile = '', archive] = process.argv.slice(2)
const password = fs.readFileSync(passwordFile, 'utf8')
const sandbox = await startSandbox({
  directory,
  port: Number(port),
  users: [{ name: user, password, projects: { P: 'owner' } }],
})
if (archive !== undefined) {
  const store = await FolderStore.open({ path: archive })
  await sandbox.seed(store)
  await store.close()
}
console.log(sandbox.url)
process.stdin.resume().once('end', () => void sandbox.close())
