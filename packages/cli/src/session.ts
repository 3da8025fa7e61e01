/** What a command is given: the terminal, the options all commands share, and the site when it asks for it. */

import { plainLogger, type DataStore, type LoadedSite, type Logger, type Selection } from '@orbweaver/core'
import { resolve } from 'node:path'
import type { Services } from './container.js'
import { UsageError } from './exit.js'
import { checkSelection, toSelection, type SelectorOptions } from './selectors.js'
import { findSite, openSite } from './site.js'
import { writeJson } from './terminal/json.js'
import { renderTable, streamTable, type Column } from './terminal/table.js'
import type { Terminal } from './terminal/terminal.js'

/** Options that every command has. */
export interface GlobalOptions {
  readonly site?: string
  readonly profile?: string
  readonly json?: boolean
  readonly yes?: boolean
  readonly verbose?: boolean
}

export interface SessionOptions {
  readonly terminal: Terminal
  readonly globals: GlobalOptions
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly directory: string
  readonly signal: AbortSignal
}

/** One run of the program. Closes what it opened. */
export class Session {
  readonly terminal: Terminal
  readonly globals: GlobalOptions
  readonly environment: SessionOptions['environment']
  readonly directory: string
  readonly signal: AbortSignal
  readonly logger: Logger
  private loaded: Promise<LoadedSite> | undefined
  private services: Promise<Services> | undefined
  private store: DataStore | undefined
  private readonly closers: (() => Promise<void>)[] = []

  constructor(options: SessionOptions) {
    this.terminal = options.terminal
    this.globals = options.globals
    this.environment = options.environment
    this.directory = options.directory
    this.signal = options.signal
    // Through the terminal, which keeps a live block below the lines.
    this.logger = plainLogger(
      { write: (text) => options.terminal.error(text) },
      { level: options.globals.verbose === true ? 'debug' : 'warn' },
    )
  }

  get json(): boolean {
    return this.globals.json === true
  }

  get verbose(): boolean {
    return this.globals.verbose === true
  }

  /** A path as the person gave it. */
  path(text: string): string {
    return resolve(this.directory, text)
  }

  /** The site file that would be used. @throws ConfigError there is none */
  async siteFile(): Promise<string> {
    return findSite(this.globals.site, this.directory)
  }

  /** @throws ConfigError with every problem of the file */
  site(): Promise<LoadedSite> {
    this.loaded ??= this.siteFile().then((file) => openSite(file, this.globals.profile))
    return this.loaded
  }

  /** Use a site that was loaded elsewhere. */
  useSite(site: LoadedSite): void {
    this.loaded = Promise.resolve(site)
  }

  /** Use an archive that was opened elsewhere, in place of the site's. Closed with the session. */
  useStore(store: DataStore): void {
    this.store = store
  }

  /** To be done when everything else is closed; the last first. */
  onClose(close: () => Promise<void>): void {
    this.closers.unshift(close)
  }

  /** The engine and its ports, built once. */
  open(): Promise<Services> {
    this.services ??= this.site().then(async (site) => {
      // Not needed, and not waited for, by commands that only look at files.
      const { buildContainer } = await import('./container.js')
      return buildContainer(site, {
        logger: this.logger,
        ...(this.store !== undefined && { store: this.store }),
      })
    })
    return this.services
  }

  /** The selection that was typed, checked against the site. */
  async selection(options: SelectorOptions, labels?: readonly string[]): Promise<Selection> {
    const selection = {
      ...toSelection(options),
      ...(labels !== undefined && labels.length > 0 && { labels }),
    }
    const { settings } = await this.site()
    checkSelection(selection, {
      projects: settings.projects.map(({ id }) => id),
      processors: settings.projects.flatMap(({ processors }) => processors),
    })
    return selection
  }

  async close(): Promise<void> {
    // When it failed, whoever asked was told.
    const services = await this.services?.catch(() => undefined)
    try {
      await (services ?? this.store)?.close()
    } finally {
      for (const close of this.closers) await close()
    }
  }

  // -- output

  async print(text = ''): Promise<void> {
    await this.terminal.line(text)
  }

  /** A remark that is not the answer: on stderr, and not with `--json`. */
  note(text: string): void {
    if (!this.json) this.terminal.error(`${text}\n`)
  }

  async table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], indent = 0): Promise<void> {
    const { terminal } = this
    await terminal.lines(
      renderTable(columns, rows, { width: terminal.width, paintHead: terminal.paint.bold, indent }),
    )
  }

  async streamTable<Row>(columns: readonly Column<Row>[], rows: AsyncIterable<Row>): Promise<void> {
    const { terminal } = this
    await terminal.lines(
      streamTable(columns, rows, { width: terminal.width, paintHead: terminal.paint.bold }),
    )
  }

  async answer(command: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    await writeJson(this.terminal, command, fields)
  }

  /**
   * Ask before something that cannot be taken back. `--yes` answers; without a terminal nobody can.
   *
   * @throws UsageError nobody can be asked
   */
  async confirm(question: string): Promise<boolean> {
    if (this.globals.yes === true) return true
    if (!this.terminal.canAsk || this.json) {
      throw new UsageError(
        `${question} Nobody can be asked here.`,
        'Give --yes to go ahead, or -n to look first.',
      )
    }
    const { confirm, isCancel } = await import('@clack/prompts')
    const answer = await confirm({ message: question, initialValue: false })
    return !isCancel(answer) && answer
  }
}
