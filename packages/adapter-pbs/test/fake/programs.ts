/** The programs by name, and what each says when nobody answers. */

import { control, pbsnodes } from './control.js'
import type { Fault, Output, Request } from './model.js'
import { qselect, qstat } from './qstat.js'
import { qsub } from './qsub.js'
import type { Server } from './server.js'

export const PROGRAMS = [
  'qsub',
  'qstat',
  'qdel',
  'qselect',
  'qhold',
  'qrls',
  'qrerun',
  'qalter',
  'pbsnodes',
] as const

/** @returns undefined: it never comes back. @param once - whether a switch is on; from now on it is off */
export function run(
  request: Request,
  server: Server,
  has: (fault: Fault) => boolean,
  once: (fault: Fault) => boolean,
): Output | undefined {
  const { program, words } = request
  if (words.includes('--version'))
    return server.flavour === 'torque'
      ? { exit: 0, stderr: 'Version: 6.1.3\nCommit: \n' }
      : { exit: 0, stdout: 'pbs_version = 23.06.06\n' }
  if (has('server-down')) return away(request, server)
  if (once('vanish')) server.vanish()
  switch (program) {
    case 'qsub': {
      const output = qsub(request, server, has)
      if (output.exit !== 0) return output
      if (once('hang-after-accept')) return undefined
      return once('lose-answer') ? away(request, server) : output
    }
    case 'qstat':
      return qstat(request, server)
    case 'qselect':
      return qselect(request, server)
    case 'pbsnodes':
      return pbsnodes(request, server, has('node-down'))
    default:
      return control(request, server)
  }
}

function away({ program, words }: Request, server: Server): Output {
  const name = server.node
  if (server.flavour === 'torque') {
    const try_ = `\nUnable to communicate with ${name}(127.0.0.1)\nCannot connect to specified server host '${name}'.\n`
    const end = `${program}: cannot connect to server ${name} (errno=111) Connection refused\n`
    return {
      exit: 111,
      stderr:
        program === 'qstat'
          ? `${try_.repeat(3)}${end}qstat: Error (111 - Connection refused) \n`
          : `${try_}${end}`,
    }
  }
  const isJson = program === 'qstat' && words.includes('json')
  return {
    exit: program === 'qstat' ? 255 : 162,
    ...(isJson && {
      stdout: `{\n\t"timestamp":\t${Math.floor(Date.now() / 1000)},\n\t"pbs_version":\t"23.06.06",\n\t"pbs_server":\t"${name}"\n}\n`,
    }),
    stderr:
      program === 'qdel'
        ? `Connection refused\nCouldn't connect to cluster: ${name}\n`
        : `Connection refused\n${program}: cannot connect to server ${name} (errno=15010)\n`,
  }
}
