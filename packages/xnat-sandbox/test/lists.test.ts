import { expect } from 'chai'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

describe('lists', () => {
  let lab: Bench
  let ids: { session: string; assessor: string }
  before(async () => {
    lab = await bench({ now: () => Date.UTC(2024, 2, 2, 10, 20, 30, 400) })
    ids = await smallProject(lab.admin)
    await lab.admin.put(
      '/data/projects/P1/subjects/S2/experiments/E2?xsiType=xnat:petSessionData&date=2024-05-06&note=two',
    )
  })
  after(() => lab.dispose())

  it('are JSON with text cells, in the order of the server, unless asked otherwise', async () => {
    const { text } = await lab.admin.get('/data/projects/P1/experiments?label=E1')
    expect(text).to.equal(
      `{"ResultSet":{"Result":[{"date":"2024-03-02","xsiType":"xnat:mrSessionData","xnat:subjectassessordata/id":"${ids.session}",` +
        `"insert_date":"2024-03-02 10:20:30.4","project":"P1","ID":"${ids.session}","label":"E1","URI":"/data/experiments/${ids.session}"}], "totalRecords": "1"}}`,
    )
  })

  it('are CSV, XML and HTML on demand', async () => {
    const path = '/data/experiments?xsiType=xnat:mrSessionData&columns=ID,label'
    expect((await lab.admin.get(`${path}&format=csv`)).text).to.equal(
      `xnat:mrsessiondata/id,ID,label,URI\n${ids.session},${ids.session},E1,/data/experiments/${ids.session}\n`,
    )
    expect((await lab.admin.get(`${path}&format=xml`)).text).to.include(
      '<ResultSet totalRecords="1" title="Matching experiments"><results><columns><column>xnat:mrsessiondata/id</column>',
    )
    expect((await lab.admin.get(path, { headers: { Accept: 'text/html' } })).text).to.include(
      '<TH>label</TH>',
    )
  })

  it('hold assessors and sessions across projects, and only sessions with a session type', async () => {
    expect((await lab.admin.rows('/data/experiments')).map(({ label }) => label)).to.have.members([
      'E1',
      'E2',
      'A1',
    ])
    expect(
      (await lab.admin.rows('/data/experiments?xsiType=xnat:imageSessionData')).map(({ label }) => label),
    ).to.have.members(['E1', 'E2'])
    expect(
      (await lab.admin.rows('/data/projects/P1/experiments?xsiType=xnat:imageAssessorData')).map(
        ({ label }) => label,
      ),
    ).to.deep.equal(['A1'])
  })

  it('join scans and their resources to sessions, one row each, empty where there is none', async () => {
    const rows = await lab.admin.rows(
      '/data/experiments?xsiType=xnat:imageSessionData&project=P1&columns=label,xnat:imageScanData/ID,xnat:imageScanData/type,xnat:imageScanData/file/label,xnat:imageScanData/file/file_count',
    )
    expect(
      rows.map((row) => [
        row.label,
        row['xnat:imagescandata/id'],
        row['xnat:imagescandata/file/label'],
        row['xnat:imagescandata/file/file_count'],
      ]),
    ).to.deep.equal([
      ['E1', '1', 'NIFTI', '1'],
      ['E1', '2', '', ''],
      ['E2', '', '', ''],
    ])
  })

  it('join sessions to assessors, and assessors to sessions', async () => {
    const [fromAssessor] = await lab.admin.rows(
      '/data/experiments?xsiType=proc:genProcData&columns=label,xnat:imageSessionData/ID,xnat:imageSessionData/label,xnat:imageSessionData/date,proc:genProcData/procstatus,subject_label',
    )
    // What a short name stands for comes back by the short name.
    expect(fromAssessor).to.include({
      session_ID: ids.session,
      session_label: 'E1',
      'xnat:imagesessiondata/date': '2024-03-02',
      'proc:genprocdata/procstatus': 'COMPLETE',
      subject_label: 'S1',
    })
    const fromSession = await lab.admin.rows(
      '/data/experiments?xsiType=xnat:imageSessionData&columns=session_label,proc:genprocdata/label,proc:genprocdata/procstatus',
    )
    expect(fromSession.map((row) => [row.session_label, row['proc:genprocdata/label']])).to.deep.equal([
      ['E1', 'A1'],
      ['E2', ''],
    ])
  })

  const FILTERS: readonly (readonly [string, readonly string[]])[] = [
    ['label=E1,E2', ['E1', 'E2']],
    ['label=E*', ['E1', 'E2']],
    ['label=%252', ['E2']],
    ['date=03/01/2024-03/31/2024', ['E1']],
    ['date=05/06/2024', ['E2']],
    ['xnat:mrSessionData/date=05/06/2024', []],
    ['note=NULL', ['E1']],
    ['project=P1,P2', ['E1', 'E2']],
    ['project=P2', []],
    ['xnat:imageScanData/type=T1w', ['E1']],
    ['nonsense=1', ['E1', 'E2']],
  ]
  for (const [filter, labels] of FILTERS) {
    it(`are filtered by ${filter}`, async () => {
      const rows = await lab.admin.rows(
        `/data/experiments?xsiType=xnat:imageSessionData&columns=label&${filter}`,
      )
      expect([...new Set(rows.map(({ label }) => label))]).to.deep.equal(labels)
    })
  }

  it('are sorted and paged; pages do not tell the total', async () => {
    const path = '/data/experiments?xsiType=xnat:imageSessionData&columns=label&sortBy=label&sortOrder=DESC'
    expect((await lab.admin.rows(path)).map(({ label }) => label)).to.deep.equal(['E2', 'E1'])
    const page = await lab.admin.get(`${path}&limit=1&offset=1`)
    expect(page.text).to.include('"label":"E1"').and.not.include('E2').and.not.include('totalRecords')
  })

  it('leave unknown columns out', async () => {
    const [row] = await lab.admin.rows(
      '/data/projects/P1/subjects?columns=label,no_such,xnat:subjectData/no_such',
    )
    expect(Object.keys(row ?? {})).to.have.members(['label', 'ID', 'URI'])
  })

  it('tell which data types the site has', async () => {
    const types = (await lab.admin.rows('/data/search/elements')).map((row) => row.ELEMENT_NAME)
    expect(types).to.include.members([
      'xnat:mrSessionData',
      'xnat:qcAssessmentData',
      'proc:genProcData',
      'proc:subjGenProcData',
    ])
  })

  it('tell that the processing types are not there where they are not', async () => {
    const plain = await bench({ genProcData: false })
    try {
      const types = (await plain.admin.rows('/data/search/elements')).map((row) => row.ELEMENT_NAME ?? '')
      expect(types.filter((name) => name.startsWith('proc:'))).to.deep.equal([])
      await plain.admin.put('/data/projects/P1')
      await plain.admin.put(`${SESSION}?xsiType=xnat:mrSessionData`)
      expect(
        (await plain.admin.send('PUT', `${SESSION}/assessors/A?xsiType=proc:genProcData`)).status,
      ).to.equal(400)
    } finally {
      await plain.dispose()
    }
  })

  it('of resources count files and bytes, of all levels with all=true', async () => {
    const rows = await lab.admin.rows(`${SESSION}/resources?all=true`)
    expect(rows).to.have.length(1)
    expect(rows[0]).to.include({
      label: 'NIFTI',
      category: 'scans',
      cat_id: '1',
      cat_desc: 'T1w',
      file_count: '1',
      file_size: '5',
      format: 'NIFTI',
    })
  })

  it('of subjects of nobody fail for who can see none', async () => {
    const other = await bench({ users: [{ name: 'bob' }] })
    try {
      expect((await other.as('bob').get('/data/subjects')).status).to.equal(500)
    } finally {
      await other.dispose()
    }
  })
})
