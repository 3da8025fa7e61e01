/** Work with an XNAT directly, without a site file. */

import type { Command } from 'commander'
import type { Bind } from '../program.js'
import { registerCheckServer } from './xnat/check-server.js'
import { registerSet, registerTokens } from './xnat/edit.js'
import { registerXnatList } from './xnat/list.js'
import { registerGet, registerPut, registerSync } from './xnat/transfer.js'

export function registerXnat(program: Command, bind: Bind): void {
  const command = program
    .command('xnat')
    .summary('work with an XNAT directly')
    .description(
      'List, fetch, send and change what an XNAT holds; no site file is needed. The server is XNAT_HOST or --url; ' +
        'the login is XNAT_USER and XNAT_PASS, else the entry of the host in ~/.netrc.',
    )
  registerXnatList(command, bind)
  registerGet(command, bind)
  registerPut(command, bind)
  registerSync(command, bind)
  registerSet(command, bind)
  registerTokens(command, bind)
  registerCheckServer(command, bind)
}
