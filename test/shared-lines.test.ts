/** Adapters share nothing by copying: what two of them need lives in core. */

import { expect } from 'chai'
import fs from 'node:fs'
import path from 'node:path'
import { ROOT } from './support/repository.js'

/** So many equal lines in a row are a piece of code, not a way to write. */
const RUN = 6

interface Line {
  readonly text: string
  readonly place: string
}

/** Lines that say something: no blanks, comments, imports, and none of punctuation alone. */
function linesOf(file: string): readonly Line[] {
  const lines = fs.readFileSync(file, 'utf8').split('\n')
  let inComment = false
  let inImport = false
  return lines.flatMap((line, index) => {
    const text = line.trim().replace(/\s+/g, ' ')
    if (text.startsWith('/*')) inComment = true
    const skipped = inComment || text.startsWith('//')
    if (text.endsWith('*/')) inComment = false
    if (/^(?:import|export) (?:type )?\{/.test(text) && !inComment) inImport = true
    const imported = inImport || /^import /.test(text)
    if (inImport && / from '.*'$/.test(text)) inImport = false
    if (skipped || imported || !/\w/.test(text)) return []
    return [{ text, place: `${path.relative(ROOT, file)}:${index + 1}` }]
  })
}

/** Of the sources and of the tests. */
function filesOf(adapter: string): readonly (readonly Line[])[] {
  return ['src', 'test'].flatMap((folder) => filesIn(path.join(ROOT, 'packages', adapter, folder)))
}
function filesIn(folder: string): readonly (readonly Line[])[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => linesOf(path.join(folder, file)))
}

/** Where runs of one begin again in the other. */
function sharedRuns(
  one: readonly (readonly Line[])[],
  other: readonly (readonly Line[])[],
): readonly string[] {
  const runs = (lines: readonly Line[]) =>
    lines.slice(0, Math.max(0, lines.length - RUN + 1)).map(({ place }, start) => ({
      place,
      text: lines
        .slice(start, start + RUN)
        .map(({ text }) => text)
        .join('\n'),
    }))
  const known = new Map(one.flatMap(runs).map(({ text, place }) => [text, place]))
  return other
    .flatMap(runs)
    .flatMap(({ text, place }) =>
      known.has(text) ? [`${known.get(text) ?? ''} and ${place}:\n${text}`] : [],
    )
}

describe('adapters', () => {
  const adapters = fs
    .readdirSync(path.join(ROOT, 'packages'))
    .filter((name) => name.startsWith('adapter-'))
    .sort()

  it('are several', () => {
    expect(adapters).to.include.members(['adapter-pbs', 'adapter-slurm'])
  })

  for (const [index, one] of adapters.entries())
    for (const other of adapters.slice(index + 1))
      it(`${one} and ${other} share no run of ${RUN} lines`, () => {
        expect(sharedRuns(filesOf(one), filesOf(other))).to.deep.equal([])
      })

  it('are told where they do', () => {
    const lines = (name: string, texts: readonly string[]): readonly Line[] =>
      texts.map((text, index) => ({ text, place: `${name}:${index + 1}` }))
    const shared = ['a', 'b', 'c', 'd', 'e', 'f']
    const found = sharedRuns([lines('x', ['0', ...shared])], [lines('y', [...shared, '1'])])
    expect(found).to.deep.equal([`x:2 and y:1:\n${shared.join('\n')}`])
    expect(sharedRuns([lines('x', shared.slice(1))], [lines('y', shared)])).to.deep.equal([])
  })
})
