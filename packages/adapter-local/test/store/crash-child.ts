/**
 * A process that works on an archive and dies by SIGKILL at the nth step. `node crash-child.js ARCHIVE CASE STEP`.
 * Ends with exit code 0 when there are fewer steps.
 */

import { FolderStore } from '#src/store/folder-store.js'
import { CASES, isCase } from './crash-cases.js'

const [, , path = '', name = '', step = ''] = process.argv
if (!isCase(name)) throw new Error(`no case ${name}`)
let left = Number(step)
const store = new FolderStore({
  path,
  onStep: () => {
    left -= 1
    if (left === 0) process.kill(process.pid, 'SIGKILL')
  },
})
await CASES[name].run(store)
await store.close()
