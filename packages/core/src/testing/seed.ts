/** An archive as plain data, for tests: what a store is filled with before it is asked. */

import type { ScanQuality } from '../domain/archive.js'

/** Files by path in the resource. Text is UTF-8. */
export type SeedFiles = Readonly<Record<string, string | Uint8Array>>
/** Resources by label. */
export type SeedResources = Readonly<Record<string, SeedFiles>>

export interface SeedScan {
  readonly label: string
  readonly type: string
  /** Default `usable`. */
  readonly quality?: ScanQuality
  readonly description?: string
  readonly resources?: SeedResources
}

export interface SeedSession {
  readonly label: string
  readonly modality?: string
  /** `YYYY-MM-DD`. */
  readonly date?: string
  readonly scans?: readonly SeedScan[]
  readonly resources?: SeedResources
}

export interface SeedSubject {
  readonly label: string
  readonly sessions?: readonly SeedSession[]
  readonly resources?: SeedResources
}

export interface SeedProject {
  readonly label: string
  /** There, but this user may not see it. */
  readonly hidden?: boolean
  readonly subjects?: readonly SeedSubject[]
  readonly resources?: SeedResources
}

/** A scan with one resource of one small file, as most tests need it. */
export function seedScan(
  label: string,
  type: string,
  options: Partial<Omit<SeedScan, 'label' | 'type'>> = {},
): SeedScan {
  return {
    label,
    type,
    ...options,
    resources: options.resources ?? { NIFTI: { 'image.nii': `image of scan ${label}\n` } },
  }
}

/**
 * A project of many alike sessions: `S0001` … each with one session `S0001_MR1` of the given scans.
 *
 * @param scans - of every session. Default: a T1 and a BOLD scan, each with a NIFTI resource
 */
export function seedMany(
  label: string,
  subjects: number,
  scans: readonly SeedScan[] = [seedScan('1', 'T1w'), seedScan('2', 'BOLD')],
): SeedProject {
  return {
    label,
    subjects: Array.from({ length: subjects }, (_, index) => {
      const subject = `S${String(index + 1).padStart(4, '0')}`
      return { label: subject, sessions: [{ label: `${subject}_MR1`, modality: 'MR', scans }] }
    }),
  }
}
