/** The packages' manifests agree with each other, with the lock file's one version, and with what is built. */

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect } from 'chai'
import { ROOT, filesBelow, packages, readManifest, shown } from './support/repository.js'

const root = readManifest(ROOT)
const lerna = JSON.parse(fs.readFileSync(path.join(ROOT, 'lerna.json'), 'utf8')) as { version: string }

describe('packages', () => {
  it('are all workspaces, and no workspace is missing', () => {
    expect(packages().map(({ id }) => `packages/${id}`)).to.have.members([...(root.workspaces ?? [])])
  })

  for (const { id, folder, manifest } of packages()) {
    describe(id, () => {
      it('is named, versioned and licensed like the others', () => {
        expect(manifest).to.include({
          name: `@orbweaver/${id}`,
          version: lerna.version,
          license: 'Apache-2.0',
          type: 'module',
        })
        expect(manifest.engines).to.deep.equal({ node: '>=20.19' })
        expect(manifest.description ?? '').to.match(/\w+.*\.$/)
      })

      it('asks for exactly this version of our other packages', () => {
        const wanted = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.peerDependencies }
        const ours = Object.entries(wanted).filter(([name]) => name.startsWith('@orbweaver/'))
        for (const [name, range] of ours) expect(range, name).to.equal(lerna.version)
      })

      it('exports and installs files that are there', () => {
        const targets = [
          ...Object.values(manifest.exports ?? {}).flatMap((entry) =>
            typeof entry === 'string' ? [entry] : Object.values(entry),
          ),
          ...Object.values(manifest.bin ?? {}),
        ]
        const missing = targets.filter((target) => !fs.existsSync(path.join(folder, target)))
        expect(missing).to.deep.equal([])
      })

      it('ships its sources, so that source maps lead somewhere', () => {
        expect(manifest.files).to.include.members(['dist', 'src'])
      })

      it('has a README that starts with its name', () => {
        const text = fs.readFileSync(path.join(folder, 'README.md'), 'utf8')
        expect(text.split('\n')[0]).to.equal(`# @orbweaver/${id}`)
      })
    })
  }

  it('have one range for each dependency, wherever it is asked for', () => {
    const ranges = new Map<string, Set<string>>()
    for (const manifest of [root, ...packages().map((pkg) => pkg.manifest)]) {
      for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
        ranges.set(name, (ranges.get(name) ?? new Set()).add(range))
      }
    }
    const several = [...ranges].filter(([, found]) => found.size > 1).map(([name, found]) => [name, ...found])
    expect(several).to.deep.equal([])
  })
})

describe('files', () => {
  const TEXT = /\.(ts|mts|mjs|js|cjs|json|ya?ml|md|sh|py|txt)$|^(run|LICENSE|LICENSES)$/

  it('name no path of the machine they were written on', () => {
    const here = [ROOT, os.homedir()].filter((folder) => folder.split('/').length > 2)
    const machine = new RegExp(here.map((folder) => `${escape(folder)}(?![\\w.-])`).join('|') || '(?!)')
    const found = filesBelow(ROOT, (name) => TEXT.test(name)).flatMap((file) =>
      fs
        .readFileSync(file, 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          machine.test(line) ? [`${shown(file)}:${index + 1}: ${line.trim()}`] : [],
        ),
    )
    expect(found).to.deep.equal([])
  })

  it('name no registry: everybody’s own settings say which one to use', () => {
    const lock = fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')
    const hosts = new Set([...lock.matchAll(/"resolved": "https?:\/\/([^/"]+)/g)].map(([, host]) => host))
    expect([...hosts]).to.deep.equal([])
  })
})

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
