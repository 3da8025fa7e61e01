/** Small sites on a scheduler: a folder archive of a few notes, and one processor that is a shell script. */

import { FolderStore } from '@orbweaver/adapter-local'
import type { ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import {
  askJson,
  mustRun,
  runCli,
  startCli,
  type CliOptions,
  type CliResult,
  type RunningCli,
} from './cli.js'
import { scratchFolder, write } from './folders.js'
import { plainTree } from './site.js'

export interface ClusterSiteOptions {
  /** For the folder's name. */
  readonly name: string
  /** As under `cluster:` of the site file. */
  readonly cluster: Readonly<Record<string, unknown>>
  /** What each job does. Its exit code is the program's; `$ORBWEAVER_OUTPUTS/result.txt` is the result. */
  readonly script: string
  /** Tasks to be. Default 1. */
  readonly sessions?: number
  /** Small files of a second input, `parts`. Default: there is none. */
  readonly parts?: number
  /** Processors that do the same, each a group of its own for the scheduler. Default 1. */
  readonly processors?: number
  /** As in a processor file, instead of 1 cpu, 64 MB and 5 minutes. */
  readonly requirements?: Readonly<Record<string, unknown>>
  /** Further keys of the site file. */
  readonly more?: Readonly<Record<string, unknown>>
  readonly environment?: Readonly<Record<string, string>>
  /** Who works here, and whose the jobs are. Default: who runs the tests. Somebody else needs root. */
  readonly user?: { readonly uid: number; readonly gid: number; readonly home: string }
}

export interface TaskOnCluster {
  readonly label: string
  readonly state: string
  readonly reason: string
  readonly attempt: number
  readonly cause?: {
    readonly kind: string
    readonly summary: string
    readonly exitCode?: number
    readonly signal?: string
    readonly evidence: readonly { readonly source: string; readonly text: string }[]
  }
  readonly job?: {
    readonly id?: string
    readonly name: string
    readonly node?: string
    readonly restarts?: number
    readonly workspace: string
    readonly peakMemoryBytes?: number
    readonly elapsedSeconds?: number
    readonly cpuSeconds?: number
  }
}

export interface ClusterSite {
  readonly folder: string
  /** Start `orbweaver run`. */
  run(...args: readonly string[]): RunningCli
  /** `orbweaver status --json --long`. */
  tasks(): Promise<readonly TaskOnCluster[]>
  /** The only task. */
  task(): Promise<TaskOnCluster>
  /** Wait until the first task is so, while a run goes on. Fails with what the run said when it ends before. */
  reach(run: RunningCli, what: string, ready: (task: TaskOnCluster) => boolean): Promise<TaskOnCluster>
  /** Executions so far, as the jobs themselves wrote them: workspace of the attempt. */
  executions(): readonly string[]
  /** End the runs that still go on. */
  end(): void
  /** What a command prints; it must work. */
  cli(args: readonly string[]): Promise<string>
  /** A command that may fail. */
  ask(args: readonly string[]): Promise<CliResult>
}

/** No failure is tried again by itself: each scenario sees the first. */
const NEVER = Object.fromEntries(
  ['memory', 'walltime', 'node', 'preempted', 'killed', 'tool', 'lost', 'temporary', 'rejected'].map(
    (cause) => [cause, { times: 0 }],
  ),
)

const archives = new Map<string, Promise<string>>()

/** Sites are copies of one archive of each size: importing takes longer than copying. */
async function archiveOf(sessions: number, parts: number): Promise<string> {
  const key = `${sessions}-${parts}`
  const made =
    archives.get(key) ??
    (async () => {
      const folder = scratchFolder(`archive-${key}`)
      const source = plainTree(path.join(folder, 'source'), sessions)
      if (parts > 0) addParts(source, parts)
      write(
        path.join(folder, 'orbweaver.yaml'),
        'site: x\nstore: { use: folder, path: ./archive }\ncluster: { use: local }\nworkRoot: ./work\nprojects: [{ id: P, processors: [nifti-qa] }]\n',
      )
      await (await FolderStore.open({ path: path.join(folder, 'archive'), create: true })).close()
      await mustRun(['import', source, '--as', 'tree'], { cwd: folder })
      return path.join(folder, 'archive')
    })()
  archives.set(key, made)
  return made
}

/** A second resource beside each note. */
function addParts(source: string, parts: number): void {
  const notes = fs
    .readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((entry) => path.basename(entry) === 'note.txt')
  for (const note of notes) {
    const scan = path.dirname(path.dirname(path.join(source, note)))
    for (let part = 1; part <= parts; part += 1)
      write(path.join(scan, 'PARTS', `part-${part}.txt`), `part ${part} of ${note}\n`)
  }
}

function giveTo(folder: string, owner: { readonly uid: number; readonly gid: number }): void {
  const { uid, gid } = owner
  fs.chownSync(folder, uid, gid)
  for (const entry of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    fs.lchownSync(path.join(folder, entry), uid, gid)
}

export async function createClusterSite(options: ClusterSiteOptions): Promise<ClusterSite> {
  const { name, cluster, script, sessions = 1, parts = 0, processors = 1, more = {}, user } = options
  const folder = scratchFolder(name)
  fs.cpSync(await archiveOf(sessions, parts), path.join(folder, 'archive'), { recursive: true })
  const counter = write(path.join(folder, 'executions.txt'), '', 0o666)
  const names = Array.from({ length: processors }, (_, index) => (index === 0 ? 'work' : `work-${index + 1}`))
  const site = {
    site: name,
    store: { use: 'folder', path: './archive' },
    cluster,
    workRoot: './work',
    timing: { poll: '1s', grace: '20s', outage: '2s' },
    retry: NEVER,
    projects: [{ id: 'P', processors: names.map((each) => `./${each}.yaml`) }],
    ...more,
  }
  // JSON is YAML.
  write(path.join(folder, 'orbweaver.yaml'), JSON.stringify(site, undefined, 2))
  const processor = {
    version: '1.0.0',
    level: 'session',
    inputs: {
      note: { scan: { type: 'NOTE' }, resource: 'TXT' },
      ...(parts > 0 && { parts: { scan: { type: 'NOTE' }, resource: 'PARTS' } }),
    },
    requirements: { cpus: 1, memory: '64 MB', walltime: '5m', ...options.requirements },
    environment: { COUNTER: counter, SITE: folder },
    script: './work.sh',
    outputs: { DATA: { path: 'result.txt', required: true } },
  }
  for (const each of names)
    write(path.join(folder, `${each}.yaml`), JSON.stringify({ name: each, ...processor }))
  const lines = [
    '#!/bin/sh',
    'set -u',
    'echo "${ORBWEAVER_TASK%/task.json}" >>"$COUNTER"',
    'cp "$ORBWEAVER_INPUT_NOTE" "$ORBWEAVER_OUTPUTS/result.txt"',
  ]
  write(path.join(folder, 'work.sh'), `${[...lines, script].join('\n')}\n`)
  if (user !== undefined) giveTo(folder, user)
  const where: CliOptions = {
    cwd: folder,
    environment: { ...(user !== undefined && { HOME: user.home }), ...options.environment },
    ...(user !== undefined && { uid: user.uid, gid: user.gid }),
  }
  const running = new Set<ChildProcess>()
  const tasks: ClusterSite['tasks'] = async () =>
    (await askJson<{ readonly tasks: readonly TaskOnCluster[] }>(['status', '--long'], where)).tasks
  return {
    folder,
    run: (...args) => {
      const run = startCli(['run', ...args], where)
      running.add(run.process)
      run.process.once('exit', () => running.delete(run.process))
      return run
    },
    end: () => {
      for (const child of running) child.kill('SIGKILL')
    },
    tasks,
    task: async () => {
      const all = await tasks()
      const [first] = all
      if (first === undefined || all.length !== 1) throw new Error(`${name}: ${all.length} tasks`)
      return first
    },
    reach: async (run, what, ready) => {
      let over = false
      const ended = run.ended.then((result) => {
        over = true
        return result
      })
      for (;;) {
        const last = over
        const [first] = await tasks()
        if (first !== undefined && ready(first)) return first
        if (last) {
          const { code, stdout, stderr } = await ended
          throw new Error(
            `${name}: never ${what}; the run ended with ${code}: ${JSON.stringify(first)}\n${stdout}${stderr}`,
          )
        }
      }
    },
    executions: () =>
      fs
        .readFileSync(counter, 'utf8')
        .split('\n')
        .filter((line) => line !== ''),
    cli: async (args) => (await mustRun(args, where)).stdout,
    ask: (args) => runCli(args, where),
  }
}
