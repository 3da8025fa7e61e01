/** Finding and loading the site file. */

import { findSiteFile, loadSite, processorJsonSchema, siteJsonSchema, type LoadedSite } from '@orbweaver/core'
import { readyProcessors } from '@orbweaver/processors'
import { resolve } from 'node:path'
import { KNOWN_ADAPTERS, loadAdapter, ourAdapters } from './adapters.js'
import { UsageError } from './exit.js'

/** @throws UsageError there is none */
export async function findSite(given: string | undefined, directory: string): Promise<string> {
  if (given !== undefined && given !== '') return resolve(directory, given)
  const found = await findSiteFile(directory)
  if (found !== undefined) return found
  throw new UsageError(
    `There is no site file: no orbweaver.yaml in ${directory} or a folder above it.`,
    'Write one with `orbweaver init`, name one with --site, or see it all work with `orbweaver demo`.',
  )
}

/** @throws ConfigError with every problem of the site file and of the files it names */
export async function openSite(file: string, profile: string | undefined): Promise<LoadedSite> {
  return loadSite(file, {
    ...(profile !== undefined && { profile }),
    importAdapter: loadAdapter,
    knownAdapters: KNOWN_ADAPTERS,
    readyProcessors,
  })
}

export async function schemaOf(what: 'site' | 'processor'): Promise<Record<string, unknown>> {
  return what === 'site' ? siteJsonSchema(await ourAdapters()) : processorJsonSchema()
}
