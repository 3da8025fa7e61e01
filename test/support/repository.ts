/** The repository as data: its packages, their manifests and files. */

import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { config } from 'chai'

// Lists of offences are the message: they are shown whole.
config.truncateThreshold = 0

/** The checkout, seen from `dist-test/support/`. */
export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..')

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly description?: string
  readonly license?: string
  readonly type?: string
  readonly engines?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly imports?: Readonly<Record<string, string>>
  readonly bin?: Readonly<Record<string, string>>
  readonly files?: readonly string[]
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly workspaces?: readonly string[]
}

export interface Package {
  /** Name of its folder: `core`. */
  readonly id: string
  readonly folder: string
  readonly manifest: Manifest
}

export function readManifest(folder: string): Manifest {
  return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')) as Manifest
}

export function packages(): readonly Package[] {
  const parent = path.join(ROOT, 'packages')
  return fs
    .readdirSync(parent, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => ({
      id: name,
      folder: path.join(parent, name),
      manifest: readManifest(path.join(parent, name)),
    }))
}

const BUILT = new Set([
  'node_modules',
  'dist',
  'dist-test',
  'coverage',
  '.git',
  '.nx',
  'api',
  'orbweaver-demo',
])

/** Every file below a folder that a person wrote, absolute, sorted. */
export function filesBelow(folder: string, wanted: (name: string) => boolean = () => true): string[] {
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const full = path.join(folder, entry.name)
      if (entry.isDirectory()) return BUILT.has(entry.name) ? [] : filesBelow(full, wanted)
      return entry.isFile() && wanted(entry.name) ? [full] : []
    })
    .sort()
}

/** For messages. */
export const shown = (file: string): string => path.relative(ROOT, file)
