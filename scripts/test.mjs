/**
 * Runs the compiled tests, one process a package, and closes with `N passed, N failed, N skipped` alone on a line.
 *
 *   node scripts/test.mjs                      all packages, and the repository's own tests
 *   node scripts/test.mjs --package core       one package (again for more); `repository` is the tests in test/
 *   node scripts/test.mjs --system             the system tests in test/system instead
 *   node scripts/test.mjs --in-process         all in one process
 *   node scripts/test.mjs --grep TEXT          only tests whose full title holds the text
 *   node scripts/test.mjs --reporter spec      one line a test (default: dot)
 */

import { fork } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { clearTimeout, setTimeout } from 'node:timers'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import Mocha from 'mocha'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
/** How long a test process may take to end by itself after its last test. */
const LINGER_MS = 10_000

const { values: options } = parseArgs({
  options: {
    package: { type: 'string', multiple: true },
    system: { type: 'boolean', default: false },
    'in-process': { type: 'boolean', default: false },
    grep: { type: 'string' },
    reporter: { type: 'string', default: 'dot' },
    suite: { type: 'string' },
  },
})

if (options.suite === undefined) await runAll()
else await runOne(options.suite)

/** The parent: every suite in turn, then the counts. */
async function runAll() {
  const suites = chooseSuites()
  const total = { passed: 0, failed: 0, skipped: [], failures: [] }
  for (const suite of suites) {
    console.log(`\n${suite.name}`)
    const result = options['in-process'] ? await runSuite(suite) : await runApart(suite)
    total.passed += result.passed
    total.failed += result.failures.length
    total.failures.push(...result.failures.map((title) => `${suite.name}: ${title}`))
    total.skipped.push(...result.skipped.map((test) => ({ ...test, suite: suite.name })))
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

/** All suites: what to run is read from the sources, so that compiled leftovers of removed tests stay silent. */
function allSuites() {
  const packages = fs
    .readdirSync(path.join(root, 'packages'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => ({ name: entry.name, folder: path.join(root, 'packages', entry.name) }))
  const suites = packages.map(({ name, folder }) => ({ name, files: testFiles(folder) }))
  const own = testFiles(root)
  const isSystem = (file) => file.startsWith(path.join(root, 'dist-test', 'system') + path.sep)
  return [
    ...suites.filter((suite) => suite.files.length > 0),
    { name: 'repository', files: own.filter((file) => !isSystem(file)) },
    { name: 'system', files: own.filter(isSystem) },
  ]
}

function chooseSuites() {
  const suites = allSuites()
  if (options.system) return suites.filter((suite) => suite.name === 'system')
  const wanted = options.package ?? suites.map((suite) => suite.name).filter((name) => name !== 'system')
  const unknown = wanted.filter((name) => !suites.some((suite) => suite.name === name))
  if (unknown.length > 0) {
    console.error(
      `No tests of ${unknown.join(', ')}; there are ${suites.map((suite) => suite.name).join(', ')}.`,
    )
    process.exit(2)
  }
  return suites.filter((suite) => wanted.includes(suite.name))
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

/** One suite in a process of its own: what it leaves behind cannot touch the next, and is noticed. */
async function runApart(suite) {
  const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--suite', suite.name], {
    execArgv: ['--enable-source-maps', ...process.execArgv],
  })
  // Ctrl-C reaches the whole group; a plain kill of the parent reaches only us.
  const stop = () => child.kill('SIGTERM')
  process.once('SIGTERM', stop)
  let result
  let lingering
  child.on('message', (message) => {
    result = message
    lingering = setTimeout(() => child.kill('SIGKILL'), LINGER_MS)
  })
  const [code, signal] = await new Promise((resolve) => child.once('exit', (...end) => resolve(end)))
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
  const suite = allSuites().find((one) => one.name === name)
  const result = await runSuite(suite)
  process.send({ ...result, open: process.getActiveResourcesInfo().filter((kind) => kind !== 'PipeWrap') })
  process.disconnect()
}

async function runSuite(suite) {
  const settings = JSON.parse(fs.readFileSync(path.join(root, '.mocharc.json'), 'utf8'))
  const mocha = new Mocha({
    ...settings,
    reporter: options.reporter,
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
  return String(error?.message ?? error).split('\n')[0]
}
