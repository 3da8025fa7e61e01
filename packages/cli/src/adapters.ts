/** Adapters by the word after `use:`. Ours are loaded the same way as anybody's: by importing a module. */

import {
  InputError,
  NotFoundError,
  systemErrorCode,
  type AdapterDescriptor,
  type AdapterKind,
} from '@orbweaver/core'
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/** The words that stand for packages of ours. */
const OURS: Readonly<Record<AdapterKind, Readonly<Record<string, () => Promise<unknown>>>>> = {
  'data-store': {
    folder: () => import('@orbweaver/adapter-local'),
    xnat: () => import('@orbweaver/xnat'),
  },
  'cluster-backend': {
    local: () => import('@orbweaver/adapter-local'),
    slurm: () => import('@orbweaver/adapter-slurm'),
    pbs: () => import('@orbweaver/adapter-pbs'),
  },
  transport: {
    ssh: () => import('@orbweaver/transport-ssh'),
  },
  notifier: {},
}

/** Words that need no package or file, for messages and schemas. */
export const KNOWN_ADAPTERS = {
  store: Object.keys(OURS['data-store']),
  backend: Object.keys(OURS['cluster-backend']),
  transport: Object.keys(OURS.transport),
} as const

/** Every adapter of ours. */
export async function ourAdapters(): Promise<readonly AdapterDescriptor[]> {
  const found = await Promise.all(
    Object.entries(OURS).flatMap(([kind, words]) =>
      Object.keys(words).map((use) => loadAdapter(use, kind as AdapterKind, '/')),
    ),
  )
  return [...new Set(found)]
}

/**
 * @param use - one of our words, a package name, or a path that starts with `.` or `/`
 * @param kind - what it must be
 * @param directory - folder of the site file: paths and packages are looked for from there
 * @throws NotFoundError there is no such file or package
 * @throws InputError it cannot be loaded, or is no such adapter
 */
export async function loadAdapter(
  use: string,
  kind: AdapterKind,
  directory: string,
): Promise<AdapterDescriptor> {
  const ours = OURS[kind]
  const own = Object.hasOwn(ours, use) ? ours[use] : undefined
  const module = own === undefined ? await importOther(use, directory) : await own()
  const exported = (module as { readonly default?: unknown }).default
  const descriptors = (Array.isArray(exported) ? exported : [exported]) as readonly unknown[]
  const good = descriptors.filter(isDescriptor)
  if (good.length === 0) {
    throw new InputError('its default export is no adapter', {
      hint: 'export default defineAdapter({ kind, name, configSchema, module })',
    })
  }
  // A package with one adapter of the kind may be called by the package's name; with several the word decides.
  const fitting = good.filter((descriptor) => descriptor.kind === kind)
  const found = fitting.find(({ name }) => name === use) ?? (fitting.length === 1 ? fitting[0] : undefined)
  if (found !== undefined) return found
  if (fitting.length > 1) {
    throw new InputError(
      `it has several adapters of kind ${kind}: ${fitting.map(({ name }) => name).join(', ')}`,
    )
  }
  const kinds = [...new Set(good.map((descriptor) => descriptor.kind))].join(', ')
  throw new InputError(`it is no ${kind} but a ${kinds}`)
}

function isDescriptor(value: unknown): value is AdapterDescriptor {
  if (typeof value !== 'object' || value === null) return false
  const { kind, name, configSchema, module } = value as Partial<Record<keyof AdapterDescriptor, unknown>>
  return (
    typeof kind === 'string' &&
    Object.hasOwn(OURS, kind) &&
    typeof name === 'string' &&
    typeof configSchema === 'object' &&
    typeof module === 'function'
  )
}

async function importOther(use: string, directory: string): Promise<unknown> {
  const path = /^\.{0,2}\//.test(use)
  const file = path ? resolve(directory, use) : await resolvePackage(use, directory)
  if (file === undefined) {
    throw new NotFoundError('there is no such package', { hint: `npm install ${use} beside the site file` })
  }
  if (path && !(await isFile(file))) {
    throw new NotFoundError(`there is no file ${file}`, { hint: 'paths are relative to the site file' })
  }
  try {
    return (await import(pathToFileURL(file).href)) as unknown
  } catch (error) {
    throw new InputError(error instanceof Error ? error.message : String(error), {
      cause: error,
      hint: `the file is ${file}`,
    })
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return false
    throw error
  }
}

/** The module of a package, as `import` in a file of that folder would find it; then one installed beside us. */
async function resolvePackage(name: string, directory: string): Promise<string | undefined> {
  if (!/^(@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*$/i.test(name)) return undefined
  for (const from of [directory, dirname(new URL(import.meta.url).pathname)]) {
    for (let folder = from; ; folder = dirname(folder)) {
      const root = join(folder, 'node_modules', name)
      if (await isFile(join(root, 'package.json'))) return entryOf(root)
      if (dirname(folder) === folder) break
    }
  }
  return undefined
}

/**
 * `require.resolve` cannot see packages that are for `import` only, and `import.meta.resolve` knows no other starting
 * place; so the entry of such a package is read from its manifest.
 */
async function entryOf(root: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    readonly exports?: unknown
    readonly main?: string
  }
  const entry = forImport(manifest.exports)
  return entry === undefined ? createRequire(join(root, 'package.json')).resolve(root) : join(root, entry)
}

function forImport(target: unknown): string | undefined {
  if (typeof target === 'string') return target
  if (Array.isArray(target)) return target.map(forImport).find((found) => found !== undefined)
  if (typeof target !== 'object' || target === null) return undefined
  for (const [key, value] of Object.entries(target)) {
    if (['.', 'node', 'import', 'default'].includes(key)) {
      const found = forImport(value)
      if (found !== undefined) return found
    }
  }
  return undefined
}
