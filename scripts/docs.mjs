/**
 * Makes the reference pages that are read from the code, so that they cannot say something else than it does:
 * docs/reference/cli.md from the command's own help, site-file.md and processor-file.md from the schemas.
 *
 *   node scripts/docs.mjs           write what has changed
 *   node scripts/docs.mjs --check   write nothing; exit code 1 when something is out of date
 */

import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const orbweaver = path.join(root, 'packages', 'cli', 'bin', 'orbweaver.mjs')
const NOTE = '<!-- Made by "npm run docs" from the code. Do not edit by hand. -->'

const pages = { 'cli.md': await cliPage(), 'site-file.md': sitePage(), 'processor-file.md': processorPage() }
const stale = []
for (const [name, text] of Object.entries(pages)) {
  const file = path.join(root, 'docs', 'reference', name)
  const before = fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : ''
  if (before === text) continue
  stale.push(path.relative(root, file))
  if (!process.argv.includes('--check')) fs.writeFileSync(file, text)
}
if (process.argv.includes('--check') && stale.length > 0) {
  console.error(`Out of date: ${stale.join(', ')}. Run "npm run docs" and commit what it writes.`)
  process.exitCode = 1
} else if (stale.length > 0) console.log(`Wrote ${stale.join(', ')}`)

// ---------------------------------------------------------------- the command line

async function cliPage() {
  const { createProgram } = await import(path.join(root, 'packages', 'cli', 'dist', 'program.js'))
  const { command: program } = createProgram({
    terminal: () => ({ paint: {}, paintError: {} }),
    version: '0',
    environment: {},
  })
  const lines = [
    '# Command line',
    '',
    NOTE,
    '',
    ...paragraphs(program.description()),
    'A label may be given by any piece of it that only one task has. Answers go to stdout, remarks and progress to stderr. With',
    '`--json` stdout is one JSON object whose `schema` (`orbweaver/status/1`) names the version of its form: the number changes',
    'when a field is renamed, removed or changes its meaning; new fields may come at any time.',
    '',
    '## Exit codes',
    '',
    '| code | meaning |',
    '| --- | --- |',
    '| 0 | good |',
    '| 1 | something failed |',
    '| 2 | wrong usage or configuration; nothing was started |',
    '| 75 | temporary: archive, cluster or disk away, or another engine at work; try again later |',
    '| 129, 130, 143 | ended by SIGHUP, Ctrl-C, SIGTERM |',
    '',
    '## Options of every command',
    '',
    ...optionTable(program.options),
  ]
  for (const command of program.commands) lines.push(...commandSection(command, 'orbweaver', 2))
  return `${lines.join('\n').trimEnd()}\n`
}

function commandSection(command, parent, depth) {
  const name = `${parent} ${command.name()}`
  const words = command.registeredArguments.map((argument) => {
    const inner = `${argument.name()}${argument.variadic ? '...' : ''}`
    return argument.required ? `<${inner}>` : `[${inner}]`
  })
  const usage = [name, ...words, ...(command.options.length > 0 ? ['[options]'] : [])].join(' ')
  const lines = [`${'#'.repeat(depth)} ${name}`, '', ...paragraphs(command.description())]
  if (command.commands.length === 0) lines.push('```', usage, '```', '')
  const args = command.registeredArguments.filter((argument) => argument.description !== '')
  if (args.length > 0) {
    lines.push('| argument | meaning |', '| --- | --- |')
    for (const argument of args)
      lines.push(`| \`${argument.name()}\` | ${cell(sentence(argument.description))}${choices(argument)} |`)
    lines.push('')
  }
  lines.push(...optionTable(command.options))
  for (const inner of command.commands) lines.push(...commandSection(inner, name, depth + 1))
  return lines
}

function optionTable(options) {
  const shown = options.filter((option) => !option.hidden)
  if (shown.length === 0) return []
  const rows = shown.map((option) => {
    const variable = option.envVar === undefined ? '' : ` Also: \`${option.envVar}\`.`
    const value = option.defaultValue
    const hasDefault = value !== undefined && value !== '' && value !== false && !option.negate
    const fallback = hasDefault ? ` Default: ${option.defaultValueDescription ?? String(value)}.` : ''
    return `| \`${option.flags.replaceAll('|', '\\|')}\` | ${cell(sentence(option.description))}${choices(option)}${fallback}${variable} |`
  })
  return ['| option | meaning |', '| --- | --- |', ...rows, '']
}

function choices({ argChoices }) {
  return argChoices === undefined ? '' : ` One of ${argChoices.map((word) => `\`${word}\``).join(', ')}.`
}

// ---------------------------------------------------------------- the files

function schemaOf(what) {
  return JSON.parse(execFileSync(process.execPath, [orbweaver, 'schema', what], { encoding: 'utf8' }))
}

function sitePage() {
  return page('Site file', schemaOf('site'), [
    'One site is one pairing of an archive, a cluster and processors, in `orbweaver.yaml`. `orbweaver init` writes a first one,',
    '`orbweaver check` tells every mistake with file, line, column and the nearest right word, and `orbweaver schema site`',
    'prints this page as JSON Schema for editors. Paths are relative to the file. The smallest:',
    '',
    '```yaml',
    'site: my-site',
    'store: { use: folder, path: ./archive }',
    'cluster: { use: local }',
    'workRoot: ./work',
    'projects:',
    '  - { id: P1, processors: [nifti-qa, ./processors/mine.yaml] }',
    '```',
    '',
    'YAML 1.2: `no` is a word, `1:30:00` is a time, a key that stands twice is an error.',
  ])
}

function processorPage() {
  return page('Processor file', schemaOf('processor'), [
    'A processor as YAML. [Write a processor](../how-to/write-a-processor.md) shows how it is used; `orbweaver check` tells every',
    'mistake, and `orbweaver schema processor` prints this page as JSON Schema for editors.',
  ])
}

function page(title, schema, intro) {
  const rows = withoutRepeats(rowsOf(schema, schema, '', new Set()))
  const lines = [
    `# ${title}`,
    '',
    NOTE,
    '',
    ...intro,
    '',
    '| key | what it takes | meaning |',
    '| --- | --- | --- |',
  ]
  for (const { key, required, type, text } of rows) {
    lines.push(`| \`${key}\`${required ? ' (required)' : ''} | ${cell(type)} | ${cell(text)} |`)
  }
  return `${lines.join('\n')}\n`
}

/** What was said of the keys below one key is not said again below another. */
function withoutRepeats(rows) {
  const below = new Map()
  for (const row of rows) {
    const prefixes = [...row.key.matchAll(/[.[]/g)].map(({ index }) => row.key.slice(0, index))
    for (const prefix of prefixes) below.set(prefix, [...(below.get(prefix) ?? []), row])
  }
  const wordOf = (prefix) =>
    JSON.stringify(below.get(prefix).map(({ key, ...rest }) => ({ ...rest, key: key.slice(prefix.length) })))
  const first = new Map()
  for (const prefix of below.keys()) if (!first.has(wordOf(prefix))) first.set(wordOf(prefix), prefix)
  const repeated = new Map(
    [...below.keys()]
      .filter((prefix) => below.get(prefix).length > 1 && first.get(wordOf(prefix)) !== prefix)
      .map((prefix) => [prefix, first.get(wordOf(prefix))]),
  )
  return rows.flatMap((row) => {
    const inside = [...repeated.keys()].some(
      (prefix) =>
        row.key !== prefix && /^[.[]/.test(row.key.slice(prefix.length)) && row.key.startsWith(prefix),
    )
    if (inside) return []
    const like = repeated.get(row.key)
    return [
      like === undefined ? row : { ...row, text: `${sentence(row.text)} Keys as in \`${like}\`.`.trim() },
    ]
  })
}

/** One row for each key, nested keys with dots; `[]` an item of a list, `NAME` any key. */
function rowsOf(schema, whole, at, seen) {
  const node = resolve(schema, whole)
  if (seen.has(node)) return []
  const inside = new Set(seen).add(node)
  const rows = []
  for (const [name, raw] of Object.entries(node.properties ?? {})) {
    const key = at === '' ? name : `${at}.${name}`
    const property = resolve(raw, whole)
    rows.push({
      key,
      required: node.required?.includes(name) === true,
      type: typeOf(property, whole),
      text: textOf(raw, property),
    })
    rows.push(...rowsBelow(property, whole, key, inside))
  }
  const extra = node.additionalProperties
  if (typeof extra === 'object' && Object.keys(extra).length > 0) {
    const key = at === '' ? 'NAME' : `${at}.NAME`
    const value = resolve(extra, whole)
    if (value.properties !== undefined || value.anyOf !== undefined) {
      rows.push({ key, required: false, type: typeOf(value, whole), text: textOf(extra, value) })
    }
    rows.push(...rowsBelow(value, whole, key, inside))
  }
  return rows
}

function rowsBelow(property, whole, key, seen) {
  const alternatives = property.anyOf ?? property.oneOf ?? [property]
  return alternatives.flatMap((alternative) => {
    const node = resolve(alternative, whole)
    if (node.type === 'array' && node.items !== undefined)
      return rowsBelow(resolve(node.items, whole), whole, `${key}[]`, seen)
    const use = node.properties?.use === undefined ? undefined : resolve(node.properties.use, whole).const
    return rowsOf(node, whole, use === undefined ? key : `${key} (use: ${use})`, seen)
  })
}

function resolve(schema, whole) {
  let node = schema
  while (typeof node === 'object' && node.$ref !== undefined) {
    const { $ref, ...beside } = node
    const target = $ref
      .split('/')
      .slice(1)
      .reduce((from, key) => from?.[key.replaceAll('~1', '/')], whole)
    node = $ref === '#' ? whole : { ...target, ...beside }
    if ($ref === '#' || target === undefined) break
  }
  return node
}

function typeOf(node, whole) {
  const here = resolve(node, whole)
  if (here.const !== undefined) return `\`${here.const}\``
  if (here.enum !== undefined) return here.enum.map((word) => `\`${word}\``).join(', ')
  const alternatives = here.anyOf ?? here.oneOf
  if (alternatives !== undefined)
    return [...new Set(alternatives.map((one) => typeOf(one, whole)))].join(' or ')
  if (here.type === 'array') return here.items === undefined ? 'list' : `list of ${typeOf(here.items, whole)}`
  if (here.type === 'object') return 'map'
  if (here.type === 'integer') return 'whole number'
  if (Array.isArray(here.type)) return here.type.map((type) => typeOf({ type }, whole)).join(' or ')
  return { string: 'text', boolean: '`true`, `false`', number: 'number' }[here.type] ?? 'anything'
}

function textOf(raw, property) {
  const text = raw.description ?? property.description ?? ''
  const fallback = raw.default ?? property.default
  if (fallback === undefined || /Default:/.test(text)) return text
  const shown = typeof fallback === 'object' ? JSON.stringify(fallback) : String(fallback)
  return shown === '{}' || shown === '[]' ? text : `${text} Default: \`${shown}\`.`
}

// ---------------------------------------------------------------- text

function sentence(text) {
  return text === '' || /[.!?]$/.test(text) ? text : `${text}.`
}

function cell(text) {
  return text
    .replaceAll('|', '\\|')
    .replace(/\s*\n\s*/g, ' ')
    .trim()
}

/** Lines that are indented are examples. */
function paragraphs(text) {
  const lines = []
  let example = false
  for (const line of text.split('\n')) {
    const indented = line.startsWith('  ')
    if (indented !== example) lines.push(...(indented ? ['', '```sh'] : ['```', '']))
    example = indented
    lines.push(line.trim())
  }
  if (example) lines.push('```')
  return [...lines, '']
}
