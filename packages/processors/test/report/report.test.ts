import { expect } from 'chai'
import { PNG } from 'pngjs'
import { rasView } from '#src/imaging/orientation.js'
import { cells, encodePng, gray, mosaic, slicePosition } from '#src/imaging/raster.js'
import { line, onePage, picture, printable, table } from '#src/report/page.js'
import { cellPlot, plot, short, ticks } from '#src/report/plot.js'
import { readableRef, statsFiles, tableRows, tsv } from '#src/report/stats.js'

const identity = [
  [1, 0, 0, 0],
  [0, 1, 0, 0],
  [0, 0, 1, 0],
] as const

describe('mosaic', () => {
  const shape = [10, 20, 30] as const
  const view = rasView(shape, [1, 1, 2], identity)

  it('keeps the proportions of the body and is a valid PNG', () => {
    const data = new Float64Array(6000).fill(1)
    const raster = mosaic(data, view, { rows: [{ plane: 'coronal', count: 3 }], window: [0, 1], tile: 120 })
    // 10 x 60 mm at two pixels a millimetre, three of them, with gaps of two.
    expect([raster.width, raster.height]).to.deep.equal([3 * 22 + 2, 124])
    const png = PNG.sync.read(encodePng(raster))
    expect([png.width, png.height]).to.deep.equal([raster.width, raster.height])
  })

  it('puts left on the left, front and top on top', () => {
    const data = new Float64Array(6000)
    for (let z = 0; z < 30; z++)
      for (let y = 10; y < 20; y++) for (let x = 0; x < 5; x++) data[view.index(x, y, z)] = 1
    const raster = mosaic(data, view, { rows: [{ plane: 'axial', count: 1 }], window: [0, 1], tile: 40 })
    const at = (x: number, y: number): number => raster.data[(y * raster.width + x) * 3] as number
    expect(at(6, 6)).to.equal(255)
    expect(at(18, 6)).to.equal(0)
    expect(at(6, 38)).to.equal(0)
  })

  it('takes slices evenly, and all of them when they fit', () => {
    expect([0, 1, 2].map((n) => slicePosition(5, 7, n, 3))).to.deep.equal([5, 6, 7])
    const even = Array.from({ length: 6 }, (_, n) => slicePosition(0, 99, n, 6))
    expect(even).to.deep.equal([12, 27, 42, 57, 72, 87])
  })

  it('leaves cells without a number grey', () => {
    const raster = cells(1, 2, (_, column) => (column === 0 ? 1 : NaN), [0, 1], gray)
    expect(raster.data[0]).to.equal(255)
    expect(raster.data[raster.data.length - 1]).to.equal(214)
  })
})

describe('report', () => {
  const head = {
    title: 'T',
    subject: 'P / S / E / scan 3',
    details: ['d'],
    made: 'x 1.0.0',
    alarms: ['look'],
  }

  it('is one page whatever stands on it', async () => {
    const raster = cells(4, 4, (row, column) => row + column, [0, 6], gray)
    const pdf = await onePage({ ...head, subject: `${'long '.repeat(100)}\u4e2d\u0007` }, (doc, top) => {
      picture(doc, raster, { x: 36, y: top, width: 100, height: 100 })
      table(
        doc,
        Array.from({ length: 80 }, (_, n) => ({ label: `l${n}`, value: 'v'.repeat(60) })),
        36,
        top,
        200,
      )
      plot(
        doc,
        { x: 36, y: 700, width: 200, height: 140 },
        {
          title: 't',
          xLabel: 'x',
          yLabel: 'y',
          series: [{ y: [1, NaN, 3], colour: '#000000' }],
          flagged: [1, 2],
        },
      )
      plot(
        doc,
        { x: 300, y: 700, width: 200, height: 140 },
        { title: 't', xLabel: 'x', yLabel: 'y', series: [{ y: [], colour: '#000000' }] },
      )
      cellPlot(
        doc,
        { x: 300, y: 500, width: 200, height: 140 },
        {
          title: 't',
          xLabel: 'x',
          yLabel: 'y',
          rows: 2,
          columns: 2,
          value: () => 0,
          window: [-1, 1],
          colours: gray,
          barLabel: '',
          flagged: [[0, 1]],
        },
      )
      line(doc, 'word '.repeat(200), { x: 36, y: 838, width: 100, size: 8 })
    })
    expect(pdf.subarray(0, 5).toString()).to.equal('%PDF-')
    expect(pdf.toString('latin1').match(/\/Type \/Page\b/g)).to.have.length(1)
  })

  it('prints what the fonts have, and a mark for the rest', () => {
    expect(printable('µm²/ms – “x” é\n中')).to.equal('µm²/ms – “x” é ?')
  })

  it('puts ticks on round numbers', () => {
    expect(ticks(0, 10, 5)).to.deep.equal([0, 2, 4, 6, 8, 10])
    expect(ticks(0, 3, 10, true)).to.deep.equal([0, 1, 2, 3])
    expect(ticks(5, 5, 3)).to.deep.equal([5])
    expect(short(0.1 + 0.2)).to.equal('0.3')
    expect(short(1.5e7)).to.equal('1.5e7')
  })
})

describe('numbers as files', () => {
  it('say the same in JSON and TSV, n/a for what is not there', () => {
    const source = { dir: '/d', path: '/d/a.nii', files: ['a.nii'], ref: 'P/S/E/scans/3:NIFTI' }
    const task = {
      schema: 1,
      label: 'L',
      processor: { name: 'x', version: '1.0.0' },
      params: {},
      inputs: {},
      outputs: '/o',
      tmp: '/t',
    } as const
    const [json, table] = statsFiles({
      task,
      source,
      image: 'a.nii',
      warnings: [],
      metrics: [
        { name: 'a', value: 1 / 3, unit: 'mm', definition: 'd' },
        { name: 'b', value: null, definition: 'd' },
        { name: 'c', value: NaN, definition: 'd' },
      ],
    })
    expect(JSON.parse(String(json?.content))).to.deep.include({
      metrics: { a: 0.3333333333, b: null, c: null },
      units: { a: 'mm' },
    })
    expect(table?.content).to.equal(
      'label\tsource\tfile\ta\tb\tc\nL\tP/S/E/scans/3:NIFTI\ta.nii\t0.3333333333\tn/a\tn/a\n',
    )
    expect(tsv(['x'], [['a\tb\nc']])).to.equal('x\na b c\n')
  })

  it('round for the report', () => {
    const rows = tableRows([
      { name: 'a', value: 12.3456, label: 'A', digits: 1, unit: '%', definition: '' },
      { name: 'b', value: null, label: 'B', unit: 'mm', definition: '' },
      { name: 'hidden', value: 1, definition: '' },
    ])
    expect(rows.map(({ label, value }) => `${label}=${value}`)).to.deep.equal(['A=12.3 %', 'B=n/a'])
  })

  it('make references readable', () => {
    expect(readableRef('P/S/E/scans/3:NIFTI')).to.equal('P / S / E / scan 3')
    expect(readableRef('P/S/E/assessors/P-x-S-x-E-x-dcm2niix_v1-x-1:NIFTI')).to.equal(
      'P / S / E / assessor P-x-S-x-E-x-dcm2niix_v1-x-1',
    )
  })
})
