/** A fake PBS as a process of its own, for another account to be: its jobs are that account's. Ends with its parent. */

import { startFakePbs, type Flavour } from '../../../../packages/adapter-pbs/dist-test/fake/start.js'

const [flavour = 'openpbs', folder = ''] = process.argv.slice(2)
const fake = await startFakePbs({ flavour: flavour as Flavour, folder })
process.once('disconnect', () => {
  void fake.stop()
})
process.send?.({ bin: fake.bin })
