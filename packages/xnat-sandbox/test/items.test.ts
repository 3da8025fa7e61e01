import { expect } from 'chai'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

describe('items', () => {
  let lab: Bench
  let ids: { session: string; assessor: string }
  beforeEach(async () => {
    lab = await bench()
    ids = await smallProject(lab.admin)
  })
  afterEach(() => lab.dispose())

  const status = async (method: string, path: string, body?: string): Promise<number> =>
    (await lab.admin.send(method, path, body === undefined ? {} : { body, type: 'text/xml' })).status

  it('answer creation with 201 and the ID, change with 200 and the ID', async () => {
    const made = await lab.admin.send('PUT', '/data/projects/P1/subjects/S2?gender=female')
    expect([made.status, made.text]).to.deep.equal([201, 'XNAT_S00002'])
    const again = await lab.admin.send('PUT', '/data/projects/P1/subjects/S2?yob=1980')
    expect([again.status, again.text]).to.deep.equal([200, 'XNAT_S00002'])
    expect(await lab.admin.rows('/data/projects/P1/subjects?columns=label,gender,yob')).to.deep.include({
      label: 'S2',
      gender: 'female',
      yob: '1980',
      ID: 'XNAT_S00002',
      URI: '/data/subjects/XNAT_S00002',
    })
  })

  it('answer new projects and scans with 200 and nothing', async () => {
    const project = await lab.admin.send('PUT', '/data/projects/P9')
    expect([project.status, project.text]).to.deep.equal([200, ''])
    const scan = await lab.admin.send('PUT', `${SESSION}/scans/9?xsiType=xnat:mrScanData`)
    expect([scan.status, scan.text]).to.deep.equal([200, ''])
  })

  it('make a missing subject with the session', async () => {
    expect(
      await status('PUT', '/data/projects/P1/subjects/NEW/experiments/N1?xsiType=xnat:ctSessionData'),
    ).to.equal(201)
    expect((await lab.admin.rows('/data/projects/P1/subjects')).map(({ label }) => label)).to.include('NEW')
  })

  const REFUSED: readonly (readonly [number, string, string])[] = [
    [417, 'PUT', '/data/projects/P1/subjects/S1/experiments/X'],
    [400, 'PUT', '/data/projects/P1/subjects/S1/experiments/X?xsiType=no:such'],
    [422, 'PUT', '/data/projects/P1/subjects/S1/experiments/X?xsiType=xnat:qcAssessmentData'],
    [417, 'PUT', `${SESSION}/assessors/X`],
    [422, 'PUT', `${SESSION}/assessors/X?xsiType=xnat:mrSessionData`],
    [400, 'PUT', `${SESSION}/scans/X?type=T1w`],
    [409, 'PUT', `${SESSION}/scans/1?xsiType=xnat:petScanData`],
    [400, 'PUT', `${SESSION}?date=yesterday`],
    [400, 'PUT', `${SESSION}?xnat:mrSessionData/noSuchField=1`],
    [417, 'PUT', '/data/projects/P1/subjects/a%20b'],
    [500, 'PUT', '/data/projects/P1/subjects/S1/experiments/a%20b?xsiType=xnat:mrSessionData'],
    [417, 'PUT', '/data/projects/P%201'],
    [404, 'PUT', '/data/projects/NONE/subjects/S'],
    [404, 'PUT', '/data/experiments/NONE?note=x'],
    [422, 'PUT', '/data/projects/P1/experiments/X?xsiType=xnat:mrSessionData'],
    [405, 'PUT', '/data/projects'],
    [404, 'GET', '/data/projects/NONE'],
    [404, 'GET', `${SESSION}/assessors/NONE`],
  ]
  for (const [code, method, path] of REFUSED) {
    it(`refuse ${method} ${path} with ${code}`, async () => {
      const answer = await lab.admin.send(method, path)
      expect(answer.status, answer.text).to.equal(code)
      expect(answer.text).to.match(/<h3>[^<]+<\/h3>/)
    })
  }

  it('have labels that are unique in a project, assessors among them', async () => {
    await lab.admin.put('/data/projects/P1/subjects/S2')
    expect(
      await status('PUT', '/data/projects/P1/subjects/S2/experiments/E1?xsiType=xnat:mrSessionData'),
    ).to.equal(409)
    expect(
      await status('PUT', '/data/projects/P1/subjects/S2/experiments/A1?xsiType=xnat:mrSessionData'),
    ).to.equal(409)
    await lab.admin.put('/data/projects/P2')
    expect(
      await status('PUT', '/data/projects/P2/subjects/S1/experiments/E1?xsiType=xnat:mrSessionData'),
    ).to.equal(201)
  })

  it('are renamed by label alone', async () => {
    expect(await status('PUT', `${SESSION}?label=E2&note=lost`)).to.equal(200)
    expect(await status('GET', `${SESSION}?format=json`)).to.equal(404)
    const item = await lab.admin.get(`/data/experiments/${ids.session}?format=json`)
    expect(item.text).to.include('"label":"E2"').and.not.include('lost')
    await lab.admin.put('/data/projects/P1/subjects/S2')
    expect(await status('PUT', '/data/projects/P1/subjects/S2?label=S1')).to.equal(409)
  })

  it('keep what parameters give with HTML escapes, what documents give as it is', async () => {
    await lab.admin.put(`${SESSION}?note=${encodeURIComponent('a<b & "c"')}`)
    expect((await lab.admin.rows('/data/experiments?columns=note&label=E1'))[0]?.note).to.equal(
      'a&lt;b &amp; &quot;c&quot;',
    )
    const document = `<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat"><xnat:note>a&lt;b &amp; "c"</xnat:note></xnat:MRSession>`
    expect(await status('PUT', SESSION, document)).to.equal(200)
    expect((await lab.admin.rows('/data/experiments?columns=note&label=E1'))[0]?.note).to.equal('a<b & "c"')
  })

  it('take custom variables by name', async () => {
    await lab.admin.put(`${SESSION}?xnat:mrSessionData/fields/field%5Bname%3Dsite%5D/field=A`)
    await lab.admin.put(`${SESSION}?xnat:mrSessionData/fields/field%5Bname%3Dmood%5D/field=B`)
    await lab.admin.put(`${SESSION}?xnat:mrSessionData/fields/field%5Bname%3Dsite%5D/field=C`)
    const xml = (await lab.admin.get(`${SESSION}?format=xml`)).text
    expect(xml)
      .to.include('<xnat:field name="site">C</xnat:field>')
      .and.include('<xnat:field name="mood">B</xnat:field>')
  })

  it('come back from their own document', async () => {
    const before = (await lab.admin.get(`${SESSION}?format=xml&concealHiddenFields=true`)).text
    expect(await status('PUT', SESSION, before)).to.equal(200)
    expect((await lab.admin.get(`${SESSION}?format=xml&concealHiddenFields=true`)).text).to.equal(before)
  })

  it('merge documents: lists by their key, the rest stays', async () => {
    const qc = (text: string): string =>
      `<xnat:QCAssessment xmlns:xnat="http://nrg.wustl.edu/xnat" label="Q1"><xnat:parameters>${text}</xnat:parameters></xnat:QCAssessment>`
    expect(
      await status('PUT', `${SESSION}/assessors/Q1`, qc('<xnat:addParam name="a">1</xnat:addParam>')),
    ).to.equal(201)
    expect(
      await status(
        'PUT',
        `${SESSION}/assessors/Q1`,
        qc('<xnat:addParam name="b">2</xnat:addParam><xnat:addParam name="a">3</xnat:addParam>'),
      ),
    ).to.equal(200)
    const xml = (await lab.admin.get(`${SESSION}/assessors/Q1?format=xml`)).text
    expect(xml).to.include('name="a">3<').and.include('name="b">2<').and.not.include('>1<')
  })

  it('refuse a document with a DOCTYPE, broken XML, and values that do not fit', async () => {
    const entity =
      '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xnat:Subject xmlns:xnat="http://nrg.wustl.edu/xnat" src="&e;"/>'
    expect(await status('PUT', '/data/projects/P1/subjects/S1', entity)).to.equal(400)
    expect(await status('PUT', '/data/projects/P1/subjects/S1', '<xnat:Subject')).to.equal(400)
    const bad =
      '<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat"><xnat:date>soon</xnat:date></xnat:MRSession>'
    expect(await status('PUT', SESSION, bad)).to.equal(400)
  })

  it('answer 409 to a POST of what is there, and the address of what is new', async () => {
    const xml = '<xnat:QCAssessment ID="Q_1" label="Q1" xmlns:xnat="http://nrg.wustl.edu/xnat"/>'
    const made = await lab.admin.send('POST', `${SESSION}/assessors`, { body: xml, type: 'text/xml' })
    expect([made.status, made.text]).to.deep.equal([201, `${lab.sandbox.url}/data/experiments/Q_1`])
    const again = await lab.admin.send('POST', `${SESSION}/assessors`, { body: xml, type: 'text/xml' })
    expect(again.status).to.equal(409)
  })

  it('are made once, however many ask at once', async () => {
    const xml = '<xnat:QCAssessment ID="Q_2" label="Q2" xmlns:xnat="http://nrg.wustl.edu/xnat"/>'
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        lab.admin.send('POST', `${SESSION}/assessors`, { body: xml, type: 'text/xml' }),
      ),
    )
    expect(answers.map(({ status: code }) => code).sort()).to.deep.equal([
      201,
      ...Array.from({ length: 7 }, () => 409),
    ])
  })

  it('are pages unless a form is asked for', async () => {
    for (const accept of ['*/*', 'application/json, text/plain, */*']) {
      expect((await lab.admin.get(SESSION, { headers: { Accept: accept } })).type).to.include('text/html')
    }
    expect((await lab.admin.get(`${SESSION}?format=json`)).type).to.include('application/json')
    expect((await lab.admin.get(SESSION, { headers: { Accept: 'text/xml' } })).type).to.include('text/xml')
  })

  it('answer the session where there is no route to its scans', async () => {
    const trap = await lab.admin.get('/data/projects/P1/experiments/E1/scans?format=json')
    expect(Object.keys(JSON.parse(trap.text) as object)).to.deep.equal(['items'])
    expect(lab.sandbox.log.at(-1)?.note).to.include('no route to scans')
    expect(await lab.admin.rows(`/data/experiments/${ids.session}/scans`)).to.have.length(2)
  })

  it('are the same under /data, /REST and /data/archive', async () => {
    const [a, b, c] = await Promise.all(
      ['/data', '/REST', '/data/archive'].map((prefix) => lab.admin.get(`${prefix}/projects/P1/subjects`)),
    )
    expect(a?.text).to.equal(b?.text).and.to.equal(c?.text)
  })

  it('go with all that hangs on them', async () => {
    expect(await status('DELETE', '/data/projects/P1/subjects/S1?removeFiles=true')).to.equal(200)
    expect(await status('GET', `/data/experiments/${ids.assessor}?format=json`)).to.equal(404)
    expect(await lab.admin.rows('/data/experiments')).to.deep.equal([])
  })

  it('are shared, listed under the label of the share, and unshared', async () => {
    await lab.admin.put('/data/projects/P2')
    await lab.admin.put('/data/projects/P1/subjects/S1/projects/P2?label=T1')
    await lab.admin.put(`${SESSION}/projects/P2?label=F1`)
    expect(await status('PUT', `${SESSION}/projects/P2?label=F2`)).to.equal(409)
    const [shared] = await lab.admin.rows('/data/projects/P2/experiments?columns=label,project,subject_label')
    expect(shared).to.include({ label: 'F1', project: 'P1', subject_label: 'T1' })
    expect(
      await lab.admin.rows(
        '/data/experiments?xsiType=xnat:mrSessionData&xnat:mrSessionData/sharing/share/project=P2',
      ),
    ).to.have.length(1)
    expect(await status('DELETE', '/data/projects/P2/experiments/F1')).to.equal(200)
    expect(await lab.admin.rows('/data/projects/P2/experiments')).to.deep.equal([])
    expect(await status('GET', `${SESSION}?format=json`)).to.equal(200)
  })

  it('say what the sandbox does not have', async () => {
    const answer = await lab.admin.get('/data/prearchive/nothing/like/this/at/all')
    expect(answer.status).to.be.oneOf([404, 501])
    expect((await lab.admin.get('/data/nonsense')).status).to.equal(501)
    expect(lab.sandbox.log.at(-1)?.note).to.include('does not have')
    expect((await lab.admin.get('/nonsense')).status).to.equal(404)
  })
})
