/** What the commands under `xnat` share: the server, and the place that is meant. */

import { homedir } from 'node:os'
import { join } from 'node:path'
import { readFile } from 'node:fs/promises'
import type { LabelAddress, XnatClient } from '@orbweaver/xnat'
import type { Command } from 'commander'
import { UsageError } from '../../exit.js'
import type { Session } from '../../session.js'

export interface ServerOptions {
  readonly url?: string
  readonly ca?: string
}

export interface PlaceOptions extends ServerOptions {
  readonly project?: string
  readonly subject?: string
  readonly session?: string
  readonly scan?: string
  readonly assessor?: string
  readonly resource?: string
}

export function addServer(command: Command): Command {
  return command
    .option('--url <url>', 'the server; default: XNAT_HOST')
    .option('--ca <file>', "certificates (PEM) to trust in place of the system's")
}

export function addPlace(command: Command): Command {
  const heading = 'Place:'
  for (const [flags, text] of [
    ['--project <label>', 'project'],
    ['--subject <label>', 'subject'],
    ['--session <label>', 'session (experiment)'],
    ['--scan <id>', 'scan'],
    ['--assessor <label>', 'assessor'],
    ['--resource <label>', 'resource'],
  ] as const) {
    command.addOption(command.createOption(flags, text).helpGroup(heading))
  }
  return addServer(command)
}

/** @throws UsageError a level is named without the one above it */
export function placeOf(options: PlaceOptions): LabelAddress {
  const { project, subject, session, scan, assessor } = options
  if (project === undefined) throw new UsageError('Which project?', 'Give --project.')
  if (session !== undefined && subject === undefined) {
    throw new UsageError('A session is named with its subject.', 'Give --subject.')
  }
  if (scan !== undefined && assessor !== undefined) {
    throw new UsageError('A place is a scan or an assessor, not both.')
  }
  if ((scan ?? assessor) !== undefined && session === undefined) {
    throw new UsageError('A scan or assessor is named with its session.', 'Give --session.')
  }
  return {
    project,
    ...(subject !== undefined && { subject }),
    ...(session !== undefined && { session }),
    ...(scan !== undefined && { scan }),
    ...(assessor !== undefined && { assessor }),
  }
}

/** Logs in when first needed, and out at the end. */
export async function withClient<T>(
  session: Session,
  options: ServerOptions,
  work: (client: XnatClient) => Promise<T>,
): Promise<T> {
  const { XnatClient, findCredentials, urlFromEnvironment } = await import('@orbweaver/xnat')
  const { environment } = session
  const url = options.url ?? urlFromEnvironment(environment)
  if (url === undefined) throw new UsageError('Which server?', 'Set XNAT_HOST, or give --url.')
  // A URL in a process list or a shell history is no place for a password.
  if (/^[a-z]+:\/\/[^/]*@/i.test(url)) {
    throw new UsageError('The URL holds a login.', 'Set XNAT_USER and XNAT_PASS, or use ~/.netrc.')
  }
  if (!URL.canParse(url) || !/^https?:\/\//i.test(url)) {
    throw new UsageError('The server is no URL.', 'Write it as https://xnat.example.edu.')
  }
  const netrc = environment.NETRC ?? join(environment.HOME ?? homedir(), '.netrc')
  const client = new XnatClient({
    url,
    credentials: await findCredentials(url, { environment, netrc }),
    ...(options.ca !== undefined && { ca: await readFile(session.path(options.ca), 'utf8') }),
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
