import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import fc from 'fast-check'
import { StoreProtocolError, StoreUnavailableError } from '@orbweaver/core'
import { readResultSet, readTable, type XnatRow } from '#src/client/result-set.js'
import { skipTest } from '@orbweaver/core/testing'

async function read(text: string, cut: number): Promise<XnatRow[]> {
  const bytes = Buffer.from(text)
  const pieces = function* (): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut)
  }
  const rows: XnatRow[] = []
  for await (const row of readResultSet(Readable.from(pieces(), { objectMode: false }))) rows.push(row)
  return rows
}

const cells = fc.dictionary(
  fc.stringMatching(/^[a-z:/_]{1,12}$/),
  fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('"Result":[', '}]}}', '\\"', '{', '"', '\\')),
)

describe('tables of XNAT', () => {
  it('come row by row, however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(cells, { maxLength: 8 }),
        fc.integer({ min: 1, max: 40 }),
        async (rows, cut) => {
          const text = JSON.stringify({ ResultSet: { Result: rows, totalRecords: String(rows.length) } })
          expect((await read(text, cut)).map((row) => ({ ...row }))).to.deep.equal(
            rows.map((row) => ({ ...row })),
          )
        },
      ),
      { numRuns: 200 },
    )
  })

  it('may have columns before the rows, and a title after', () => {
    const text =
      '{"ResultSet":{"Columns":[{"key":"ID","x":"[]{}"}],"Result": [ {"ID":"a"} , {"ID":null} ],"title":"T"}}'
    expect(readTable(text).map(({ id }) => id)).to.deep.equal(['a', ''])
  })

  it('have keys in lower case, and numbers as text', () => {
    expect({
      ...readTable('{"ResultSet":{"Result":[{"xnat:A/B":3}],"totalRecords": "1"}}')[0],
    }).to.deep.equal({
      'xnat:a/b': '3',
    })
  })

  it('that were cut off anywhere are an error, never a short table', async () => {
    const text = JSON.stringify({
      ResultSet: { Result: [{ ID: 'a', x: '}]}}' }, { ID: 'b' }], totalRecords: '2' },
    })
    for (let end = 0; end < text.length; end += 1) {
      let error: unknown
      try {
        await read(text.slice(0, end), 7)
      } catch (caught) {
        error = caught
      }
      expect(error, text.slice(0, end)).to.satisfy(
        (one: unknown) => one instanceof StoreUnavailableError || one instanceof StoreProtocolError,
      )
    }
  })

  it('are told from other JSON and from pages', () => {
    for (const text of ['{"items":[]}', '<html><body>login</body></html>', '{"Other":{"Result":[{}]}}', ''])
      expect(() => readTable(text), text).to.throw()
  })

  it('of real servers are read', async function () {
    const folder = process.env.ORBWEAVER_FIXTURES
    if (folder === undefined) skipTest(this, 'ORBWEAVER_FIXTURES is not set')
    const files = {
      'projects.json': 'id',
      'subjects-TEST_Viewer.json': 'label',
      'experiments-ITCRdemo-S00011.json': 'label',
      'experiments-TEST_Viewer-S00032.json': 'xnat:subjectassessordata/id',
      'experiments-xsync.json': 'xnat:mrsessiondata/id',
      'assessors-E00014.json': 'session_label',
    }
    for (const [file, key] of Object.entries(files)) {
      const text = await readFile(join(folder, 'xnat-fixtures', 'json', file), 'utf8')
      const rows = readTable(text)
      expect(rows, file).to.have.length.above(0)
      for (const row of rows) expect(row[key], `${file} ${key}`).to.be.a('string').and.not.equal('')
      const total = /"totalRecords"\s*:\s*"(\d+)"/.exec(text)?.[1]
      if (total !== undefined) expect(rows.length, file).to.equal(Number(total))
    }
  })
})
