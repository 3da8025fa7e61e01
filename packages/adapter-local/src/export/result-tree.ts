/** Results as a plain tree of folders. */

import { join, resolve } from 'node:path'
import { checkLabel, formatRef, type DataStore } from '@orbweaver/core'
import {
  checkFolderNames,
  isProblem,
  listResult,
  outOfScope,
  resultFolder,
  selectResults,
  type ExportOptions,
  type ExportProblem,
} from './results.js'
import { publish, type EarlierFile, type PlannedFile, type Publishable } from './target-folder.js'

export interface ExportTreeSummary {
  /** Absolute; the project's folder. */
  readonly folder: string
  readonly results: number
  readonly files: number
  readonly written: number
  readonly bytes: number
  readonly unchanged: number
  readonly removed: number
  readonly problems: readonly ExportProblem[]
}

/**
 * Copy complete results to `<out>/<project>/<subject>/<session>/<procType>-<hash>/<resource>/…`; results of a subject or
 * of the project lie one or two levels higher. A session may have several results of one procType, so the eight digits
 * of the task's label are part of the folder. `orbweaver-mapping.tsv` lists every file with its SHA-256.
 *
 * Exporting again brings only what differs; see {@link publish} for what it leaves alone.
 *
 * @throws NotFoundError no such project
 * @throws InputError, ConflictError, IntegrityError, NoSpaceError see {@link publish}
 */
export async function exportTree(store: DataStore, options: ExportOptions): Promise<ExportTreeSummary> {
  const project = checkLabel(options.project, 'Project')
  const call = options.signal === undefined ? {} : { signal: options.signal }
  const problems: ExportProblem[] = []
  const files: PlannedFile[] = []
  const taken = new Set<string>()
  let exported = 0
  const { results } = await selectResults(store, options)
  const progress = { results: 0, totalResults: results.length, files: 0, bytes: 0 }
  const stays = outOfScope(options)
  const build = async (earlier: readonly EarlierFile[]): Promise<Publishable> => {
    for (const result of results) {
      options.signal?.throwIfAborted()
      checkFolderNames(result.ref)
      const listed = await listResult(store, result, call)
      const { subject = '', session = '' } = result.ref
      const place = [subject, session, resultFolder(result)].filter((part) => part !== '').join('/')
      if (isProblem(listed)) problems.push(listed)
      else if (taken.has(place)) {
        problems.push({ path: formatRef(result.ref), reason: `another result goes to ${place} too` })
      } else {
        taken.add(place)
        exported += 1
        for (const resource of listed.resources) {
          for (const entry of resource.files) {
            files.push({
              path: `${place}/${resource.label}/${entry.path}`,
              from: { node: result.ref, resource: resource.label },
              entry,
              columns: {
                subject,
                session,
                result: result.label,
                procType: result.procType,
                resource: resource.label,
                quality: result.quality,
              },
            })
          }
        }
      }
      progress.results += 1
      options.onProgress?.({ ...progress })
    }
    return { files, made: {}, retained: earlier.filter((file) => stays(file.columns)) }
  }
  const folder = join(resolve(options.out), project)
  const published = await publish(store, folder, build, (problem) => problems.push(problem), {
    ...call,
    onFile: (bytes) => {
      progress.files += 1
      progress.bytes += bytes
      options.onProgress?.({ ...progress })
    },
  })
  return { folder, results: exported, files: files.length, ...published, problems }
}
