/** The transport's contract against a real OpenSSH server: directly, and through a jump host. */

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { transportSuite, type TransportLab } from '@orbweaver/conformance'
import { skip } from '../../support/skip.js'
import { sshLabProblem, startSshLab, type RealSshLab } from '../../lab/ssh/ssh-lab.js'

const problem = sshLabProblem()

for (const host of ['login', 'behind'] as const) {
  describe(`transport over OpenSSH, ${host === 'login' ? 'directly' : 'through a jump host'}`, function () {
    let servers: RealSshLab | undefined

    before(async function () {
      if (problem !== undefined) skip(this, problem)
      servers = await startSshLab()
    })
    after(async () => {
      await servers?.stop()
    })

    transportSuite({ create: () => create() })

    async function create(): Promise<TransportLab> {
      if (servers === undefined) throw new Error('the servers are not there')
      const folder = servers.folder()
      const localFolder = fs.mkdtempSync(path.join(os.tmpdir(), 'orbweaver-near-'))
      const transport = servers.connect(host)
      return await Promise.resolve({
        transport,
        folder,
        localFolder,
        link: (target: string, place: string) => fs.promises.symlink(target, place),
        mode: async (place: string) => (await fs.promises.stat(place)).mode & 0o7777,
        async dispose() {
          await transport.close()
          fs.rmSync(folder, { recursive: true, force: true })
          fs.rmSync(localFolder, { recursive: true, force: true })
        },
      })
    }
  })
}
