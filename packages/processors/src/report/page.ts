/** One A4 page: header, figures, tables. Sizes in points; y grows downwards. */

import PDFDocument from 'pdfkit'
import { encodePng, type Raster } from '../imaging/raster.js'

export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export const INK = {
  text: '#1b2733',
  muted: '#64707d',
  line: '#d5dae0',
  faint: '#eef1f4',
  accent: '#0b6e75',
  second: '#a35a00',
  alarm: '#b3261e',
} as const

export const PAGE = { width: 595.28, height: 841.89, margin: 36 } as const
export const CONTENT_WIDTH = PAGE.width - 2 * PAGE.margin

export interface PageHead {
  /** As `fMRI quality`. */
  readonly title: string
  /** Where the image comes from, as `DEMO / sub-01 / ses-1 / scan 3`. */
  readonly subject: string
  /** Small lines under it. */
  readonly details: readonly string[]
  /** Name and version of the processor. */
  readonly made: string
  /** Things a person should look at; shown in the alarm colour. */
  readonly alarms: readonly string[]
}

export type Doc = PDFKit.PDFDocument

/** Draws the page and returns the file. `draw` gets the first free y. */
export async function onePage(head: PageHead, draw: (doc: Doc, top: number) => void): Promise<Buffer> {
  const doc = new PDFDocument({
    size: 'A4',
    margin: 0,
    info: { Title: `${head.title}: ${printable(head.subject)}`, Creator: 'Orbweaver', Producer: 'Orbweaver' },
  })
  const chunks: Buffer[] = []
  const ended = new Promise<Buffer>((resolve, reject) => {
    doc.on('data', (chunk: Buffer) => chunks.push(chunk))
    doc.on('end', () => resolve(Buffer.concat(chunks)))
    doc.on('error', reject)
  })
  draw(doc, header(doc, head))
  footer(doc, head)
  doc.end()
  return ended
}

function header(doc: Doc, head: PageHead): number {
  const { margin } = PAGE
  doc.rect(0, 0, PAGE.width, 5).fill(INK.accent)
  line(doc, head.title, { x: margin, y: 24, width: CONTENT_WIDTH - 150, size: 20, bold: true })
  line(doc, head.made, {
    x: PAGE.width - margin - 150,
    y: 32,
    width: 150,
    size: 8.5,
    colour: INK.muted,
    align: 'right',
  })
  line(doc, head.subject, {
    x: margin,
    y: 49,
    width: CONTENT_WIDTH,
    size: 10.5,
    bold: true,
    colour: INK.accent,
  })
  let y = 64
  for (const detail of head.details) {
    line(doc, detail, { x: margin, y, width: CONTENT_WIDTH, size: 8, colour: INK.muted })
    y += 10.5
  }
  y += 5
  for (const alarm of head.alarms) {
    doc.rect(margin, y, CONTENT_WIDTH, 15).fill('#fbeceb')
    doc.rect(margin, y, 3, 15).fill(INK.alarm)
    line(doc, alarm, { x: margin + 9, y: y + 4, width: CONTENT_WIDTH - 14, size: 8.5, colour: INK.alarm })
    y += 18
  }
  doc
    .moveTo(margin, y + 2)
    .lineTo(PAGE.width - margin, y + 2)
    .lineWidth(0.75)
    .stroke(INK.line)
  return y + 10
}

function footer(doc: Doc, head: PageHead): void {
  const y = PAGE.height - 24
  const day = new Date().toISOString().slice(0, 10)
  line(doc, `${head.made}, ${day}`, { x: PAGE.margin, y, width: 250, size: 7, colour: INK.muted })
  line(doc, 'Definitions and all numbers: stats.json', {
    x: PAGE.width - PAGE.margin - 250,
    y,
    width: 250,
    size: 7,
    colour: INK.muted,
    align: 'right',
  })
}

export interface LineOptions {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly size: number
  readonly bold?: boolean
  readonly colour?: string
  readonly align?: 'left' | 'right' | 'center'
}

/** One line of text; what does not fit ends in an ellipsis. Never makes a second line or page. */
export function line(doc: Doc, text: string, options: LineOptions): void {
  doc.font(options.bold === true ? 'Helvetica-Bold' : 'Helvetica').fontSize(options.size)
  const shown = fit(doc, printable(text), options.width)
  const room = options.width - doc.widthOfString(shown)
  const shift = options.align === 'right' ? room : options.align === 'center' ? room / 2 : 0
  doc.fillColor(options.colour ?? INK.text).text(shown, options.x + shift, options.y, { lineBreak: false })
}

function fit(doc: Doc, text: string, width: number): string {
  if (doc.widthOfString(text) <= width) return text
  let length = text.length
  while (length > 1 && doc.widthOfString(`${text.slice(0, length)}…`) > width) length--
  return `${text.slice(0, length)}…`
}

/** The standard fonts have Windows Latin 1 only; other characters become a question mark, control characters a space. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f]/g, ' ').replace(/[^\u0020-\u007e\u00a0-\u00ff–—‘’“”•…]/gu, '?')
}

export function heading(doc: Doc, text: string, x: number, y: number, width: number): number {
  line(doc, text, { x, y, width, size: 9.5, bold: true })
  return y + 14
}

export interface TableRow {
  readonly label: string
  readonly value: string
  readonly alarm?: boolean
}

/** Label left, value right, hairlines between; returns the y below. */
export function table(doc: Doc, rows: readonly TableRow[], x: number, y: number, width: number): number {
  const height = 13.5
  rows.forEach((row, n) => {
    const top = y + n * height
    const colour = row.alarm === true ? INK.alarm : INK.text
    doc.font('Helvetica-Bold').fontSize(8.5)
    const room = Math.min(width * 0.62, doc.widthOfString(printable(row.value)) + 2)
    line(doc, row.label, { x, y: top, width: width - room - 6, size: 8.5, colour: INK.muted })
    line(doc, row.value, {
      x: x + width - room,
      y: top,
      width: room,
      size: 8.5,
      bold: true,
      colour,
      align: 'right',
    })
    doc
      .moveTo(x, top + height - 3)
      .lineTo(x + width, top + height - 3)
      .lineWidth(0.4)
      .stroke(INK.line)
  })
  return y + rows.length * height
}

/** The picture in the box at its own proportions, from the box's upper left; returns where it ends. */
export function picture(
  doc: Doc,
  raster: Raster,
  box: Box,
): { readonly right: number; readonly bottom: number } {
  const scale = Math.min(box.width / raster.width, box.height / raster.height)
  const [width, height] = [raster.width * scale, raster.height * scale]
  doc.image(encodePng(raster), box.x, box.y, { width, height })
  return { right: box.x + width, bottom: box.y + height }
}

export function caption(doc: Doc, text: string, x: number, y: number, width: number): number {
  line(doc, text, { x, y: y + 3, width, size: 7, colour: INK.muted })
  return y + 14
}
