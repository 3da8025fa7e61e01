/**
 * The second of two processes by which `doctor` proves that a database in this folder stands being written by several
 * at once. Arguments: file, name of this process, number of rows.
 */

import { openJournal } from '@orbweaver/core'

/** Writes rows that nobody else writes; true only if nobody's write got lost can the sum be right afterwards. */
export function writeRows(file: string, name: string, rows: number): void {
  const journal = openJournal(file)
  try {
    for (let attempt = 1; attempt <= rows; attempt += 1) {
      journal.putAttempt({
        label: `doctor-${name}`,
        attempt,
        name: `doctor-${name}-${attempt}`,
        project: 'doctor',
        procType: 'doctor_v1',
        stage: 'staging',
        workspace: '/nowhere',
        cancelAsked: false,
        createdAtMs: 0,
      })
    }
  } finally {
    journal.close()
  }
}

const [, script = '', file, name, rows] = process.argv
if (script.endsWith('doctor-writer.js') && file !== undefined && name !== undefined) {
  writeRows(file, name, Number(rows))
}
