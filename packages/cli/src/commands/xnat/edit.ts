import { open } from 'node:fs/promises'
import { Argument, type Command } from 'commander'
import type { Bind } from '../../program.js'
import { EXIT, UsageError, shortPath } from '../../exit.js'
import { quoteForShell } from '../../terminal/shell.js'
import { addPlace, addServer, placeOf, withClient, type PlaceOptions, type ServerOptions } from './connect.js'

export function registerSet(parent: Command, bind: Bind): void {
  const command = parent
    .command('set')
    .summary('change fields')
    .description(
      'Change fields of a project, subject, session, scan or assessor, by short name (note, quality) or path ' +
        '(xnat:mrScanData/note). XNAT stores & < > " with entities.',
    )
    .argument('<field=value...>', 'what to change')
  addPlace(command)
  bind<PlaceOptions, [readonly string[]]>(command, async (session, options, words) => {
    const place = placeOf(options)
    const fields = Object.fromEntries(
      words.map((word) => {
        const at = word.indexOf('=')
        if (at < 1) throw new UsageError(`${word}: write field=value.`)
        return [word.slice(0, at), word.slice(at + 1)]
      }),
    )
    await withClient(session, options, async (client) => {
      // XNAT would make what is not there.
      const { xsiType } = await client.item(place, { signal: session.signal })
      await client.setFields(place, xsiType, fields, { signal: session.signal })
    })
    if (session.json) await session.answer('xnat-set', { place, fields })
    else await session.print(`Changed: ${Object.keys(fields).join(', ')}`)
    return EXIT.good
  })
}

export function registerTokens(parent: Command, bind: Bind): void {
  const command = parent
    .command('tokens')
    .summary('alias tokens: a login that ends by itself')
    .description(
      'List your alias tokens, issue one, or end one. The secret of a new one goes to a file that only you can read, as ' +
        'lines a shell can source; it is never printed.',
    )
    .addArgument(new Argument('<action>', 'what to do').choices(['list', 'issue', 'end']))
    .argument('[alias]', 'which one to end')
    .option('--out <file>', 'issue: the file, which must not be there yet')
  addServer(command)
  bind<ServerOptions & { readonly out?: string }, ['list' | 'issue' | 'end', string | undefined]>(
    command,
    async (session, options, action, alias) => {
      const { signal } = session
      if (action === 'list') {
        const tokens = await withClient(session, options, (client) => client.tokens({ signal }))
        if (session.json) await session.answer('xnat-tokens', { tokens })
        else {
          await session.table(
            [
              { head: 'ALIAS', value: (token) => token.alias },
              { head: 'ENDS', value: ({ expiresAtMs }) => timeOf(expiresAtMs) },
            ],
            tokens,
          )
        }
        return EXIT.good
      }
      if (action === 'end') {
        if (alias === undefined) throw new UsageError('Which token?', 'Give its alias.')
        await withClient(session, options, (client) => client.invalidateToken(alias, { signal }))
        if (session.json) await session.answer('xnat-tokens', { ended: alias })
        else await session.print(`Ended ${alias}.`)
        return EXIT.good
      }
      if (options.out === undefined) throw new UsageError('Where shall the token go?', 'Give --out.')
      const path = session.path(options.out)
      // Before the token is made: one that nobody can keep would live on for days.
      const file = await open(path, 'wx', 0o600)
      try {
        const { token, url } = await withClient(session, options, async (client) => ({
          token: await client.issueToken({ signal }),
          url: client.url,
        }))
        const lines = { XNAT_HOST: url, XNAT_USER: token.alias, XNAT_PASS: token.secret }
        await file.writeFile(
          Object.entries(lines)
            .map(([name, value]) => `export ${name}=${quoteForShell(value)}\n`)
            .join(''),
        )
        const { alias: made, expiresAtMs } = token
        if (session.json) await session.answer('xnat-tokens', { alias: made, expiresAtMs, file: path })
        else await session.print(`Issued ${made}; its secret is in ${shortPath(path, session.directory)}.`)
      } finally {
        await file.close()
      }
      return EXIT.good
    },
  )
}

function timeOf(ms: number | undefined): string {
  return ms === undefined ? '' : new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
}
