/** The command line as a whole: global options, commands, help, and how commands are run. */

import { Command, CommanderError, Option, type Argument } from 'commander'
import { registerAll } from './commands/index.js'
import { EXIT } from './exit.js'
import { Session, type GlobalOptions, type SessionOptions } from './session.js'
import type { Terminal } from './terminal/terminal.js'

/**
 * Ties a command's work to it. `Options` and `Args` are what the command declares; commander checks the words.
 * The work is given all it may use, and returns the exit code.
 */
export type Bind = <Options = object, Args extends readonly unknown[] = []>(
  command: Command,
  handler: (session: Session, options: Options, ...args: Args) => Promise<number>,
) => void

export interface ProgramOptions extends Omit<SessionOptions, 'globals' | 'terminal'> {
  readonly terminal: (noColor: boolean) => Terminal
  readonly version: string
}

export interface Program {
  readonly command: Command
  /** @param argv - without node and script */
  run(argv: readonly string[]): Promise<number>
}

export function createProgram(options: ProgramOptions): Program {
  const terminal = options.terminal(false)
  let exitCode: number = EXIT.good
  const command = new Command('orbweaver')
    .description(
      'Runs imaging pipelines over an archive on whichever scheduler a site has: finds what can run, runs it, ' +
        'checks the results and puts them back.',
    )
    .usage('<command> [options]')
    .version(options.version, '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .showSuggestionAfterError()
    .configureHelp({
      showGlobalOptions: true,
      subcommandTerm: (sub) => [sub.name(), ...sub.registeredArguments.map(argumentTerm)].join(' '),
    })
    .configureOutput({
      writeOut: (text) => void terminal.write(text),
      writeErr: (text) => terminal.error(text),
      getOutHelpWidth: () => Math.min(110, terminal.width),
      getErrHelpWidth: () => Math.min(110, terminal.errorWidth),
      getOutHasColors: () => terminal.paint.isColorSupported,
      getErrHasColors: () => terminal.paintError.isColorSupported,
      outputError: (text, write) => write(text.replace(/^error:/, terminal.paintError.red('Error:'))),
    })
    .exitOverride()
    .addHelpText(
      'after',
      '\nExit codes: 0 good, 1 something failed, 2 wrong usage or configuration, 75 try again later, 130 interrupted.\n' +
        'Start with: orbweaver demo, or orbweaver init in a folder of your own.',
    )
  command
    .addOption(
      new Option('--site <file>', 'site file; default: orbweaver.yaml here or in a folder above').env(
        'ORBWEAVER_SITE',
      ),
    )
    .addOption(new Option('--profile <name>', 'use this profile of the site file').env('ORBWEAVER_PROFILE'))
    .addOption(new Option('--json', 'print one JSON object'))
    .addOption(new Option('--yes', 'answer every question with yes'))
    .addOption(new Option('-v, --verbose', 'say more: log lines, stack traces'))
    .addOption(new Option('--no-color', 'no colours (also: NO_COLOR=1)'))

  const bind: Bind = <Options, Args extends readonly unknown[]>(
    target: Command,
    handler: (session: Session, options: Options, ...args: Args) => Promise<number>,
  ) => {
    target.action(async () => {
      const all = target.optsWithGlobals<GlobalOptions & { readonly color: boolean }>()
      const session = new Session({ ...options, globals: all, terminal: options.terminal(!all.color) })
      try {
        exitCode = await handler(session, all as Options, ...(target.processedArgs as unknown as Args))
      } finally {
        await session.close()
      }
    })
  }
  registerAll(command, bind)
  command.addHelpCommand(
    command
      .createCommand('help')
      .argument('[command]')
      .helpOption(false)
      .description('show help of a command')
      .helpGroup('About the program:'),
  )

  return {
    command,
    async run(argv) {
      try {
        await command.parseAsync([...argv], { from: 'user' })
        return exitCode
      } catch (error) {
        // Help and version end by this too, with 0; mistakes on the command line were printed by commander.
        if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.good : EXIT.usage
        throw error
      }
    },
  }
}

function argumentTerm(argument: Argument): string {
  const name = argument.name() + (argument.variadic ? '...' : '')
  return argument.required ? `<${name}>` : `[${name}]`
}
