import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import yazl from 'yazl'
import { bench, SESSION, smallProject, type Bench, type Row } from './helpers.js'

const RESOURCE = `${SESSION}/resources/R`

async function zipOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const zip = new yazl.ZipFile()
  for (const [name, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), name)
  zip.end()
  const pieces: Buffer[] = []
  for await (const piece of zip.outputStream as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Names in a zip, from its central directory. */
function namesIn(zip: Buffer): readonly string[] {
  const names: string[] = []
  for (let at = zip.indexOf('PK\u0001\u0002'); at >= 0; at = zip.indexOf('PK\u0001\u0002', at + 4)) {
    names.push(zip.toString('utf8', at + 46, at + 46 + zip.readUInt16LE(at + 28)))
  }
  return names
}

describe('files', () => {
  let lab: Bench
  beforeEach(async () => {
    lab = await bench({ users: [{ name: 'reader', projects: { P1: 'collaborator' } }] })
    await smallProject(lab.admin)
  })
  afterEach(() => lab.dispose())

  const list = (path = `${RESOURCE}/files`): Promise<readonly Row[]> => lab.admin.rows(path)
  const names = async (path?: string): Promise<readonly string[]> =>
    (await list(path)).map(({ URI = '' }) => decodeURIComponent(URI.split('/files/')[1] ?? '')).sort()

  it('are stored as sent, with size and digest, and come back', async () => {
    const stored = await lab.admin.upload(
      `${RESOURCE}/files/a/b%20c.txt?format=TXT&content=TEST&tags=x,y`,
      'hello',
    )
    expect([stored.status, stored.text]).to.deep.equal([200, ''])
    const [row] = await list()
    expect(row).to.include({
      Name: 'b c.txt',
      Size: '5',
      collection: 'R',
      file_format: 'TXT',
      file_content: 'TEST',
      file_tags: 'x,y',
      digest: '5d41402abc4b2a76b9719d911017c592',
    })
    expect(row?.URI).to.match(
      /^\/data\/projects\/P1\/subjects\/XNAT_S00001\/experiments\/XNAT_E00001\/resources\/\d+\/files\/a\/b%20c\.txt$/,
    )
    const file = await lab.admin.get(row?.URI ?? '')
    expect([file.text, file.headers.get('content-length')]).to.deep.equal(['hello', '5'])
    const head = await lab.admin.send('HEAD', row?.URI ?? '')
    expect([head.status, head.headers.get('content-length'), head.text]).to.deep.equal([200, '5', ''])
  })

  const UPLOADS: readonly (readonly [number, string, string, string | undefined])[] = [
    [200, 'files/f.txt?inbody=true', 'x', 'application/x-nothing'],
    [400, 'files/f.json', '{}', 'application/json'],
    [200, 'files/f.bin', 'x', 'application/octet-stream'],
    [500, 'files/f.txt?inbody=true', '', 'text/plain'],
    [200, 'files/f.zip?inbody=true', '', 'application/zip'],
    [400, 'files?inbody=true', 'x', 'text/plain'],
    [406, 'files/f.txt?inbody=true', 'x', 'multipart/form-data; boundary=x'],
  ]
  for (const [status, path, body, type] of UPLOADS) {
    it(`answer ${status} to ${body.length} bytes of ${type} to ${path}`, async () => {
      const answer = await lab.admin.send('PUT', `${RESOURCE}/${path}`, {
        body,
        ...(type === undefined ? {} : { type }),
      })
      expect(answer.status, answer.text).to.equal(status)
    })
  }

  for (const path of ['..%2Fx', '%2Fetc%2Fpasswd', 'a//b', `${'n'.repeat(256)}.txt`]) {
    it(`refuse the path ${path.slice(0, 20)}`, async () => {
      const answer = await lab.admin.upload(`${RESOURCE}/files/${path}`, 'x')
      // An empty part of a path does not reach the server's own code.
      expect(answer.status).to.equal(path === 'a//b' ? 200 : 400)
    })
  }

  it('come by form, many at once, empty ones too', async () => {
    const form = new FormData()
    form.append('one', new Blob(['1']), 'one.txt')
    form.append('two', new Blob([]), 'two.txt')
    expect((await lab.admin.send('POST', `${RESOURCE}/files`, { body: form })).status).to.equal(200)
    expect((await list()).map(({ Name, Size }) => [Name, Size])).to.deep.equal([
      ['one.txt', '1'],
      ['two.txt', '0'],
    ])
  })

  it('are not replaced unless asked for: the reply names them', async () => {
    await lab.admin.upload(`${RESOURCE}/files/a.txt`, 'old')
    const again = await lab.admin.upload(`${RESOURCE}/files/a.txt`, 'new')
    expect([again.status, again.type.split(';')[0], again.text]).to.deep.equal([
      200,
      'text/html',
      '{"duplicates":["a.txt"]}',
    ])
    expect((await lab.admin.get(`${RESOURCE}/files/a.txt`)).text).to.equal('old')
    expect((await lab.admin.upload(`${RESOURCE}/files/a.txt?overwrite=true`, 'new')).text).to.equal('')
    expect((await lab.admin.get(`${RESOURCE}/files/a.txt`)).text).to.equal('new')
  })

  it('are unpacked from a zip, catalogs left out; the names may be odd', async () => {
    const plain = await zipOf({
      'a.txt': '1',
      'd/e/b.txt': '2',
      'x_catalog.xml': '<x/>',
      'a_b *?"é.txt': '3',
    })
    // The writer of zips here refuses this name; others do not.
    const body = Buffer.from(plain.toString('latin1').replaceAll('a_b', 'a:b'), 'latin1')
    expect(
      (await lab.admin.upload(`${RESOURCE}/files/in.zip?extract=true`, body, 'application/zip')).status,
    ).to.equal(200)
    expect(await names()).to.deep.equal(['a.txt', 'a:b *?"é.txt', 'd/e/b.txt'])
    expect((await lab.admin.get(`${RESOURCE}/files/d/e/b.txt`)).text).to.equal('2')
    expect((await lab.admin.upload(`${RESOURCE}/files/kept.zip`, body, 'application/zip')).status).to.equal(
      200,
    )
    expect(await names()).to.include('kept.zip')
  })

  it('leave nothing of a zip with a name that leaves the folder, or that is cut short', async () => {
    const good = await zipOf({ 'ok.txt': 'x', 'aa/evil.txt': 'x' })
    const evil = Buffer.from(good.toString('latin1').replaceAll('aa/evil', '../evil'), 'latin1')
    expect(
      (await lab.admin.upload(`${RESOURCE}/files/e.zip?extract=true`, evil, 'application/zip')).status,
    ).to.equal(400)
    expect(
      (
        await lab.admin.upload(
          `${RESOURCE}/files/e.zip?extract=true`,
          good.subarray(0, 60),
          'application/zip',
        )
      ).status,
    ).to.equal(500)
    expect(await names()).to.deep.equal([])
  })

  it('are packed in the layouts of the server', async () => {
    await lab.admin.upload(`${SESSION}/scans/1/resources/NIFTI/files/d/1`, 'x')
    const packed = async (path: string): Promise<readonly string[]> =>
      namesIn((await lab.admin.get(path)).bytes)
    const scans = `${SESSION}/scans/ALL/files?format=zip`
    expect(await packed(scans)).to.deep.equal([
      'E1/scans/1-T1w/resources/NIFTI/files/t1.nii',
      'E1/scans/1-T1w/resources/NIFTI/files/d/1-T1w',
    ])
    expect(await packed(`${scans}&structure=simplified`)).to.deep.equal([
      'E1/scans/1/NIFTI/t1.nii',
      'E1/scans/1/NIFTI/d/1',
    ])
    expect(await packed(`${scans}&structure=improved`)).to.deep.equal([
      'scans/1_T1w/NIFTI/t1.nii',
      'scans/1_T1w/NIFTI/d/1',
    ])
    await lab.admin.upload(`${SESSION}/assessors/A1/resources/PDF/files/r.pdf`, 'x')
    expect(await packed(`${SESSION}/assessors/A1/out/resources/PDF/files?format=zip`)).to.deep.equal([
      'E1/assessors/XNAT_E00002/out/resources/PDF/files/r.pdf',
    ])
    await lab.admin.upload('/data/projects/P1/resources/DOC/files/r.txt', 'x')
    expect(await packed('/data/projects/P1/resources/DOC/files?format=zip')).to.deep.equal([
      'P1/resources/DOC/files/r.txt',
    ])
    expect((await lab.admin.get(`${SESSION}/resources/NONE/files?format=zip`)).status).to.equal(404)
    expect(
      (await lab.admin.get(`${scans.replace('zip', 'tar.gz')}`)).bytes.subarray(0, 2).toString('hex'),
    ).to.equal('1f8b')
  })

  it('of assessors are the same list with and without out, and as an experiment', async () => {
    await lab.admin.upload(`${SESSION}/assessors/A1/out/resources/PDF/files/r.pdf`, 'x')
    for (const path of [
      `${SESSION}/assessors/A1/resources`,
      `${SESSION}/assessors/A1/out/resources`,
      '/data/experiments/XNAT_E00002/resources',
    ]) {
      expect(
        (await lab.admin.rows(path)).map(({ label }) => label),
        path,
      ).to.deep.equal(['PDF'])
    }
    expect((await list(`${SESSION}/assessors/A1/out/resources/PDF/files`))[0]?.URI).to.match(
      /\/experiments\/XNAT_E00001\/assessors\/XNAT_E00002\/out\/resources\/\d+\/files\/r\.pdf$/,
    )
  })

  it('of two uploads at once into one resource, one fails and leaves an orphan', async () => {
    await lab.admin.upload(`${RESOURCE}/files/first`, 'x')
    // An upload that has begun, and waits for its second half.
    const { port } = new URL(lab.sandbox.url)
    const socket = connect(Number(port), '127.0.0.1')
    const { password = '' } = lab.sandbox.users.admin ?? {}
    const requests = lab.sandbox.counts().requests
    socket.write(
      `PUT ${RESOURCE}/files/slow?inbody=true HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n` +
        `Authorization: Basic ${Buffer.from(`admin:${password}`).toString('base64')}\r\n\r\nsl`,
    )
    // The server shows the begun upload by the file it is writing.
    const { readdir } = await import('node:fs/promises')
    while ((await readdir(`${lab.sandbox.directory}/tmp`)).length === 0) await new Promise(setImmediate)
    expect((await lab.admin.upload(`${RESOURCE}/files/quick`, 'x')).status).to.equal(200)
    socket.write('ow')
    const pieces: Buffer[] = []
    socket.on('data', (piece: Buffer) => pieces.push(piece))
    await once(socket, 'close')
    expect(Buffer.concat(pieces).toString()).to.match(/^HTTP\/1\.1 500 /)
    expect(lab.sandbox.counts().requests).to.equal(requests + 2)
    expect(await names()).to.deep.equal(['first', 'quick'])
    // The bytes are there: a refresh of the catalog shows them.
    const path = '/archive/projects/P1/subjects/S1/experiments/E1/resources/R'
    expect(
      (await lab.admin.send('POST', `/data/services/refresh/catalog?resource=${path}&options=append`)).status,
    ).to.equal(200)
    expect(await names()).to.deep.equal(['first', 'quick', 'slow'])
  })

  it('do not appear when the client goes away in the middle', async () => {
    const { port } = new URL(lab.sandbox.url)
    const { password = '' } = lab.sandbox.users.admin ?? {}
    const socket = connect(Number(port), '127.0.0.1')
    socket.write(
      `PUT ${RESOURCE}/files/half?inbody=true HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n` +
        `Authorization: Basic ${Buffer.from(`admin:${password}`).toString('base64')}\r\n\r\nhalf`,
    )
    const before = lab.sandbox.counts().requests
    const { readdir } = await import('node:fs/promises')
    const receiving = async (): Promise<number> => (await readdir(`${lab.sandbox.directory}/tmp`)).length
    while ((await receiving()) === 0) await new Promise(setImmediate)
    socket.destroy()
    while (lab.sandbox.counts().requests === before) await new Promise(setImmediate)
    expect(await receiving()).to.equal(0)
    expect(await names()).to.deep.equal([])
  })

  it('of different resources do not disturb each other', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        lab.admin.upload(`${SESSION}/resources/R${index}/files/f`, 'x'),
      ),
    )
    expect(answers.map(({ status }) => status)).to.deep.equal(Array.from({ length: 10 }, () => 200))
  })

  it('are silently not stored for who may only read', async () => {
    const reader = lab.as('reader')
    const answer = await reader.upload(`${RESOURCE}/files/a.txt`, 'x')
    expect([answer.status, answer.text]).to.deep.equal([200, ''])
    expect(await names()).to.deep.equal([])
    expect(lab.sandbox.log.some(({ note }) => note?.includes('stores nothing') === true)).to.equal(true)
    expect((await reader.send('DELETE', `${SESSION}/scans/1/resources/NIFTI/files/t1.nii`)).status).to.equal(
      403,
    )
  })

  it('are deleted by the beginning of their path', async () => {
    for (const name of ['ab', 'abc', 'b']) await lab.admin.upload(`${RESOURCE}/files/${name}`, 'x')
    expect((await lab.admin.send('DELETE', `${RESOURCE}/files/ab`)).status).to.equal(200)
    expect(await names()).to.deep.equal(['b'])
    expect((await lab.admin.send('DELETE', `${RESOURCE}/files/none`)).status).to.equal(404)
    expect((await lab.admin.send('DELETE', `${SESSION}/resources/NONE/files/x`)).status).to.equal(400)
    expect((await lab.admin.send('DELETE', `${SESSION}/resources/NONE`)).status).to.equal(200)
  })

  it('below what is not there are an empty list, or 404 where one file is asked for', async () => {
    expect(await names(`${SESSION}/resources/NONE/files`)).to.deep.equal([])
    expect(await names(`${SESSION}/scans/99/files`)).to.deep.equal([])
    expect((await lab.admin.get(`${SESSION}/resources/NONE/files/x`)).status).to.equal(404)
    expect((await lab.admin.upload(`${SESSION}/scans/99/resources/R/files/x`, 'x')).status).to.equal(404)
  })

  it('have counters that may be behind', async () => {
    const count = async (): Promise<string | undefined> =>
      (await lab.admin.rows(`${SESSION}/resources`))[0]?.file_count
    await lab.admin.upload(`${RESOURCE}/files/a`, 'x')
    await lab.admin.upload(`${RESOURCE}/files/b?update-stats=false`, 'x')
    expect(await count()).to.equal('1')
    expect(await names()).to.have.length(2)
    const body = JSON.stringify(['/archive/experiments/XNAT_E00001/resources/R'])
    expect(
      (
        await lab.admin.send('POST', '/xapi/archive/catalogs/refresh/populateStats', {
          body,
          type: 'application/json',
        })
      ).status,
    ).to.equal(200)
    expect(await count()).to.equal('2')
  })

  it('lie in resources that are made empty, once, and read as a catalog', async () => {
    expect((await lab.admin.send('PUT', `${SESSION}/resources/E?format=TXT`)).status).to.equal(200)
    expect((await lab.admin.send('PUT', `${SESSION}/resources/E`)).status).to.equal(409)
    await lab.admin.upload(`${SESSION}/resources/E/files/a&b.txt`, 'x')
    expect((await lab.admin.get(`${SESSION}/resources/E?format=json`)).text)
      .to.include('URI="a&amp;b.txt"')
      .and.include('<cat:Catalog')
  })
})
