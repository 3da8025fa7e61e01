import { expect } from 'chai'
import { bench, SESSION, smallProject, type Bench } from './helpers.js'

describe('rights', () => {
  let lab: Bench
  before(async () => {
    lab = await bench({
      users: [
        { name: 'owner', projects: { P1: 'owner' } },
        { name: 'member', projects: { P1: 'member' } },
        { name: 'reader', projects: { P1: 'collaborator' } },
        { name: 'stranger' },
      ],
    })
    await smallProject(lab.admin)
    await lab.admin.put('/data/projects/OPEN?accessibility=public')
    await lab.admin.put('/data/projects/SHY?accessibility=protected')
    await lab.admin.put('/data/projects/SHY/subjects/S')
  })
  after(() => lab.dispose())

  const CASES: readonly (readonly [
    method: string,
    path: string,
    owner: number,
    member: number,
    reader: number,
    stranger: number,
  ])[] = [
    ['GET', '/data/projects/P1?format=json', 200, 200, 200, 404],
    ['GET', '/data/projects/P1/subjects', 200, 200, 200, 404],
    ['GET', '/data/experiments/XNAT_E00001?format=json', 200, 200, 200, 404],
    ['GET', `${SESSION}/scans/1/resources/NIFTI/files/t1.nii`, 200, 200, 200, 404],
    ['PUT', `${SESSION}?note=x`, 200, 200, 403, 404],
    ['PUT', `${SESSION}/scans/3?xsiType=xnat:mrScanData`, 200, 200, 403, 404],
    ['PUT', `${SESSION}/resources/EMPTY_%USER%`, 200, 200, 403, 404],
    ['PUT', '/data/projects/P1/accessibility/private', 200, 403, 403, 404],
    ['PUT', '/data/projects/P1?description=x', 200, 403, 403, 403],
    ['DELETE', `${SESSION}/scans/none`, 404, 404, 404, 404],
    ['DELETE', `${SESSION}/resources/none`, 200, 403, 403, 404],
    ['GET', '/data/projects/OPEN/subjects', 200, 200, 200, 200],
    ['PUT', '/data/projects/OPEN/subjects/S', 403, 403, 403, 403],
    ['GET', '/data/projects/SHY?format=json', 200, 200, 200, 200],
    ['GET', '/data/projects/SHY/subjects/S?format=json', 404, 404, 404, 404],
  ]
  for (const [method, path, ...wanted] of CASES) {
    for (const [index, user] of ['owner', 'member', 'reader', 'stranger'].entries()) {
      it(`let ${method} ${path} by ${user} be ${wanted[index]}`, async () => {
        const answer = await lab.as(user).send(method, path.replace('%USER%', user))
        expect(answer.status, answer.text).to.equal(wanted[index])
      })
    }
  }

  it('hide projects and their data from lists', async () => {
    expect((await lab.as('stranger').rows('/data/projects')).map(({ ID }) => ID)).to.deep.equal([
      'OPEN',
      'SHY',
    ])
    expect(await lab.as('stranger').rows('/data/experiments')).to.deep.equal([])
  })

  it('are given and taken by owners', async () => {
    const owner = lab.as('owner')
    expect((await owner.send('PUT', '/data/projects/P1/users/Members/stranger')).status).to.equal(200)
    expect((await lab.as('stranger').get('/data/projects/P1/subjects')).status).to.equal(200)
    expect(
      (await owner.rows('/data/projects/P1/users')).map(({ login, displayname }) => [login, displayname]),
    ).to.deep.include(['stranger', 'Members'])
    expect((await owner.send('DELETE', '/data/projects/P1/users/P1_member/stranger')).status).to.equal(200)
    expect((await lab.as('stranger').get('/data/projects/P1/subjects')).status).to.equal(404)
  })

  it('to accounts are those of administrators', async () => {
    const body = JSON.stringify({ username: 'new', password: 'pw', email: 'new@localhost' })
    const make = (user: string): Promise<number> =>
      lab
        .as(user)
        .send('POST', '/xapi/users', { body, type: 'application/json' })
        .then(({ status }) => status)
    expect([await make('owner'), await make('admin'), await make('admin')]).to.deep.equal([403, 201, 409])
    expect((await lab.as('new').get('/xapi/users/username')).text).to.equal('new')
  })
})
