import { SessionProcessor, one } from '@orbweaver/core'
import { z } from 'zod'

/** Counts the lines of a session's note; sessions called PHANTOM… have none worth counting. */
export default class LineCount extends SessionProcessor {
  name = 'line-count'
  version = '1.0.0'
  description = 'Number of lines of the note, if there are enough of them.'
  params = z.object({ least: z.int().positive().default(1) })
  requirements = { cpus: 1, memory: '128 MiB', walltime: '5m' }
  inputs = { note: one({ scan: { type: 'NOTE' }, resource: 'TXT' }) }
  outputs = { COUNT: { path: 'lines.txt', required: true } }

  canRun({ session }) {
    return session?.label.startsWith('PHANTOM') ? 'phantoms have no notes' : true
  }

  command({ inputs, params, workspace }) {
    const program = 'n=$(wc -l <"$1"); echo "$n" >"$2/lines.txt"; [ "$n" -ge "$3" ]'
    return ['sh', '-c', program, 'line-count', inputs.note.path, workspace.outputs, String(params.least)]
  }
}
