/**
 * Runs the compiled tests, one process a package, and closes with `N passed, N failed, N skipped` alone on a line.
 *
 *   node scripts/test.mjs                      all packages, and the repository's own tests
 *   node scripts/test.mjs --package core       one package (again for more); `repository` is the tests in test/
 *   node scripts/test.mjs --system             the system tests in test/system instead, several processes at once: one for
 *                                              each file in a folder, and one for all files beside the folders
 *   node scripts/test.mjs --system --group slurm   one folder, or `slurm/crash`, one file of it (again for more);
 *                                              `general` is the tests beside the folders
 *   node scripts/test.mjs --in-process         all in one process
 *   node scripts/test.mjs --grep TEXT          only tests whose full title holds the text
 *   node scripts/test.mjs --reporter spec      one line a test (default: dot; for system tests spec)
 */

import { fork } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { clearTimeout, setTimeout } from 'node:timers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Mocha from 'mocha'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
/** How long a test process may take to end by itself after its last test. */
const LINGER_MS = 10_000
/** What a process that has ended printed comes at most this much later. */
const DRAIN_MS = 1_000
/** System tests wait for other programs most of the time. */
const AT_ONCE = 3 * os.availableParallelism()
/** Suites that take minutes, the longest first. */
const LONG = [
  'slurm/crash',
  'general/kill',
  'xnat/faults',
  'slurm/conformance',
  'xnat/kills',
  'pbs/crash',
  'pbs/demo',
  'ssh/conformance-slurm',
  'ssh/slurm',
  'general/bad-input',
  'slurm/no-accounting',
  'slurm/outages',
  'pbs/jobs',
  'xnat/clients',
]

const { values: options } = parseArgs({
  options: {
    package: { type: 'string', multiple: true },
    system: { type: 'boolean', default: false },
    group: { type: 'string', multiple: true },
    'in-process': { type: 'boolean', default: false },
    grep: { type: 'string' },
    reporter: { type: 'string' },
    suite: { type: 'string' },
  },
})

if (options.suite === undefined) await runAll()
else await runOne(options.suite)

/** The parent: every suite in turn, then the counts. */
async function runAll() {
  const suites = chooseSuites()
  const total = { passed: 0, failed: 0, skipped: [], failures: [] }
  const add = (suite, result) => {
    total.passed += result.passed
    total.failed += result.failures.length
    total.failures.push(...result.failures.map((title) => `${suite.name}: ${title}`))
    total.skipped.push(...result.skipped.map((test) => ({ ...test, suite: suite.name })))
  }
  const atOnce = options.system ? AT_ONCE : os.availableParallelism()
  if (atOnce > 1 && !options['in-process'] && suites.length > 1) {
    const waiting = [...suites].sort((one, other) => rank(one) - rank(other))
    const work = async () => {
      for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift())
        add(suite, await runAside(suite))
    }
    await Promise.all(Array.from({ length: atOnce }, work))
  } else {
    for (const suite of suites) {
      console.log(`\n${suite.name}`)
      add(suite, options['in-process'] ? await runSuite(suite) : await runApart(suite))
    }
  }
  if (total.skipped.length > 0) {
    console.log('\nSkipped:')
    for (const { suite, title, reason } of total.skipped)
      console.log(`  ${suite}: ${title}${reason === undefined ? '' : `: ${reason}`}`)
  }
  if (total.failures.length > 0) {
    console.log('\nFailed:')
    for (const title of total.failures) console.log(`  ${title}`)
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped.length} skipped`)
  process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1
  // In one process a test's forgotten timer would keep us here; apart, each suite answered for itself.
  if (options['in-process']) setTimeout(() => process.exit(), LINGER_MS).unref()
}

/** Suites that take long are begun first, so that none is left alone at the end. */
function rank({ name }) {
  const at = LONG.indexOf(name.replace('system/', ''))
  return at === -1 ? LONG.length : at
}

/** All suites: what to run is read from the sources, so that compiled leftovers of removed tests stay silent. */
function allSuites() {
  const packages = fs
    .readdirSync(path.join(root, 'packages'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => ({ name: entry.name, folder: path.join(root, 'packages', entry.name) }))
  const suites = packages.map(({ name, folder }) => ({ name, files: testFiles(folder) }))
  const own = testFiles(root)
  const system = path.join(root, 'dist-test', 'system') + path.sep
  const isSystem = (file) => file.startsWith(system)
  const groupOf = (file) => {
    const place = path
      .relative(system, file)
      .replace(/\.test\.js$/, '')
      .split(path.sep)
    return place.length === 1 ? `general/${place[0]}` : place.join('/')
  }
  const groups = groupBy(own.filter(isSystem), groupOf)
  return [
    ...suites.filter((suite) => suite.files.length > 0),
    { name: 'repository', files: own.filter((file) => !isSystem(file)) },
    ...[...groups].map(([group, files]) => ({ name: `system/${group}`, files })),
  ]
}

/** As `Map.groupBy`, which Node 20 does not have. */
function groupBy(values, keyOf) {
  const groups = new Map()
  for (const value of values) groups.set(keyOf(value), [...(groups.get(keyOf(value)) ?? []), value])
  return groups
}

function chooseSuites() {
  const all = allSuites()
  const suites = all
    .filter(({ name }) => name.startsWith('system/') === options.system)
    .map((suite) => ({ ...suite, word: suite.name.replace('system/', '') }))
  const wanted = options.system ? options.group : options.package
  if (wanted === undefined) return suites
  const isOf = (word, name) => word === name || word.startsWith(`${name}/`)
  const unknown = wanted.filter((name) => !suites.some(({ word }) => isOf(word, name)))
  if (unknown.length > 0) {
    const words = suites.map(({ word }) => word).join(', ')
    console.error(`No tests of ${unknown.join(', ')}; there are ${words}.`)
    process.exit(2)
  }
  return suites.filter(({ word }) => wanted.some((name) => isOf(word, name)))
}

function testFiles(folder) {
  const sources = path.join(folder, 'test')
  if (!fs.existsSync(sources)) return []
  return fs
    .readdirSync(sources, { recursive: true })
    .filter((file) => file.endsWith('.test.ts') && !file.includes('node_modules'))
    .sort()
    .map((file) => path.join(folder, 'dist-test', file.replace(/\.ts$/, '.js')))
}

/** Beside others: what it prints is shown whole when it ends. */
async function runAside(suite) {
  const startedMs = Date.now()
  const printed = []
  const result = await runApart(suite, (child) => {
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => printed.push(part))
  })
  console.log(`\n${suite.name} (${Math.round((Date.now() - startedMs) / 1000)} s)`)
  process.stdout.write(Buffer.concat(printed))
  return result
}

/** One suite in a process of its own: what it leaves behind cannot touch the next, and is noticed. */
async function runApart(suite, listen) {
  const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--suite', suite.name], {
    execArgv: ['--enable-source-maps', ...process.execArgv],
    silent: listen !== undefined,
  })
  listen?.(child)
  // Ctrl-C reaches the whole group; a plain kill of the parent reaches only us.
  const stop = () => child.kill('SIGTERM')
  process.on('SIGTERM', stop)
  let result
  let lingering
  child.on('message', (message) => {
    result = message
    lingering = setTimeout(() => child.kill('SIGKILL'), LINGER_MS)
  })
  const [code, signal] = await new Promise((resolve) => {
    child.once('close', (...end) => resolve(end))
    // A process that a test left behind may hold the pipes for ever.
    child.once('exit', (...end) => setTimeout(resolve, DRAIN_MS, end).unref())
  })
  clearTimeout(lingering)
  process.off('SIGTERM', stop)
  if (result === undefined) {
    return {
      passed: 0,
      skipped: [],
      failures: [`the test process ended early (${signal ?? `exit code ${code}`})`],
    }
  }
  if (signal === 'SIGKILL') {
    const failure = `the test process did not end by itself; still open: ${result.open.join(', ')}`
    return { ...result, failures: [...result.failures, failure] }
  }
  return result
}

async function runOne(name) {
  // So that what tests end "at exit" is ended when we are told to stop. Not `once`: `timeout` tells it twice.
  process.on('SIGTERM', () => process.exit(143))
  const suite = allSuites().find((one) => one.name === name)
  const result = await runSuite(suite)
  process.send({ ...result, open: process.getActiveResourcesInfo().filter((kind) => kind !== 'PipeWrap') })
  process.disconnect()
}

async function runSuite(suite) {
  const settings = JSON.parse(fs.readFileSync(path.join(root, '.mocharc.json'), 'utf8'))
  const mocha = new Mocha({
    ...settings,
    reporter: options.reporter ?? (suite.name.startsWith('system/') ? 'spec' : 'dot'),
    forbidOnly: process.env.CI !== undefined,
    ...(options.grep !== undefined && { fgrep: options.grep }),
  })
  const missing = suite.files.filter((file) => !fs.existsSync(file))
  if (missing.length > 0) {
    console.error(`Not compiled: ${missing.map((file) => path.relative(root, file)).join(', ')}`)
    return {
      passed: 0,
      skipped: [],
      failures: ['some tests are not compiled; run "npm test", which does it'],
    }
  }
  for (const file of suite.files) mocha.addFile(file)
  // `this.skip()` in a test or hook says nothing of why; tests leave the reason in `skipReason` (see CONTRIBUTING.md).
  const result = { passed: 0, failures: [], skipped: [] }
  try {
    await mocha.loadFilesAsync()
  } catch (error) {
    console.error(error)
    return { ...result, failures: [`a test file could not be loaded: ${firstLine(error)}`] }
  }
  await new Promise((resolve) => {
    const runner = mocha.run(resolve)
    runner.on('pass', () => (result.passed += 1))
    runner.on('fail', (test, error) => result.failures.push(`${test.fullTitle()}: ${firstLine(error)}`))
    runner.on('pending', (test) => result.skipped.push({ title: test.fullTitle(), reason: reasonOf(test) }))
  })
  return result
}

function reasonOf(test) {
  for (let at = test; at !== undefined; at = at.parent) {
    const reason = at.skipReason ?? at.ctx?.skipReason
    if (reason !== undefined) return reason
  }
  return undefined
}

function firstLine(error) {
  return (
    String(error?.message ?? error)
      .split('\n')
      .find((line) => line.trim() !== '') ?? ''
  )
}
