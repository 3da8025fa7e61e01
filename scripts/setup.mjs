/**
 * Makes a checkout ready to run: packages installed, TypeScript compiled, processors bundled. Plain Node, no
 * dependency, since it runs before there are any. Every step is skipped when its inputs have not changed.
 *
 *   node scripts/setup.mjs            install and build what is stale
 *   node scripts/setup.mjs --tests    also compile the tests
 *   node scripts/setup.mjs --build    build even when nothing looks stale
 *   node scripts/setup.mjs --quiet    say nothing when there is nothing to do
 *   node scripts/setup.mjs --verbose  pass the output of npm and tsc through
 *   node scripts/setup.mjs --clean    remove what was built (node_modules stays)
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { clearInterval, setInterval } from 'node:timers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const LEAST_NODE = [20, 19]
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const stampFile = path.join(root, 'node_modules', '.orbweaver-setup.json')
const OPTIONS = ['--tests', '--build', '--quiet', '--verbose', '--clean']

/** A step failed and has already said why: leave without a stack trace. */
class StepFailed extends Error {
  constructor(exitCode = 1) {
    super('a step failed')
    this.exitCode = exitCode
  }
}

const flags = new Set(process.argv.slice(2))
const quiet = flags.has('--quiet')
const verbose = flags.has('--verbose')

try {
  await main()
} catch (error) {
  if (!(error instanceof StepFailed)) throw error
  process.exitCode = error.exitCode
}

async function main() {
  for (const flag of flags) {
    if (!OPTIONS.includes(flag))
      fail(`scripts/setup.mjs knows no ${flag}; it takes ${OPTIONS.join(', ')}.`, 2)
  }
  checkNode()
  if (flags.has('--clean')) return clean()
  const release = await lock()
  try {
    await install()
    await build()
  } finally {
    release()
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_NODE
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return
  fail(
    `Orbweaver needs Node ${LEAST_NODE.join('.')} or newer; this is Node ${process.versions.node} (${process.execPath}).\n` +
      'Install a newer one (https://nodejs.org, or your system’s modules: "module avail nodejs") and put it first in PATH.',
  )
}

// ---------------------------------------------------------------- install

async function install() {
  const lockPath = path.join(root, 'package-lock.json')
  const lockText = fs.readFileSync(lockPath, 'utf8')
  // Compiled packages fit one ABI of Node only: a change of Node's major version is a change of what is wanted.
  const wanted = hash([lockText, process.versions.modules, process.platform, process.arch])
  const stamp = readStamp()
  if (stamp.install === wanted) return
  const { modules } = stamp
  const sameNode = modules === undefined || modules === process.versions.modules
  if (!installedAs(JSON.parse(lockText))) {
    await step(
      'Installing packages (npm ci; a minute or two)',
      npm(['ci', '--include=dev', '--no-audit', '--no-fund']),
      {
        explain: explainInstall,
      },
    )
  } else if (!sameNode) {
    await step(`Rebuilding compiled packages for Node ${process.versions.node}`, npm(['rebuild']), {
      explain: explainInstall,
    })
  }
  await checkCompiledPackages()
  writeStamp({ ...readStamp(), install: wanted, modules: process.versions.modules })
}

/** Whether what lies in node_modules is what the lock file asks for, by npm's own record of what it put there. */
function installedAs(lockfile) {
  const hidden = path.join(root, 'node_modules', '.package-lock.json')
  if (!fs.existsSync(hidden)) return false
  const there = JSON.parse(fs.readFileSync(hidden, 'utf8')).packages
  return Object.entries(lockfile.packages).every(([where, want]) => {
    if (!where.includes('node_modules/')) return true
    const have = there[where]
    // Packages for other systems are in the lock file but never installed here.
    if (have === undefined) return want.optional === true || want.devOptional === true || want.peer === true
    return (
      have.version === want.version && have.resolved?.split('/').pop() === want.resolved?.split('/').pop()
    )
  })
}

/** npm's settings for the outer command must not change what the inner one does; registry, proxy and cache stay. */
function npm(words) {
  const environment = { ...process.env }
  for (const name of Object.keys(environment)) {
    if (
      /^npm_config_(workspaces?|include_workspace_root|global|location|dry_run|omit|only|production|if_present)$/i.test(
        name,
      )
    ) {
      delete environment[name]
    }
  }
  // `npm run` says where npm itself is: no second npm that happens to be first in PATH.
  const itself = process.env.npm_execpath
  const isNpm = itself !== undefined && /npm-cli\.c?js$/.test(itself) && fs.existsSync(itself)
  return { argv: isNpm ? [process.execPath, itself, ...words] : ['npm', ...words], environment }
}

function explainInstall(output) {
  if (/gyp ERR!|not found: make|g\+\+: not found|prebuild-install/i.test(output)) {
    return (
      'A compiled package (better-sqlite3) could be neither downloaded ready-made nor compiled here.\n' +
      'To compile it, install python3, make and a C++ compiler, then run the same command again:\n' +
      '  Debian, Ubuntu:  apt-get install -y python3 make g++\n' +
      '  Fedora, Rocky:   dnf install -y python3 make gcc-c++\n' +
      '  macOS:           xcode-select --install'
    )
  }
  if (/EUSAGE|in sync/i.test(output)) {
    return 'package.json and package-lock.json do not fit together. Run "npm install" once and commit the lock file.'
  }
  if (/ENOSPC/.test(output)) return 'The disk is full: about 700 MB are needed for the packages.'
  if (/EACCES|EPERM|EROFS/.test(output)) return `This user cannot write to ${root}. Check who owns it.`
  if (/ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN|CERT|E40[13]|E5\d\d/.test(output)) {
    return 'The package registry could not be reached. Behind a proxy or mirror, set npm_config_registry and https_proxy.'
  }
  return 'Run "npm ci" by hand to see more.'
}

/** Install scripts may have been switched off; better to say so here than in a stack trace later. */
async function checkCompiledPackages() {
  const require = createRequire(path.join(root, 'packages', 'core', 'package.json'))
  const test = () => {
    const Database = require('better-sqlite3')
    new Database(':memory:').close()
  }
  try {
    test()
    return
  } catch (error) {
    if (verbose) console.error(String(error))
  }
  const words = ['rebuild', '--ignore-scripts=false', '--foreground-scripts', 'better-sqlite3']
  await step('Building better-sqlite3', npm(words), { explain: explainInstall })
  try {
    test()
  } catch (error) {
    fail(
      `better-sqlite3 was built but does not load: ${error.message}\n` +
        'Remove node_modules and run the same command again. If npm is set to ignore install scripts (npm config get ' +
        'ignore-scripts), allow them for this folder.',
    )
  }
}

// ---------------------------------------------------------------- build

async function build() {
  const tests = flags.has('--tests')
  const config = tests ? 'tsconfig.test.json' : 'tsconfig.json'
  const key = tests ? 'tests' : 'sources'
  const projects = projectsOf(config)
  const wanted = fingerprint(projects.flatMap((project) => filesOf(project)))
  const stamp = readStamp()
  // What was compiled with the tests was compiled without them, too.
  const compiled =
    stamp[key] === wanted &&
    projects.every((project) => fs.existsSync(outputOf(project))) &&
    !flags.has('--build')
  if (!compiled) {
    const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const words = ['-b', path.join(root, config), ...(flags.has('--build') ? ['--force'] : [])]
    await step(
      'Compiling TypeScript',
      { argv: [process.execPath, tsc, ...words] },
      {
        explain: () => 'The sources do not compile: see the messages above. Nothing was run.',
      },
    )
    writeStamp({ ...readStamp(), [key]: wanted })
  }
  await bundle(wanted)
}

/** The processors' scripts travel to compute nodes as single files, with all they import. */
async function bundle() {
  const folder = path.join(root, 'packages', 'processors')
  const script = path.join(folder, 'build.mjs')
  if (!fs.existsSync(script)) return
  const wanted = fingerprint([
    script,
    path.join(root, 'package-lock.json'),
    ...walk(path.join(folder, 'src')),
  ])
  const stamp = readStamp()
  const made = stamp.bundleFiles ?? []
  const there = made.length > 0 && made.every((file) => fs.existsSync(path.join(folder, file)))
  if (stamp.bundle === wanted && there && !flags.has('--build')) return
  await step(
    'Bundling processor scripts',
    { argv: [process.execPath, script], directory: folder },
    {
      explain: () => 'Run "node packages/processors/build.mjs" by hand to see more.',
    },
  )
  const bundleFiles = walk(path.join(folder, 'dist'))
    .filter((file) => /\.(mjs|cjs|wasm)$/.test(file))
    .map((file) => path.relative(folder, file))
  writeStamp({ ...readStamp(), bundle: wanted, bundleFiles })
}

/** Folders of the TypeScript projects a solution file refers to. */
function projectsOf(config) {
  const { references } = JSON.parse(fs.readFileSync(path.join(root, config), 'utf8'))
  return references.map((reference) => path.join(root, reference.path))
}

function filesOf(project) {
  const folder = path.join(project, 'src')
  const sources = walk(fs.existsSync(folder) ? folder : project).filter((file) =>
    /\.(ts|tsx|mts|json)$/.test(file),
  )
  return [...sources, path.join(project, 'tsconfig.json'), path.join(root, 'tsconfig.base.json')]
}

/** Where tsc notes what it built; its absence means that the output was removed. */
function outputOf(project) {
  const { compilerOptions } = JSON.parse(fs.readFileSync(path.join(project, 'tsconfig.json'), 'utf8'))
  return path.join(project, compilerOptions.tsBuildInfoFile)
}

function clean() {
  const folders = [
    root,
    path.join(root, 'bench'),
    ...fs.readdirSync(path.join(root, 'packages')).map((name) => path.join(root, 'packages', name)),
  ]
  for (const folder of folders) {
    for (const name of ['dist', 'dist-test', 'coverage'])
      fs.rmSync(path.join(folder, name), { recursive: true, force: true })
  }
  const { install, modules } = readStamp()
  if (install !== undefined) writeStamp({ install, modules })
  say('Removed what was built. Installed packages stay; remove node_modules to start from nothing.')
}

// ---------------------------------------------------------------- small tools

function walk(folder) {
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const full = path.join(folder, entry.name)
      if (['node_modules', 'dist', 'dist-test'].includes(entry.name)) return []
      return entry.isDirectory() ? walk(full) : [full]
    })
    .sort()
}

/** Names, sizes and times: enough to see an edit, a checkout or a removed file, without reading everything. */
function fingerprint(files) {
  return hash([
    process.versions.node,
    ...[...new Set(files)].map((file) => {
      const status = fs.statSync(file, { throwIfNoEntry: false })
      return `${path.relative(root, file)} ${status?.size} ${status?.mtimeMs}`
    }),
  ])
}

function hash(parts) {
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

function readStamp() {
  try {
    return JSON.parse(fs.readFileSync(stampFile, 'utf8'))
  } catch {
    return {} // none yet, or half-written by a killed setup: everything is looked at again
  }
}

function writeStamp(stamp) {
  fs.mkdirSync(path.dirname(stampFile), { recursive: true })
  const fresh = `${stampFile}.${process.pid}`
  fs.writeFileSync(fresh, JSON.stringify(stamp, null, 1))
  fs.renameSync(fresh, stampFile)
}

/** Two set-ups of one checkout at once would trip over each other: the second waits. */
async function lock() {
  const user = os.userInfo().uid
  const file = path.join(os.tmpdir(), `orbweaver-setup-${user}-${hash([root]).slice(0, 16)}.lock`)
  for (let told = false; ;) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx', mode: 0o600 })
      return () => fs.rmSync(file, { force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const holder = Number(readIfThere(file))
    const ageMs = Date.now() - (fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (holder > 0 ? !alive(holder) : ageMs > 10_000) {
      fs.rmSync(file, { force: true })
      continue
    }
    if (!told) say(`Another set-up of this folder is running (process ${holder}, ${file}); waiting for it.`)
    told = true
    await sleep(500)
  }
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return ''
    throw error
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Run one program; show that it goes on, and its output when it fails. */
async function step(title, command, { explain }) {
  const started = Date.now()
  const seconds = () => Math.round((Date.now() - started) / 1000)
  say(`${title} …`)
  const [program, ...words] = command.argv
  const child = spawn(program, words, {
    cwd: command.directory ?? root,
    env: command.environment ?? process.env,
    stdio: ['ignore', verbose ? 'inherit' : 'pipe', verbose ? 'inherit' : 'pipe'],
  })
  let output = ''
  child.stdout?.on('data', (data) => (output += data))
  child.stderr?.on('data', (data) => (output += data))
  const beat = setInterval(() => say(`  … still at it, ${seconds()} s`), 15_000)
  const stop = (signal) => child.kill(signal)
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const end = await new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }))
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  clearInterval(beat)
  process.off('SIGINT', stop).off('SIGTERM', stop)
  if (end.code === 0) {
    if (!quiet || seconds() > 5) say(`  done in ${seconds()} s`)
    return
  }
  if (end.signal === 'SIGINT' || end.signal === 'SIGTERM') {
    say('Interrupted. Run the same command again to go on.')
    throw new StepFailed(130)
  }
  if (output !== '') console.error(output.split('\n').slice(-80).join('\n').trimEnd())
  const how = end.error === undefined ? `exit code ${end.code ?? end.signal}` : end.error.message
  fail(`\n${title} failed (${command.argv.join(' ')}: ${how}).\n${explain(output)}`)
}

function say(line) {
  console.error(line)
}

function fail(message, exitCode = 1) {
  console.error(message)
  throw new StepFailed(exitCode)
}
