import type { Command } from 'commander'
import type { Bind } from '../../program.js'
import { EXIT } from '../../exit.js'
import { count, safeForTerminal } from '../../terminal/text.js'
import { addServer, withClient, type ServerOptions } from './connect.js'

export function registerCheckServer(parent: Command, bind: Bind): void {
  const command = parent
    .command('check-server')
    .summary('does a server behave as Orbweaver expects?')
    .description(
      'Try what Orbweaver relies on, in a scratch project, and say where the server differs from the sandbox. Makes one ' +
        'subject and removes it at the end, which needs an owner of the project. Exit code 1: something differs.',
    )
    .requiredOption('--project <label>', 'scratch project, which is there already')
  addServer(command)
  bind<ServerOptions & { readonly project: string }>(command, async (session, options) => {
    const { project } = options
    const { checkServer } = await import('./server-checks.js')
    const { signal } = session
    const result = await withClient(session, options, async (client) => {
      await client.item({ project }, { signal })
      const question = `Write into project ${project} of ${client.url}, and clean up afterwards?`
      if (!(await session.confirm(question))) return undefined
      return {
        ...(await checkServer(client, project, { signal })),
        build: await client.buildInfo({ signal }),
      }
    })
    if (result === undefined) return EXIT.failed
    const { checks, left, build } = result
    const differing = checks.filter(({ same }) => !same)
    if (session.json) await session.answer('xnat-check-server', { version: build.version, checks, left })
    else {
      const { paint } = session.terminal
      await session.print(`XNAT ${safeForTerminal(build.version ?? 'of unknown version')}`)
      for (const { name, same, server, sandbox, use } of checks) {
        if (same) await session.print(`${paint.green('same')}    ${name}: ${sandbox}`)
        else {
          await session.print(`${paint.red('differs')} ${name}: ${safeForTerminal(server)}`)
          await session.print(`        the sandbox: ${sandbox}; it matters for ${use}`)
        }
      }
      await session.print(
        differing.length === 0
          ? 'The server does what is relied on.'
          : `${count(differing.length, 'difference')}.`,
      )
      if (left !== undefined)
        session.note(`Subject ${left} could not be removed: this user is no owner. Remove it.`)
    }
    return differing.length > 0 || left !== undefined ? EXIT.failed : EXIT.good
  })
}
