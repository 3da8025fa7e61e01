/** The sandbox beside replies of real servers: equivalent data must give the same shape. They are read, not kept here. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { bench, type Bench, type Row } from './helpers.js'
import { skipTest } from '@orbweaver/core/testing'

const fixtures = process.env['ORBWEAVER_FIXTURES']

type Json = Readonly<Record<string, unknown>>

function recorded(name: string): string {
  return readFileSync(join(fixtures ?? '', 'xnat-fixtures', name), 'utf8')
}

const readJson = (name: string): unknown => JSON.parse(recorded(name))

interface Listing {
  readonly ResultSet: { readonly Result: readonly Row[]; readonly totalRecords: string }
}

/** What kind of thing each leaf is, with names of keys in their order. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])]
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).map(([key, inner]) => [key, shape(inner)])
  return typeof value
}

if (fixtures === undefined) {
  it('replies of real servers are read from the folder in ORBWEAVER_FIXTURES', function () {
    skipTest(this, 'ORBWEAVER_FIXTURES is not set')
  })
} else {
  describe('beside recorded replies', () => {
    let lab: Bench
    const SESSION = '/data/projects/PIPELINETEST/subjects/S01/experiments/S01_MR1'

    before(async () => {
      lab = await bench()
      const { admin } = lab
      await admin.put('/data/projects/PIPELINETEST')
      await admin.put('/data/projects/ShareTest')
      await admin.put(`${SESSION}?xsiType=xnat:mrSessionData&date=2020-01-02&modality=MR`)
      await admin.put(`${SESSION}/scans/9?xsiType=xnat:mrScanData&type=t1mpr_SAG_NSel_S176`)
      await admin.put(`${SESSION}/scans/9/projects/ShareTest?label=9`)
      await admin.put(`${SESSION}/assessors/Q1?xsiType=xnat:qcAssessmentData&date=2020-01-03`)
      await admin.put(`${SESSION}/scans/9/resources/BIDS?format=BIDS&content=BIDS&tags=BIDS`)
    })
    after(() => lab.dispose())

    /** File, what of it, the request here, and keys that the recorded server has in any order. */
    const LISTINGS: readonly (readonly [string, string])[] = [
      ['json/projects.json', '/data/projects?format=json'],
      ['json/subjects-TEST_Viewer.json', '/data/projects/PIPELINETEST/subjects?format=json'],
      [
        'json/experiments-TEST_Viewer-S00032.json',
        '/data/projects/PIPELINETEST/subjects/S01/experiments?format=json',
      ],
      [
        'json/experiments-ITCRdemo-S00011.json',
        '/data/projects/PIPELINETEST/subjects/S01/experiments?format=json',
      ],
      ['json/assessors-E00014.json', `${SESSION}/assessors?format=json`],
    ]
    for (const [file, path] of LISTINGS) {
      it(`${file}: the same keys in the same order, text cells, a total as text`, async () => {
        const theirs = readJson(file) as Listing
        const ours = JSON.parse((await lab.admin.get(path)).text) as Listing
        expect(Object.keys(ours.ResultSet.Result[0] ?? {})).to.deep.equal(
          Object.keys(theirs.ResultSet.Result[0] ?? {}),
        )
        for (const row of ours.ResultSet.Result)
          for (const cell of Object.values(row)) expect(cell).to.be.a('string')
        expect(ours.ResultSet.totalRecords).to.equal(String(ours.ResultSet.Result.length))
      })
    }

    it('json/experiments-xsync.json: the same keys, text cells, a total as text', async () => {
      // Another release of Java, and so another order.
      const theirs = readJson('json/experiments-xsync.json') as Listing
      const { text } = await lab.admin.get(
        '/data/experiments?xsiType=xnat:mrSessionData&columns=ID,label&format=json',
      )
      const ours = JSON.parse(text) as Listing
      expect(ours.ResultSet.Result[0]).to.have.all.keys(Object.keys(theirs.ResultSet.Result[0] ?? {}))
      expect(text).to.match(/\], "totalRecords": "1"/)
      expect(recorded('json/experiments-xsync.json')).to.match(/\], "totalRecords": "1"/)
    })

    const ROWS: readonly (readonly [string, string])[] = [
      ['rows/experiment-row-DEVX.json', '/data/projects/PIPELINETEST/experiments'],
      ['rows/experiment-row-XNAT19.json', '/data/projects/PIPELINETEST/subjects/S01/experiments'],
      ['rows/subject-row-DEVX.json', '/data/projects/PIPELINETEST/subjects'],
      ['rows/subject-row-XNAT19.json', '/data/projects/PIPELINETEST/subjects'],
      ['rows/scan-row-DEVX.json', `${SESSION}/scans`],
      ['rows/scan-row-XNAT19.json', `${SESSION}/scans`],
      ['rows/scan-resource-row-Brown.json', `${SESSION}/scans/9/resources`],
    ]
    for (const [file, path] of ROWS) {
      it(`${file}: the same keys in the same order`, async () => {
        const theirs = readJson(file) as Row
        const [ours = {}] = await lab.admin.rows(path)
        expect(Object.keys(ours)).to.deep.equal(Object.keys(theirs))
      })
    }

    it('rows/subjects-columns-UCL.csv: the same keys in the same order', async () => {
      const [head = ''] = recorded('rows/subjects-columns-UCL.csv').split('\n')
      const [ours = {}] = await lab.admin.rows(
        '/data/projects/PIPELINETEST/subjects?columns=ID,label,insert_date,insert_user,last_modified',
      )
      expect(Object.keys(ours)).to.deep.equal(head.trim().split(','))
    })

    it('json/scan-items-XNAT19.json: an item has the same members, with fields of the same kinds', async () => {
      const [theirs] = readJson('json/scan-items-XNAT19.json') as readonly Json[]
      const { items } = JSON.parse((await lab.admin.get(`${SESSION}/scans/9?format=json`)).text) as {
        items: readonly Json[]
      }
      const [ours] = items
      expect(Object.keys(ours ?? {})).to.deep.equal(Object.keys(theirs ?? {}))
      expect(Object.keys(ours?.meta as Json)).to.deep.equal(Object.keys(theirs?.meta as Json))
      expect((ours?.meta as Json).start_date).to.match(
        /^[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d [A-Z]+ \d{4}$/,
      )
      const kinds = (item: Json | undefined): Readonly<Record<string, string>> =>
        Object.fromEntries(
          Object.entries(item?.data_fields as Json).map(([key, value]) => [key, typeof value]),
        )
      expect(kinds(ours)).to.deep.equal(kinds(theirs))
      const fields = (item: Json | undefined): readonly unknown[] =>
        (item?.children as readonly Json[]).map(({ field }) => field)
      expect(fields(ours)).to.have.members(fields(theirs) as unknown[])
      const child = (item: Json | undefined, field: string): Json | undefined =>
        ((item?.children as readonly Json[]).find((one) => one.field === field)?.items as readonly Json[])[0]
      expect(kinds(child(ours, 'file'))).to.deep.equal(kinds(child(theirs, 'file')))
      expect(kinds(child(child(ours, 'file'), 'tags/tag'))).to.deep.equal(
        kinds(child(child(theirs, 'file'), 'tags/tag')),
      )
      expect(kinds(child(ours, 'sharing/share'))).to.deep.equal(kinds(child(theirs, 'sharing/share')))
      expect((child(ours, 'sharing/share')?.meta as Json)['xsi:type']).to.equal(
        (child(theirs, 'sharing/share')?.meta as Json)['xsi:type'],
      )
    })

    it('xapi/buildInfo-1.7.5.6.json: every key is there, and all are text', async () => {
      const theirs = readJson('xapi/buildInfo-1.7.5.6.json') as Json
      const ours = JSON.parse((await lab.admin.get('/xapi/siteConfig/buildInfo')).text) as Json
      expect(ours).to.include.keys(Object.keys(theirs))
      expect(new Set(Object.values(ours).map((value) => typeof value))).to.deep.equal(new Set(['string']))
    })

    it('xml/resultset-experiments-CNDA.xml: the same elements and attributes', async () => {
      const tags = (xml: string): readonly string[] => [
        ...new Set([...xml.matchAll(/<(\w+)/g)].map(([, tag]) => tag ?? '')),
      ]
      const theirs = recorded('xml/resultset-experiments-CNDA.xml')
      const ours = (
        await lab.admin.get(
          '/data/experiments?format=xml&xsiType=xnat:mrSessionData&columns=ID,subject_ID,label,project,date',
        )
      ).text
      expect(tags(ours)).to.deep.equal(tags(theirs))
      expect(ours).to.match(/^<ResultSet totalRecords="1" title="Matching experiments">/)
      const columns = (xml: string): readonly string[] =>
        [...xml.matchAll(/<column>([^<]*)/g)].map(([, column]) => column ?? '')
      expect(columns(ours)).to.have.members(columns(theirs) as string[])
    })

    it('xml/subject-CENTRAL_S01683.xml: is taken as a subject, and comes back with the same content', async () => {
      const theirs = recorded('xml/subject-CENTRAL_S01683.xml').trim()
      const document = theirs
        .replace('project="100RunsPerSubj" label="Subject01"', 'label="Central"')
        .replace('ID="CENTRAL_S01683"', 'ID=""')
      const made = await lab.admin.send('PUT', '/data/projects/PIPELINETEST/subjects/Central', {
        body: document,
        type: 'text/xml',
      })
      expect([made.status, made.type.split(';')[0]], made.text).to.deep.equal([201, 'text/plain'])
      const ours = (await lab.admin.get('/data/projects/PIPELINETEST/subjects/Central?format=xml')).text
      expect(ours).to.include(
        '<xnat:demographics xsi:type="xnat:demographicData"><xnat:age>25</xnat:age><xnat:gender>female</xnat:gender></xnat:demographics>',
      )
      await lab.admin.send('DELETE', '/data/projects/PIPELINETEST/subjects/Central')
    })

    it("documents/: the server's own test documents are taken, and its bad ones refused", async () => {
      const put = (path: string, document: string): Promise<number> =>
        lab.admin.send('PUT', path, { body: document, type: 'text/xml' }).then(({ status }) => status)
      const document = (name: string): string => recorded(`documents/${name}`)
      expect(
        await put('/data/projects/DOCS', document('test_project_v1.xml').replace('TEST 1', 'Docs')),
      ).to.equal(200)
      expect(await put('/data/projects/DOCS/subjects/1', document('test_subject_v1.xml'))).to.equal(201)
      const session = '/data/projects/DOCS/subjects/1/experiments/TEST_E1'
      expect(await put(session, document('test_expt_bad_date.xml'))).to.equal(400)
      expect(await put(session, document('test_expt_bad_int.xml'))).to.equal(400)
      expect(await put(session, document('test_expt_v1.xml'))).to.equal(201)
      expect(
        (await lab.admin.rows(`${session}/scans`)).map(({ ID, type, quality }) => [ID, type, quality]),
      ).to.deep.equal([
        ['1', 'MPRAGE', 'usable'],
        ['2', 'BOLD', 'usable'],
      ])
      expect(await put(`${session}/assessors/TEST_E1_R1`, document('test_asst_v1.xml'))).to.equal(201)
      const id = (await lab.admin.rows('/data/experiments?label=TEST_E1'))[0]?.ID ?? ''
      const filled = document('qc_with_prov.xml')
        .replace('%ID%', '')
        .replace('%PROJECT%', 'DOCS')
        .replace('%LABEL%', 'PROV')
        .replace('%SESSION_ID%', id)
        .replace('%TIMESTAMP%', '2024-01-02T03:04:05')
      expect(await put(`${session}/assessors/PROV`, filled)).to.equal(201)
      const xml = (await lab.admin.get(`${session}/assessors/PROV?format=xml`)).text
      expect(xml).to.include('<prov:program version="" arguments="-s -all">recon-all -all</prov:program>')
      const manual = (await lab.admin.get(`${session}/assessors/TEST_E1_R1?format=xml`)).text
      expect(manual)
        .to.include('xsi:type="xnat:mrQcScanData"')
        .and.include('<xnat:susceptibility>4</xnat:susceptibility>')
    })

    it('search/: the documents of searches are taken, and columns described alike', async () => {
      const run = (name: string): Promise<string> =>
        lab.admin
          .send('POST', '/data/search?format=json', {
            body: recorded(`search/${name}`).replace('%PROJECT_ID%', 'PIPELINETEST'),
            type: 'text/xml',
          })
          .then(({ status, text }) => {
            expect(status, text).to.equal(200)
            return text
          })
      const { ResultSet } = JSON.parse(await run('mrSearchXML.xml')) as {
        ResultSet: { Columns: readonly Json[]; Result: readonly Row[] }
      }
      expect(ResultSet.Result.map(({ label }) => label)).to.deep.equal(['S01_MR1'])
      const [theirs] = readJson('search/mr_session_detailed_columns.json') as readonly Json[]
      expect(ResultSet.Columns[0]).to.have.all.keys(Object.keys(theirs ?? {}))
      await run('default_site_subject_search.xml')
      await run('default_site_mr_session_search.xml')
    })

    it('search/: the default searches of a site name the same fields', async () => {
      const fields = (xml: string): readonly string[] =>
        [...xml.matchAll(/<xdat:(?:element_name|field_ID|header)>([^<]*)/g)].map(([, text]) => text ?? '')
      for (const [name, type] of [
        ['default_site_subject_search.xml', 'xnat:subjectData'],
        ['default_site_mr_session_search.xml', 'xnat:mrSessionData'],
      ] as const) {
        const ours = (await lab.admin.get(`/data/search/saved/@${type}`)).text
        expect(fields(ours)).to.deep.equal(fields(recorded(`search/${name}`)))
      }
    })

    it('catalogs/: a catalog has the same root, members and attributes', async () => {
      const names = (xml: string, pattern: RegExp): readonly string[] => [
        ...new Set([...xml.matchAll(pattern)].map(([, name]) => name ?? '')),
      ]
      await lab.admin.upload(`${SESSION}/scans/9/resources/BIDS/files/a.json?format=BIDS`, '{}')
      const ours = (await lab.admin.get(`${SESSION}/scans/9/resources/BIDS`)).text
      const theirs = recorded('catalogs/scan_5_catalog.xml')
      expect(names(theirs, /<cat:(\w+)/g)).to.include.members(
        names(ours, /<cat:(\w+)/g).filter((name) => name !== 'Catalog'),
      )
      const entry = /<cat:entry ([^>]*)>/
      const ownNames = names(entry.exec(ours)?.[1] ?? '', /([\w:]+)=/g)
      expect(names(entry.exec(theirs)?.[1] ?? '', /([\w:]+)=/g)).to.include.members(
        ownNames.filter((name) => name !== 'name'),
      )
    })

    it('json/assessor-item-RTSTRUCT.json: the fields that every assessor has', async () => {
      const theirs = readJson('json/assessor-item-RTSTRUCT.json') as { items: readonly Json[] }
      const ours = JSON.parse((await lab.admin.get(`${SESSION}/assessors/Q1?format=json`)).text) as {
        items: readonly Json[]
      }
      const common = ['date', 'imageSession_ID', 'project', 'id', 'ID', 'label']
      expect(theirs.items[0]?.data_fields).to.include.keys(common)
      expect(ours.items[0]?.data_fields).to.include.keys(common)
      expect(shape(ours.items[0]?.data_fields)).to.be.an('array')
    })
  })
}
