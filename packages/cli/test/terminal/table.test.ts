import { expect } from 'chai'
import pc from 'picocolors'
import { renderTable, streamTable, type Column } from '#src/terminal/table.js'
import { displayWidth } from '#src/terminal/text.js'

interface Row {
  readonly state: string
  readonly label: string
  readonly why: string
  readonly tries: number
}

const ROWS: readonly Row[] = [
  { state: 'complete', label: 'PROJ-x-S01-x-E01-x-dti-qa_v1-x-0a1b2c3d', why: 'all is well', tries: 1 },
  {
    state: 'failed',
    label: 'PROJ-x-S02-x-E01-x-dti-qa_v1-x-1122aabb',
    why: 'the program ended with exit code 3',
    tries: 12,
  },
]

const COLUMNS: readonly Column<Row>[] = [
  { head: 'STATE', value: ({ state }) => state },
  { head: 'TRY', value: ({ tries }) => String(tries), align: 'right' },
  { head: 'LABEL', value: ({ label }) => label, narrow: 'middle', least: 20 },
  { head: 'WHY', value: ({ why }) => why, narrow: 'wrap', least: 16 },
  { head: 'EMPTY', value: () => '' },
]

describe('tables', () => {
  it('shows whole labels where nobody watches', () => {
    expect(renderTable(COLUMNS, ROWS, { width: Infinity })).to.deep.equal([
      'STATE     TRY  LABEL                                    WHY',
      'complete    1  PROJ-x-S01-x-E01-x-dti-qa_v1-x-0a1b2c3d  all is well',
      'failed     12  PROJ-x-S02-x-E01-x-dti-qa_v1-x-1122aabb  the program ended with exit code 3',
    ])
  })

  it('fits a narrow terminal: labels lose their middle, sentences wrap', () => {
    expect(renderTable(COLUMNS, ROWS, { width: 60 })).to.deep.equal([
      'STATE     TRY  LABEL                  WHY',
      'complete    1  PROJ-x-S01…x-0a1b2c3d  all is well',
      'failed     12  PROJ-x-S02…x-1122aabb  the program ended with',
      '                                      exit code 3',
    ])
  })

  it('fits every width from 80 to 200 columns', () => {
    for (let width = 80; width <= 200; width += 1) {
      for (const line of renderTable(COLUMNS, ROWS, { width }))
        expect(displayWidth(line)).to.be.at.most(width)
    }
  })

  it('leaves no blanks at the ends of lines, coloured or not', () => {
    const painted = COLUMNS.map((column) => ({ ...column, paint: pc.createColors(true).red }))
    for (const line of renderTable(painted, ROWS, { width: 100 }))
      // eslint-disable-next-line no-control-regex
      expect(line).not.to.match(/ (\u001b\[\d+m)*$/)
  })

  it('streams any number of rows with the widths of the first ones', async () => {
    async function* rows(): AsyncGenerator<Row> {
      for (let index = 0; index < 1200; index += 1) {
        yield { state: 'ready', label: `label-${index}`, why: '', tries: 0 }
      }
    }
    const lines: string[] = []
    for await (const line of streamTable(COLUMNS, rows(), { width: 80 })) lines.push(line)
    expect(lines).to.have.length(1201)
    expect(lines[0]).to.match(/^STATE +TRY +LABEL/)
    expect(lines[1200]).to.match(/^ready +0 +label-1199$/)
  })

  it('prints nothing for no rows', async () => {
    const lines: string[] = []
    for await (const line of streamTable(COLUMNS, (async function* (): AsyncGenerator<Row> {})(), {
      width: 80,
    })) {
      lines.push(line)
    }
    expect(lines).to.deep.equal([])
  })
})
