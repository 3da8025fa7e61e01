/** The arrows of docs/architecture.md, read from the sources: who may import whom. */

import { builtinModules } from 'node:module'
import path from 'node:path'
import { expect } from 'chai'
import { cyclesOf, declaredModules, importsOf, splitSpecifier } from './support/imports.js'
import type { Import } from './support/imports.js'
import { filesBelow, packages, shown } from './support/repository.js'
import type { Package } from './support/repository.js'

/** What each package's sources may import of ours, and what its tests may beside that. */
const ARROWS: Readonly<
  Record<string, { readonly src: readonly string[]; readonly test: readonly string[] }>
> = {
  core: { src: [], test: [] },
  conformance: { src: ['core'], test: [] },
  'adapter-local': { src: ['core'], test: ['conformance'] },
  'adapter-slurm': { src: ['core'], test: ['conformance'] },
  processors: { src: ['core'], test: ['conformance'] },
  'adapter-pbs': { src: ['core'], test: ['conformance'] },
  'transport-ssh': { src: ['core'], test: ['conformance'] },
  'xnat-sandbox': { src: ['core'], test: ['conformance'] },
  xnat: { src: ['core'], test: ['conformance', 'xnat-sandbox'] },
  cli: {
    src: [
      'core',
      'adapter-local',
      'adapter-slurm',
      'adapter-pbs',
      'transport-ssh',
      'xnat',
      'xnat-sandbox',
      'processors',
    ],
    test: ['conformance'],
  },
}

/**
 * The rooms inside core, and which of them each may use. `errors` and `tokens` are single files. The engine knows
 * neither the site file nor any scheduler's programs; the domain knows nothing but itself and the errors.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  domain: ['errors'],
  ports: ['domain', 'errors'],
  job: ['domain', 'ports', 'errors'],
  engine: ['domain', 'ports', 'job', 'errors'],
}
/** Type-only edges that name the other side without needing it. */
const TYPES_MAY_ALSO: Readonly<Record<string, readonly string[]>> = { tokens: ['ports', 'engine'] }
/** The container and its decorators appear here and nowhere else. */
const CONTAINER_FILES = new Set(['adapter.ts', 'module.ts', 'tokens.ts'])
const CONTAINER_PACKAGE = 'inversify'
const COMPOSITION_ROOT = 'packages/cli/src/container.ts'

const PREFIX = '@orbweaver/'
const isTypeScript = (name: string): boolean => /\.[cm]?tsx?$/.test(name)
const place = ({ from, line, specifier }: Import): string => `${shown(from)}:${line} imports ${specifier}`

interface Sources {
  readonly pkg: Package
  readonly src: readonly Import[]
  readonly test: readonly Import[]
}

describe('import graph', () => {
  let all: readonly Sources[]
  before(() => {
    all = packages().map((pkg) => ({
      pkg,
      src: filesBelow(path.join(pkg.folder, 'src'), isTypeScript).flatMap(importsOf),
      test: filesBelow(path.join(pkg.folder, 'test'), isTypeScript).flatMap(importsOf),
    }))
  })

  const offences = (check: (sources: Sources) => readonly string[]): string[] => all.flatMap(check)

  it('has an arrow drawn for each package', () => {
    expect(all.map(({ pkg }) => pkg.id)).to.have.members(Object.keys(ARROWS))
    expect(all.flatMap(({ src }) => src).length).to.be.greaterThan(100)
  })

  it('lets packages import only those their arrows point to', () => {
    const found = offences(({ pkg, src, test }) => {
      const allowed = ARROWS[pkg.id] ?? { src: [], test: [] }
      const wrong = (imports: readonly Import[], names: readonly string[]): Import[] =>
        imports.filter(({ specifier }) => {
          const { name } = splitSpecifier(specifier)
          return name.startsWith(PREFIX) && !names.includes(name.slice(PREFIX.length))
        })
      return [...wrong(src, allowed.src), ...wrong(test, [...allowed.src, ...allowed.test, pkg.id])].map(
        place,
      )
    })
    expect(found).to.deep.equal([])
  })

  it('enters another package only by an entry of its exports map', () => {
    const byName = new Map(all.map(({ pkg }) => [pkg.manifest.name, pkg.manifest]))
    const found = offences(({ src, test }) =>
      [...src, ...test]
        .filter(({ specifier }) => {
          const { name, entry } = splitSpecifier(specifier)
          return name.startsWith(PREFIX) && byName.get(name)?.exports?.[entry] === undefined
        })
        .map(place),
    )
    expect(found).to.deep.equal([])
  })

  it('never leaves its own folder by a relative path', () => {
    const found = offences(({ pkg, src, test }) => {
      const leaves = (imports: readonly Import[], folder: string): Import[] =>
        imports.filter(({ target }) => target !== undefined && !target.startsWith(folder + path.sep))
      return [...leaves(src, path.join(pkg.folder, 'src')), ...leaves(test, pkg.folder)].map(place)
    })
    expect(found).to.deep.equal([])
  })

  it('keeps the rooms of core apart: domain ← ports ← engine', () => {
    const core = all.find(({ pkg }) => pkg.id === 'core')
    const src = path.join(core?.pkg.folder ?? '', 'src')
    const roomOf = (file: string): string => {
      const [first = ''] = path.relative(src, file).split(path.sep)
      return first.replace(/\.ts$/, '')
    }
    const found = (core?.src ?? [])
      .filter((edge) => {
        if (edge.target === undefined) return false
        const from = roomOf(edge.from)
        const to = roomOf(edge.target)
        if (from === to) return false
        // Only the package's own face re-exports; nothing inside leans on it, nor on what is for tests.
        if (to === 'index') return true
        if (to === 'testing') return true
        const allowed = ROOMS[from]
        if (allowed === undefined) return false
        return !allowed.includes(to) && !(edge.typeOnly && (TYPES_MAY_ALSO[from] ?? []).includes(to))
      })
      .map(place)
    expect(found).to.deep.equal([])
  })

  it('has no cycle between files, as they are loaded', () => {
    for (const { pkg, src } of all) {
      const graph = new Map<string, Set<string>>()
      for (const { from, target, typeOnly } of src) {
        if (typeOnly || target === undefined) continue
        graph.set(from, (graph.get(from) ?? new Set()).add(target))
      }
      const cycles = cyclesOf(graph).map((cycle) => cycle.map(shown).join(' → '))
      expect(cycles, pkg.id).to.deep.equal([])
    }
  })

  it('names the container only in adapters, modules, tokens and the composition root', () => {
    const found = offences(({ src }) =>
      src
        .filter(
          ({ from, specifier }) =>
            splitSpecifier(specifier).name === CONTAINER_PACKAGE &&
            !CONTAINER_FILES.has(path.basename(from)) &&
            shown(from) !== COMPOSITION_ROOT,
        )
        .map(place),
    )
    expect(found).to.deep.equal([])
  })

  it('writes Node’s own modules with node:', () => {
    const found = offences(({ src, test }) =>
      [...src, ...test].filter(({ specifier }) => builtinModules.includes(specifier)).map(place),
    )
    expect(found).to.deep.equal([])
  })

  it('declares every package it imports', () => {
    const found = offences(({ pkg, src, test }) => {
      const { dependencies = {}, peerDependencies = {}, devDependencies = {} } = pkg.manifest
      const atRun = { ...dependencies, ...peerDependencies }
      const loaded = reachable(src, entriesOf(pkg))
      const fromBundler = new Set(
        filesBelow(path.join(pkg.folder, 'src'), (name) => name.endsWith('.d.ts')).flatMap(declaredModules),
      )
      const foreign = (imports: readonly Import[]): Import[] =>
        imports.filter(
          ({ specifier }) =>
            !specifier.startsWith('.') && !specifier.startsWith('#') && !specifier.startsWith('node:'),
        )
      const undeclared = foreign(src).filter(({ from, specifier }) => {
        const { name } = splitSpecifier(specifier)
        // What no entry point loads is bundled (the scripts of processors): there a development dependency will do.
        if (loaded.has(from)) return !(name in atRun)
        return !(name in { ...atRun, ...devDependencies }) && !fromBundler.has(name)
      })
      const shared = SHARED_TEST_TOOLS
      const undeclaredInTests = foreign(test).filter(({ specifier }) => {
        const { name } = splitSpecifier(specifier)
        return !(name in { ...atRun, ...devDependencies }) && !shared.has(name) && name !== pkg.manifest.name
      })
      return [...undeclared, ...undeclaredInTests].map(place)
    })
    expect(found).to.deep.equal([])
  })
})

/** Declared once, at the root. */
const SHARED_TEST_TOOLS = new Set(['chai', 'mocha', 'fast-check'])

/** Sources of what a package exports or installs as a command. */
function entriesOf({ folder, manifest }: Package): string[] {
  const built = Object.values(manifest.exports ?? {}).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : [entry['default'] ?? ''],
  )
  return built
    .filter((file) => file.startsWith('./dist/'))
    .map((file) => path.join(folder, file.replace('./dist/', 'src/').replace(/\.js$/, '.ts')))
}

/** Files loaded, or named in types, from the entries on. */
function reachable(imports: readonly Import[], entries: readonly string[]): ReadonlySet<string> {
  const edges = new Map<string, string[]>()
  for (const { from, target } of imports) {
    if (target !== undefined) edges.set(from, [...(edges.get(from) ?? []), target])
  }
  const seen = new Set<string>()
  const open = [...entries]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    open.push(...(edges.get(file) ?? []))
  }
  return seen
}
