/** Makes a backend put every job into an array, for harnesses of schedulers that have arrays. */

import type { ClusterBackend, JobSpec, Transport } from '@orbweaver/core'
import { replacingSubmit } from './live-backend.js'

/**
 * Every job is submitted beside a small one of the same kind (`true`, same requirements, same `groupKey`), so that a backend
 * that makes arrays makes each an element of one: all that is claimed of jobs is then claimed of elements.
 *
 * @param folder - where the small jobs run; on the jobs' side
 */
export function inArrays(
  backend: ClusterBackend,
  files: Pick<Transport['files'], 'mkdir'>,
  folder: string,
): ClusterBackend {
  let serial = 0
  const submit: ClusterBackend['submit'] = async (specs, options) => {
    const beside: JobSpec[] = []
    for (const spec of specs) {
      const directory = `${folder}/beside/${(serial += 1)}`
      await files.mkdir(directory)
      beside.push({
        ...spec,
        name: `beside-${Math.random().toString(36).slice(2, 10)}-${Date.now()}-${serial}`,
        command: ['true'],
        directory,
        stdoutPath: `${directory}/out`,
        stderrPath: `${directory}/err`,
      })
    }
    const all = [...specs, ...beside].map((spec) => ({ groupKey: 'kit', ...spec }))
    return (await backend.submit(all, options)).slice(0, specs.length)
  }
  return replacingSubmit(backend, submit)
}
