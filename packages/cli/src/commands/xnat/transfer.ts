import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { createFolderSource, formatMemory, wildcard } from '@orbweaver/core'
import type { OnConflict, SyncProgress, SyncResult, XnatClient } from '@orbweaver/xnat'
import { Argument, Option, type Command } from 'commander'
import type { Bind } from '../../program.js'
import { EXIT, UsageError } from '../../exit.js'
import type { Session } from '../../session.js'
import { count, safeForTerminal } from '../../terminal/text.js'
import { addPlace, placeOf, withClient, type PlaceOptions } from './connect.js'
import { withProgress, type Tell } from './progress.js'

interface SyncCommandOptions extends PlaceOptions {
  readonly dryRun?: boolean
  readonly onConflict: OnConflict
}

const SHOWN = 20

export function registerGet(parent: Command, bind: Bind): void {
  const command = parent
    .command('get')
    .summary('fetch the files of one resource')
    .description('Fetch the files of one resource into a folder, each verified by size and checksum.')
    .requiredOption('--out <folder>', 'where to write; made when it is not there')
    .option('--file <path>', 'only these files; * and ? are wildcards')
  addPlace(command)
  bind<PlaceOptions & { readonly out: string; readonly file?: string }>(command, async (session, options) => {
    const node = placeOf(options)
    const { resource } = options
    if (resource === undefined) throw new UsageError('Which resource?', 'Give --resource, or use sync.')
    const { fetchFiles } = await import('@orbweaver/xnat')
    const files = await withClient(session, options, (client) =>
      withProgress(session, (tell) =>
        fetchFiles(client, { node, resource }, session.path(options.out), {
          signal: session.signal,
          wanted: wildcard(options.file ?? '*'),
          onProgress: tell,
        }),
      ),
    )
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
    if (session.json) await session.answer('xnat-get', { files, bytes })
    else await session.print(`${count(files.length, 'file')} (${formatMemory(bytes)}), verified`)
    return EXIT.good
  })
}

export function registerPut(parent: Command, bind: Bind): void {
  const command = parent
    .command('put')
    .summary('send a file or folder into one resource')
    .description(
      'Send a file, or what a folder holds, into one resource, and verify it by listing it back. Other files there stay.',
    )
    .argument('<path>', 'file or folder')
    .option('--overwrite', 'also replace files of the same name that differ')
  addPlace(command)
  bind<PlaceOptions & { readonly overwrite?: boolean }, [string]>(command, async (session, options, path) => {
    const node = placeOf(options)
    const { resource } = options
    if (resource === undefined) throw new UsageError('Into which resource?', 'Give --resource.')
    const from = session.path(path)
    const { signal } = session
    const { sendFiles } = await import('@orbweaver/xnat')
    const source = (await stat(from)).isDirectory()
      ? await createFolderSource(from, undefined, { signal })
      : await createFolderSource(dirname(from), [{ path: basename(from), bytes: (await stat(from)).size }])
    const sent = await withClient(session, options, (client) =>
      withProgress(session, (tell) =>
        sendFiles(client, { node, resource }, source, {
          signal,
          overwrite: options.overwrite === true,
          onProgress: tell,
        }),
      ),
    )
    const bytes = sent.reduce((sum, file) => sum + file.bytes, 0)
    if (session.json) await session.answer('xnat-put', { files: sent, bytes })
    else
      await session.print(`${count(sent.length, 'file')} (${formatMemory(bytes)}) in ${resource}, verified`)
    return EXIT.good
  })
}

export function registerSync(parent: Command, bind: Bind): void {
  const command = parent
    .command('sync')
    .summary('keep a folder and a place alike')
    .description(
      'Move what differs between a folder and a project, subject, session, scan or assessor with all below it. Nothing is ' +
        'removed; what both sides changed is reported and left as it is. Exit code 1: conflicts, or something failed.',
    )
    .addArgument(new Argument('<direction>', 'down: from XNAT; up: to XNAT').choices(['down', 'up']))
    .argument('<folder>', 'on this machine')
    .addOption(
      new Option('--on-conflict <side>', 'which side wins')
        .choices(['report', 'local', 'remote'])
        .default('report'),
    )
    .option('-n, --dry-run', 'only show what would be moved')
  addPlace(command)
  bind<SyncCommandOptions, ['down' | 'up', string]>(command, async (session, options, direction, folder) => {
    const { ResourceSyncer } = await import('@orbweaver/xnat')
    const place = placeOf(options)
    const only = options.resource === undefined ? undefined : wildcard(options.resource)
    const sync = (client: XnatClient, tell: Tell): Promise<SyncResult> => {
      const syncer = new ResourceSyncer(client)
      const common = {
        onProgress: ({ movedBytes, movedFiles, resource, resources, totalResources }: SyncProgress): void =>
          tell({
            bytes: movedBytes,
            files: movedFiles,
            at: `${resource} (${resources + 1} of ${totalResources})`,
          }),
        signal: session.signal,
        dryRun: options.dryRun === true,
        onConflict: options.onConflict,
        ...(only !== undefined && { filter: (_place: unknown, resource: string) => only(resource) }),
      }
      return direction === 'down'
        ? syncer.syncToLocal(place, session.path(folder), common)
        : syncer.syncToXnat(session.path(folder), place, common)
    }
    const result = await withClient(session, options, (client) =>
      withProgress(session, (tell) => sync(client, tell)),
    )
    if (session.json) await session.answer('xnat-sync', { ...result })
    else await report(session, result)
    const { conflicts, failed } = result
    if (conflicts.length === 0 && failed.length > 0 && failed.every(({ retryable }) => retryable)) {
      return EXIT.temporary
    }
    return conflicts.length + failed.length > 0 ? EXIT.failed : EXIT.good
  })
}

async function report(session: Session, result: SyncResult): Promise<void> {
  const { paint } = session.terminal
  const lists = [
    [result.dryRun ? 'would move' : 'moved', result.moved],
    [paint.yellow('conflict'), result.conflicts],
    [paint.red('failed'), result.failed],
  ] as const
  for (const [word, entries] of lists) {
    for (const { path, why } of entries.slice(0, SHOWN))
      await session.print(`${word} ${safeForTerminal(path)}: ${safeForTerminal(why)}`)
    if (entries.length > SHOWN) await session.print(`… and ${count(entries.length - SHOWN, 'more', 'more')}`)
  }
  const { moved, movedBytes, skipped, conflicts, failed } = result
  await session.print(
    `${count(moved.length, 'file')} (${formatMemory(movedBytes)}) ${result.dryRun ? 'to move' : 'moved'}, ` +
      `${skipped.length} left as they are, ${count(conflicts.length, 'conflict')}, ${failed.length} failed`,
  )
}
