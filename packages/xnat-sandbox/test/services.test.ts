import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import { SaxesParser } from 'saxes'
import type { SeedSource } from '@orbweaver/xnat-sandbox'
import { parseSpecs } from '#src/model/spec.js'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

const XDAT = 'xmlns:xdat="http://nrg.wustl.edu/security"'

function search(root: string, fields: readonly string[], where = ''): string {
  const parts = fields.map((field) => {
    const [element = '', id = ''] = field.split('.')
    return `<xdat:search_field><xdat:element_name>${element}</xdat:element_name><xdat:field_ID>${id}</xdat:field_ID></xdat:search_field>`
  })
  return `<xdat:bundle ${XDAT}><xdat:root_element_name>${root}</xdat:root_element_name>${parts.join('')}${where}</xdat:bundle>`
}

const criteria = (field: string, operator: string, value: string): string =>
  `<xdat:criteria><xdat:schema_field>${field}</xdat:schema_field><xdat:comparison_type>${operator}</xdat:comparison_type><xdat:value>${value}</xdat:value></xdat:criteria>`

describe('services', () => {
  let lab: Bench
  before(async () => {
    lab = await bench()
    await smallProject(lab.admin)
    await lab.admin.put('/data/projects/P1/subjects/S1?gender=female&yob=1980')
    await lab.admin.put(
      '/data/projects/P1/subjects/S2/experiments/E2?xsiType=xnat:mrSessionData&date=2024-05-06',
    )
  })
  after(() => lab.dispose())

  const find = async (document: string): Promise<readonly Readonly<Record<string, string>>[]> => {
    const answer = await lab.admin.send('POST', '/data/search?format=json', {
      body: document,
      type: 'text/xml',
    })
    expect(answer.status, answer.text).to.equal(200)
    return (JSON.parse(answer.text) as { ResultSet: { Result: Readonly<Record<string, string>>[] } })
      .ResultSet.Result
  }

  it('search by document: own fields by their name, others with the name of their type', async () => {
    const rows = await find(
      search('xnat:mrSessionData', [
        'xnat:mrSessionData.LABEL',
        'xnat:subjectData.GENDER_TEXT',
        'xnat:mrSessionData.MR_SCAN_COUNT_AGG',
      ]),
    )
    expect(rows.map(({ label, session_id, project }) => [label, session_id, project])).to.deep.equal([
      ['E1', 'XNAT_E00001', 'P1'],
      ['E2', 'XNAT_E00003', 'P1'],
    ])
    expect(rows[0]).to.include({ xnat_subjectdata_gender_text: 'F', mr_scan_count_agg: 'BOLD(1), T1w(1)' })
  })

  const CONDITIONS: readonly (readonly [string, readonly string[]])[] = [
    [criteria('xnat:mrSessionData/label', '=', 'E1'), ['E1']],
    [criteria('xnat:mrSessionData.LABEL', ' LIKE ', 'e%'), ['E1', 'E2']],
    [criteria('xnat:mrSessionData.DATE', '&gt;=', '04/01/2024'), ['E2']],
    [criteria('xnat:subjectData/demographics/yob', '&lt;', '1990'), ['E1']],
    [criteria('xnat:mrSessionData.PROJECTS', 'LIKE', '%&lt;P1&gt;%'), ['E1', 'E2']],
    [
      `<xdat:child_set method="OR">${criteria('xnat:mrSessionData.LABEL', '=', 'E2')}${criteria('xnat:mrSessionData.LABEL', '=', 'E1')}</xdat:child_set>`,
      ['E1', 'E2'],
    ],
    [criteria('xnat:mrSessionData.NO_SUCH', '=', '1'), []],
  ]
  for (const [condition, labels] of CONDITIONS) {
    it(`search where ${condition.replace(/<[^>]*>/g, ' ').trim()}`, async () => {
      const rows = await find(
        search(
          'xnat:mrSessionData',
          ['xnat:mrSessionData.LABEL'],
          `<xdat:search_where method="AND">${condition}</xdat:search_where>`,
        ),
      )
      expect(rows.map(({ label }) => label)).to.deep.equal(labels)
    })
  }

  it('keep searches by name, for their owner', async () => {
    const document = search('xnat:subjectData', ['xnat:subjectData.SUBJECT_LABEL'])
    await lab.admin.put('/data/search/saved/mine?inbody=true', { body: document, type: 'text/xml' })
    expect((await lab.admin.rows('/data/search/saved')).map(({ id }) => id)).to.deep.equal(['mine'])
    expect(
      (await lab.admin.rows('/data/search/saved/mine/results')).map((row) => row.subject_label),
    ).to.deep.equal(['S1', 'S2'])
    expect((await lab.admin.send('DELETE', '/data/search/saved/mine')).status).to.equal(200)
    expect((await lab.admin.get('/data/search/saved/mine')).status).to.equal(404)
    expect((await lab.admin.send('POST', '/data/search', { body: '<x', type: 'text/xml' })).status).to.equal(
      422,
    )
  })

  it('keep workflows: a second report of the same run is a change', async () => {
    const key =
      'wrk:workflowData/id=XNAT_E00001&wrk:workflowData/pipeline_name=X&wrk:workflowData/launch_time=2024-01-02%2003:04:05'
    expect((await lab.admin.send('PUT', `/data/workflows?${key}`)).status).to.equal(400)
    await lab.admin.put(
      `/data/workflows?${key}&wrk:workflowData/data_type=xnat:mrSessionData&wrk:workflowData/status=Running`,
    )
    await lab.admin.put(`/data/workflows?${key}&wrk:workflowData/status=Complete`)
    const { items } = JSON.parse((await lab.admin.get(`/data/workflows?${key}&format=json`)).text) as {
      items: { data_fields: object }[]
    }
    expect(items[0]?.data_fields).to.include({ status: 'Complete', data_type: 'xnat:mrSessionData' })
  })

  it('keep custom fields as a flat object', async () => {
    const path = '/xapi/custom-fields/projects/P1/subjects/S1/experiments/E1/fields'
    expect(
      JSON.parse(await lab.admin.put(path, { body: '{"mood":"good","n":2}', type: 'application/json' })),
    ).to.deep.equal({ mood: 'good', n: 2 })
    expect(JSON.parse((await lab.admin.get(`${path}/mood`)).text)).to.deep.equal({ mood: 'good' })
    expect((await lab.admin.get(`${path}/none`)).status).to.equal(404)
    expect((await lab.admin.send('PUT', path, { body: '[1]' })).status).to.equal(400)
  })

  it('hand out schemas that are well-formed and declare every type that a document may name', async () => {
    const names = JSON.parse((await lab.admin.get('/xapi/schemas')).text) as string[]
    expect(names).to.have.members(['birn/birnprov', 'proc/proc', 'xnat/xnat'])
    for (const name of [...names, 'xnat']) {
      const { text, status } = await lab.admin.get(`/xapi/schemas/${name}`)
      expect(status).to.equal(200)
      new SaxesParser({ xmlns: true }).write(text).close()
    }
    expect((await lab.admin.get('/schemas/xnat.xsd')).text).to.include(
      '<xs:complexType name="mrSessionData">',
    )
    expect((await lab.admin.get('/xapi/schemas/none')).status).to.equal(404)
  })

  it('say that there is no prearchive', async () => {
    expect(await lab.admin.rows('/data/prearchive/projects/P1')).to.deep.equal([])
    const zip = readFileSync(new URL(import.meta.url))
    expect(
      (
        await lab.admin.send('POST', '/data/services/import?project=P1', {
          body: zip,
          type: 'application/zip',
        })
      ).status,
    ).to.equal(500)
  })

  it('answer below a context path, and only there', async () => {
    const other = await bench({ contextPath: '/xnat' })
    try {
      expect(other.sandbox.url).to.match(/\/xnat$/)
      await other.admin.put('/data/projects/P1')
      expect((await other.admin.rows('/data/projects'))[0]?.URI).to.equal('/data/projects/P1')
      expect((await fetch(other.sandbox.url.replace(/\/xnat$/, '/data/projects'))).status).to.equal(404)
    } finally {
      await other.dispose()
    }
  })

  it('are seeded from any store, twice the same, with labels made fit and unique', async () => {
    const other = await bench()
    const file = { path: 'a/b.nii', bytes: 5 }
    const scan = { label: '1', type: 'T1w', quality: 'usable', resources: [{ label: 'NIFTI' }] }
    const session = {
      label: 'single',
      date: '2024-01-02',
      modality: 'MR',
      resources: [],
      scans: [scan],
      assessors: [],
    }
    const source: SeedSource = {
      projects: async () => ['P 1'],
      snapshot: async () => ({
        project: { label: 'P 1', resources: [], assessors: [] },
        subjects: (async function* () {
          for (const label of ['01', '02']) yield { label, resources: [], assessors: [], sessions: [session] }
        })(),
      }),
      listFiles: async () => [file],
      download: async ({ node }, files, sink) => {
        for (const entry of files)
          await sink.write(entry.path, Readable.from([Buffer.from(`of ${node.subject}`)]), entry)
      },
    }
    try {
      expect(await other.sandbox.seed(source)).to.deep.equal({ sessions: 2, files: 2, bytes: 10 })
      expect((await other.sandbox.seed(source)).files).to.equal(0)
      const rows = await other.admin.rows('/data/projects/P_1/experiments?columns=label,subject_label,date')
      expect(rows.map(({ label, subject_label, date }) => [label, subject_label, date])).to.deep.equal([
        ['single', '01', '2024-01-02'],
        ['02_single', '02', '2024-01-02'],
      ])
      expect(
        (
          await other.admin.get(
            '/data/projects/P_1/subjects/02/experiments/02_single/scans/1/resources/NIFTI/files/a/b.nii',
          )
        ).text,
      ).to.equal('of 02')
    } finally {
      await other.dispose()
    }
  })

  it('have files of the processing result where a pipeline looks for them', async () => {
    await lab.admin.upload(`${SESSION}/assessors/A1/out/resources/PDF/files/r.pdf`, 'pdf')
    const rows = await lab.admin.rows(
      '/data/experiments?xsiType=proc:genProcData&columns=label,proc:genProcData/out/file/label,proc:genProcData/out/file/file_size',
    )
    expect(rows[0]).to.include({
      label: 'A1',
      'proc:genprocdata/out/file/label': 'PDF',
      'proc:genprocdata/out/file/file_size': '3',
    })
  })
})

describe('the notation of types', () => {
  it('says attribute, value type, text, repetition and content', () => {
    const [id, when, list, named] = parseSpecs(
      '@ID when:date fields{field*(@name)} PI<xnat:investigatorData>',
    )
    expect(id).to.include({ name: 'ID', attribute: true })
    expect(when).to.include({ name: 'when', valueType: 'date', text: true })
    expect(list).to.include({ name: 'fields', text: false })
    expect(list?.children[0]).to.include({ name: 'field', many: true, text: true })
    expect(named).to.include({ name: 'PI', of: 'xnat:investigatorData' })
    expect(() => parseSpecs('a{b')).to.throw(/notation/)
  })
})
