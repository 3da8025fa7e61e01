import { script } from '@bomb.sh/tab'
import tab from '@bomb.sh/tab/commander'
import { TASK_STATES } from '@orbweaver/core'
import { Argument, type Command } from 'commander'
import type { Bind } from '../program.js'
import { EXIT } from '../exit.js'
import { findSite, openSite } from '../site.js'

const SHELLS = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof SHELLS)[number]

const HOW: Readonly<Record<Shell, string>> = {
  bash: 'orbweaver completion bash > ~/.local/share/bash-completion/completions/orbweaver',
  zsh: 'orbweaver completion zsh > "${fpath[1]}/_orbweaver"',
  fish: 'orbweaver completion fish > ~/.config/fish/completions/orbweaver.fish',
}

export function registerCompletion(program: Command, bind: Bind): void {
  const command = program
    .command('completion')
    .summary('completion for your shell')
    .description(
      `Print a completion script for your shell. Install it once:\n${SHELLS.map((shell) => `  ${HOW[shell]}`).join('\n')}`,
    )
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
  bind<object, [Shell]>(command, async (session, _options, shell) => {
    const text = scriptFor(shell)
    if (session.json) await session.answer('completion', { shell, script: text })
    else await session.terminal.write(text)
    return EXIT.good
  })
}

/** The library prints its script; here it is a value. */
function scriptFor(shell: Shell): string {
  let text = ''
  const { log } = console
  console.log = (...words: unknown[]) => {
    text += `${words.join(' ')}\n`
  }
  try {
    script(shell, 'orbweaver', 'orbweaver')
  } finally {
    console.log = log
  }
  return text
}

/**
 * Answers the shell, which calls `orbweaver complete -- WORDS`: prints the words that can stand next.
 *
 * @param words - what follows `--`; the last one is being typed
 */
export async function complete(
  program: Command,
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
): Promise<void> {
  const root = tab(program, { completionCommandName: 'complete-script' })
  const names = await siteNames(words, environment, directory)
  const answers: Readonly<Record<string, readonly string[]>> = {
    project: names.projects,
    processor: names.processors,
    profile: names.profiles,
    status: TASK_STATES,
  }
  const globals = [...root.options.values()]
  for (const command of root.commands.values()) {
    // Global options are accepted behind every command as well.
    for (const option of globals)
      if (!command.options.has(option.value)) command.options.set(option.value, option)
  }
  for (const command of [root, ...root.commands.values()]) {
    for (const [name, values] of Object.entries(answers)) {
      const option = command.options.get(name)
      if (option === undefined) continue
      option.handler = (answer) => {
        for (const value of values) answer(value, '')
      }
    }
  }
  root.parse([...words])
}

/** Completion never complains: without a good site file there are simply no names. */
async function siteNames(
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
): Promise<{
  readonly projects: readonly string[]
  readonly processors: readonly string[]
  readonly profiles: readonly string[]
}> {
  try {
    const given = words.indexOf('--site')
    const file = await findSite(given === -1 ? environment.ORBWEAVER_SITE : words[given + 1], directory)
    const { settings, profiles } = await openSite(file, undefined)
    return {
      projects: settings.projects.map(({ id }) => id),
      processors: [
        ...new Set(settings.projects.flatMap(({ processors }) => processors.map(({ name }) => name))),
      ],
      profiles: [...profiles],
    }
  } catch {
    return { projects: [], processors: [], profiles: [] }
  }
}
