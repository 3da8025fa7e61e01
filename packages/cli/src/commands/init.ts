import { labelProblem, systemErrorCode } from '@orbweaver/core'
import { InvalidArgumentError, type Command } from 'commander'
import { lstat, mkdir, open } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import type { Bind } from '../program.js'
import { EXIT, UsageError } from '../exit.js'
import { collect } from '../selectors.js'
import type { Session } from '../session.js'
import { HELLO_PROCESSOR, siteFileText, type SiteAnswers } from '../site-template.js'
import { readyNames } from '../ready.js'

interface InitOptions {
  readonly dir?: string
  readonly name?: string
  readonly archive?: string
  readonly workRoot?: string
  readonly project?: readonly string[]
  readonly processor?: readonly string[]
  readonly force?: boolean
}

export function registerInit(program: Command, bind: Bind): void {
  const command = program
    .command('init')
    .summary('write a site file and a first processor')
    .description(
      'Write a commented orbweaver.yaml and a first processor, processors/hello.yaml. Asks on a terminal what the options do not say.',
    )
    .option('--dir <folder>', 'where to write; default: here')
    .option('--name <name>', 'name of the site', siteName)
    .option('--archive <folder>', 'folder of the archive; made when it is not there')
    .option('--work-root <folder>', 'folder where jobs run')
    .option('--project <label>', 'a project of the archive (repeatable)', projectLabel)
    .option(
      '--processor <name>',
      `a processor for the projects (repeatable): ${readyNames().join(', ')}`,
      collect,
    )
    .option('--force', 'replace files that are there')
  bind<InitOptions>(command, async (session, options) => {
    const directory = session.path(options.dir ?? '.')
    for (const name of options.processor ?? []) {
      if (readyNames().includes(name) || /[./]/.test(name)) continue
      throw new UsageError(`There is no ready processor ${name}.`, `Ready: ${readyNames().join(', ')}.`)
    }
    const site = join(directory, 'orbweaver.yaml')
    const hello = join(directory, 'processors', 'hello.yaml')
    // Before the questions: nobody likes to answer them for nothing.
    if (options.force !== true) await refuseExisting([site, hello])
    const answers = await ask(session, options)
    if (answers === undefined) {
      session.note('Nothing was written.')
      return EXIT.interrupted
    }
    const written = await writeFiles(
      [
        [site, siteFileText(answers)],
        [hello, HELLO_PROCESSOR],
      ],
      options.force === true,
    )
    await makeArchive(directory, answers)
    if (session.json) {
      await session.answer('init', { site, files: written })
      return EXIT.good
    }
    const here = (path: string): string => relative(session.directory, path) || '.'
    await session.terminal.lines(written.map((file) => `Wrote ${here(file)}`))
    const cd = directory === session.directory ? '' : `cd ${here(directory)} && `
    await session.print('\nNext:')
    await session.table(
      [
        { head: '', value: ([words]: readonly [string, string]) => `${cd}orbweaver ${words}` },
        { head: '', value: ([, what]) => what, paint: session.terminal.paint.dim, narrow: 'end' },
      ],
      [
        ['check', 'is everything written correctly?'],
        ['doctor', 'is everything there that is needed?'],
        [`import FOLDER --project ${answers.projects[0] ?? 'LABEL'}`, 'bring images into the archive'],
        ['plan', 'what would run, and why?'],
      ],
      2,
    )
    return EXIT.good
  })
}

/** As the schema of the site file has it: the name becomes part of folder names. */
function nameProblem(value: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value)
    ? undefined
    : 'Use letters, digits, ".", "_" and "-", at most 64 characters.'
}

function siteName(value: string): string {
  const problem = nameProblem(value)
  if (problem !== undefined) throw new InvalidArgumentError(problem)
  return value
}

function projectLabel(value: string, previous: readonly string[] = []): readonly string[] {
  const problem = labelProblem(value)
  if (problem !== undefined) throw new InvalidArgumentError(`It cannot be a label: ${problem}.`)
  return [...previous, value]
}

/** @returns undefined when the person gave up */
async function ask(session: Session, options: InitOptions): Promise<SiteAnswers | undefined> {
  const defaults: SiteAnswers = {
    name: options.name ?? 'my-site',
    archive: options.archive ?? './archive',
    workRoot: options.workRoot ?? './work',
    projects: options.project ?? ['DEMO'],
    processors: options.processor ?? ['dcm2niix', 'nifti-qa', './processors/hello.yaml'],
  }
  if (!session.terminal.canAsk || session.json || session.globals.yes === true) return defaults
  const { text, multiselect, isCancel, intro, outro } = await import('@clack/prompts')
  intro('A new site')
  const line = async (
    message: string,
    given: string | undefined,
    initialValue: string,
    check: (value: string) => string | undefined,
  ): Promise<string | undefined> => {
    if (given !== undefined) return given
    const answer = await text({ message, initialValue, validate: (value) => check((value ?? '').trim()) })
    return isCancel(answer) ? undefined : answer.trim()
  }
  const filled = (value: string): string | undefined => (value === '' ? 'It is empty.' : undefined)
  const label = (value: string): string | undefined => {
    const problem = labelProblem(value)
    return problem === undefined ? undefined : `This cannot be used: ${problem}.`
  }
  const name = await line('Name of the site', options.name, defaults.name, nameProblem)
  if (name === undefined) return undefined
  const archive = await line('Folder of the archive', options.archive, defaults.archive, filled)
  if (archive === undefined) return undefined
  const workRoot = await line('Folder where jobs run', options.workRoot, defaults.workRoot, filled)
  if (workRoot === undefined) return undefined
  const project = await line('First project', options.project?.[0], defaults.projects[0] ?? 'DEMO', label)
  if (project === undefined) return undefined
  const processors =
    options.processor ??
    (await multiselect({
      message: 'Processors',
      options: [...readyNames(), './processors/hello.yaml'].map((value) => ({ value, label: value })),
      initialValues: [...defaults.processors],
      required: true,
    }))
  if (isCancel(processors)) return undefined
  outro('That is all.')
  return {
    name,
    archive,
    workRoot,
    projects: options.project ?? [project],
    processors,
  }
}

async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const there = await lstat(path).catch((error: unknown) => {
      if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined
      throw error
    })
    if (there === undefined) continue
    throw new UsageError(
      `${path} is there already.`,
      'Give --force to replace it, or --dir for another folder.',
    )
  }
}

async function writeFiles(
  files: readonly (readonly [path: string, text: string])[],
  force: boolean,
): Promise<readonly string[]> {
  for (const [path, text] of files) {
    await mkdir(dirname(path), { recursive: true })
    // `wx`: a file that came in the meantime is not ours to replace.
    const file = await open(path, force ? 'w' : 'wx', 0o644)
    try {
      await file.writeFile(text)
    } finally {
      await file.close()
    }
  }
  return files.map(([path]) => path)
}

/** An archive that is not there is an error everywhere else: it might be a missing mount. Here it is wanted. */
async function makeArchive(directory: string, { archive, projects }: SiteAnswers): Promise<void> {
  const { FolderStore } = await import('@orbweaver/adapter-local')
  const store = await FolderStore.open({ path: resolve(directory, archive), create: true })
  try {
    for (const project of projects) await store.addProject(project)
  } finally {
    await store.close()
  }
}
