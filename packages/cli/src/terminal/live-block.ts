import type { Terminal } from './terminal.js'
import { displayWidth } from './text.js'

const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
const ERASE_BELOW = '\u001b[J'

/**
 * Some lines at the bottom of a terminal that are drawn again and again; other output appears above them.
 * Lines must be no wider than the terminal.
 */
export class LiveBlock {
  private drawn: readonly string[] = []
  private timer: NodeJS.Timeout | undefined
  private readonly showCursor = (): void => this.terminal.draw(SHOW_CURSOR)

  constructor(
    private readonly terminal: Terminal,
    private readonly render: (width: number) => readonly string[],
    private readonly intervalMs = 200,
  ) {}

  start(): void {
    this.terminal.draw(HIDE_CURSOR)
    // A second Ctrl-C ends the process at once; the cursor must come back even then.
    process.once('exit', this.showCursor)
    this.terminal.intercept((text) => this.above(text))
    this.timer = setInterval(() => this.redraw(), this.intervalMs)
    this.timer.unref()
    this.redraw()
  }

  redraw(): void {
    const lines = this.render(this.terminal.drawingWidth)
    this.terminal.draw(this.erasure() + lines.map((line) => `${line}\n`).join(''))
    this.drawn = lines
  }

  /** Ends drawing and removes the block. */
  stop(): void {
    if (this.timer === undefined) return
    clearInterval(this.timer)
    this.timer = undefined
    this.terminal.draw(this.erasure() + SHOW_CURSOR)
    this.drawn = []
    this.terminal.intercept(undefined)
    process.off('exit', this.showCursor)
  }

  private above(text: string): void {
    this.terminal.draw(this.erasure() + (text.endsWith('\n') ? text : `${text}\n`))
    this.drawn = []
    this.redraw()
  }

  /** Back to the first line of the block. After the window was made narrower its lines take several rows each. */
  private erasure(): string {
    const width = Math.max(1, this.terminal.drawingWidth)
    const rows = this.drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(displayWidth(line) / width)), 0)
    return (rows === 0 ? '' : `\u001b[${rows}A`) + '\r' + ERASE_BELOW
  }
}
