import { ConfigError, type ConfigProblem, type Processor } from '@orbweaver/core'
import type { Command } from 'commander'
import { extname } from 'node:path'
import type { Bind } from '../program.js'
import { EXIT, renderProblems, shortPath } from '../exit.js'
import { distinctProcessors, loadProcessor } from '../ready.js'
import type { Session } from '../session.js'
import { markPrinted, writeJson } from '../terminal/json.js'
import { count } from '../terminal/text.js'

export function registerCheck(program: Command, bind: Bind): void {
  const command = program
    .command('check')
    .summary('are the site and processor files written correctly?')
    .description(
      'Check the site file with everything it names, or the given processor files: every problem with file, line and ' +
        'column. Looks at files only; for archive and cluster see `orbweaver doctor`.',
    )
    .argument('[files...]', 'processor files; default: the site file and its processors')
  bind<object, [readonly string[]]>(command, async (session, _options, files) =>
    files.length === 0 ? checkSite(session) : checkFiles(session, files),
  )
}

async function checkSite(session: Session): Promise<number> {
  const file = await session.siteFile()
  let site: Awaited<ReturnType<Session['site']>>
  try {
    site = await session.site()
  } catch (error) {
    if (session.json && error instanceof ConfigError) {
      await writeJson(session.terminal, 'check', { ok: false, file, problems: error.problems })
      markPrinted(error)
    }
    throw error
  }
  const { projects } = site.settings
  const processors = distinctProcessors(projects)
  if (session.json) {
    await session.answer('check', {
      ok: true,
      file,
      site: site.name,
      profile: site.profile,
      profiles: site.profiles,
      store: site.store.use,
      cluster: site.cluster.use,
      workRoot: site.workRoot,
      projects: projects.map(({ id, processors: own }) => ({ id, processors: own.map(describe) })),
      problems: [],
    })
    return EXIT.good
  }
  await session.print(`${session.terminal.paint.green('good')} ${shortPath(file, session.directory)}`)
  await session.table(
    [
      { head: '', value: ([name]: readonly [string, string]) => name, paint: session.terminal.paint.dim },
      { head: '', value: ([, value]) => value, narrow: 'wrap' },
    ],
    [
      ['site', site.name],
      ['profile', site.profile ?? ''],
      ['archive', site.store.use],
      ['cluster', site.cluster.use],
      ['work root', site.workRoot],
      ['projects', projects.map(({ id }) => id).join(', ')],
      ['processors', processors.map(({ name, version }) => `${name} ${version}`).join(', ')],
      ['other profiles', site.profiles.filter((name) => name !== site.profile).join(', ')],
    ].filter(([, value]) => value !== '') as [string, string][],
    2,
  )
  return EXIT.good
}

async function checkFiles(session: Session, files: readonly string[]): Promise<number> {
  const problems: ConfigProblem[] = []
  const good: { readonly file: string; readonly processor: Processor }[] = []
  for (const file of files.map((name) => session.path(name))) {
    try {
      if (/^\.ya?ml$/.test(extname(file)) && /(^|\/)orbweaver\.ya?ml$/.test(file)) {
        throw new ConfigError([
          { file, path: '', message: 'this is a site file', hint: `orbweaver check --site ${file}` },
        ])
      }
      const processor = await loadProcessor(file)
      good.push({ file, processor })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems.push(...error.problems)
    }
  }
  if (session.json) {
    await session.answer('check', {
      ok: problems.length === 0,
      processors: good.map(({ file, processor }) => ({ file, ...describe(processor) })),
      problems,
    })
  } else {
    for (const { file, processor } of good) {
      const { name, version, level, inputs, outputs } = processor
      await session.print(
        `${session.terminal.paint.green('good')} ${shortPath(file, session.directory)}: ${name} ${version}, ${level} level, ` +
          `${count(inputs.length, 'input')}, ${count(outputs.length, 'output')}`,
      )
    }
    if (problems.length > 0) {
      const lines = renderProblems(problems, {
        paint: session.terminal.paintError,
        width: session.terminal.errorWidth,
        verbose: session.verbose,
        directory: session.directory,
      })
      session.terminal.error(`${lines.join('\n')}\n`)
    }
  }
  return problems.length === 0 ? EXIT.good : EXIT.usage
}

function describe({ name, version, procType, level }: Processor): object {
  return { name, version, procType, level }
}
