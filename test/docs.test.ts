/** The documentation says what the program does: commands exist, links lead somewhere, made pages are current. */

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { PassThrough } from 'node:stream'
import { Terminal, createProgram } from '@orbweaver/cli'
import { expect } from 'chai'
import type { Option } from 'commander'
import { ROOT, filesBelow, shown } from './support/repository.js'

const PAGES = filesBelow(ROOT, (name) => name.endsWith('.md')).filter(
  (file) => !shown(file).startsWith('packages/processors/sample'),
)
/** The commands and their options, from the program itself. */
function optionsByCommand(): ReadonlyMap<string, ReadonlySet<string>> {
  const silent = new PassThrough()
  const { command } = createProgram({
    terminal: () => new Terminal({ stdout: silent, stderr: silent, stdinIsTty: false, environment: {} }),
    version: '0.0.0',
    environment: {},
    directory: ROOT,
    signal: new AbortController().signal,
  })
  const flags = (options: readonly Option[]): string[] =>
    options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag != null)
  const shared = [...flags(command.options), '-h', '--help']
  const all = new Map<string, Set<string>>()
  const add = (parent: string, each: (typeof command.commands)[number]): void => {
    const name = `${parent}${each.name()}`
    all.set(name, new Set([...shared, ...flags(each.options)]))
    for (const below of each.commands) add(`${name} `, below)
  }
  for (const each of command.commands) add('', each)
  return all
}

interface Mention {
  readonly place: string
  readonly words: readonly string[]
}

/** Every `orbweaver …` in code, whether a block or inline. */
function mentions(): Mention[] {
  return PAGES.flatMap((file) => {
    const found: Mention[] = []
    let inBlock = false
    for (const [index, line] of fs.readFileSync(file, 'utf8').split('\n').entries()) {
      if (line.trimStart().startsWith('```')) {
        inBlock = !inBlock
        continue
      }
      const codes = inBlock ? [line] : [...line.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
      for (const code of codes) {
        for (const [, rest = ''] of code.matchAll(/(?:^|&& |env |\$ |\| )orbweaver((?: [^\s#|&;>]+)+)/g)) {
          found.push({ place: `${shown(file)}:${index + 1}`, words: rest.trim().split(' ') })
        }
      }
    }
    return found
  })
}

describe('documentation', function () {
  this.timeout(60_000)

  it('names only commands and options that there are', () => {
    const known = optionsByCommand()
    const all = mentions()
    const wrong = all.flatMap(({ place, words }) => {
      const [command = ''] = words
      if (command.startsWith('-')) return []
      // Of a group, `xnat get`, the options are those of the command in it.
      const [name, options] = [words.slice(0, 3), words.slice(0, 2), [command]]
        .map((path) => [path.join(' '), known.get(path.join(' '))] as const)
        .find(([, own]) => own !== undefined) ?? [command, undefined]
      if (options === undefined) return [`${place}: there is no command "${command}"`]
      return words
        .filter((word) => /^--?[a-z]/.test(word))
        .map((word) => word.split('=')[0] ?? word)
        .filter((word) => !options.has(word))
        .map((word) => `${place}: orbweaver ${name} has no ${word}`)
    })
    expect(wrong).to.deep.equal([])
    expect(all.length).to.be.greaterThan(30)
  })

  it('names only npm scripts that there are', () => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const wrong = PAGES.flatMap((file) =>
      [...fs.readFileSync(file, 'utf8').matchAll(/npm run ([a-z:]+)/g)]
        .filter(([, name = '']) => scripts[name] === undefined)
        .map(([text]) => `${shown(file)}: ${text}`),
    )
    expect(wrong).to.deep.equal([])
  })

  it('has no link that leads nowhere', () => {
    const wrong = PAGES.flatMap((file) => {
      const text = fs.readFileSync(file, 'utf8').replace(/```[\s\S]*?```/g, '')
      return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => {
          const [name = '', anchor] = target.split('#')
          const to = name === '' ? file : path.resolve(path.dirname(file), name)
          if (!fs.existsSync(to)) return true
          return anchor !== undefined && !anchorsOf(fs.readFileSync(to, 'utf8')).has(anchor)
        })
        .map((target) => `${shown(file)}: ${target}`)
    })
    expect(wrong).to.deep.equal([])
  })

  it('has a paragraph for each error code', () => {
    const source = fs.readFileSync(path.join(ROOT, 'packages/core/src/errors.ts'), 'utf8')
    const union = /export type ErrorCode =([\s\S]*?)\n\n/.exec(source)?.[1] ?? ''
    const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code = '']) => code)
    const page = fs.readFileSync(path.join(ROOT, 'docs/reference/errors.md'), 'utf8')
    expect(codes.length).to.be.greaterThan(10)
    expect(codes.filter((code) => !page.includes(`\n### ${code}\n`))).to.deep.equal([])
  })

  it('has reference pages that are current', () => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/docs.mjs', '--check'], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    expect(status, stderr).to.equal(0)
  })
})

/** As GitHub makes them from headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  return new Set(
    [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}
