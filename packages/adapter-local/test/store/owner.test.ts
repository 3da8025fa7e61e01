import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import { ownedName, readOwner, releasedName } from '#src/store/owner.js'

describe('owner of a staging folder', () => {
  const name = ownedName('up-x')
  const [, id, host, boot, pid, start] = name.split('~')

  it('is this process, until it lets go', () => {
    expect(readOwner(name)).to.deep.equal({ prefix: 'up-x', owner: 'alive' })
    expect(readOwner(releasedName(name))).to.deep.equal({ prefix: 'up-x', owner: 'gone' })
  })

  it('is gone with its process, also when the number has a new one', () => {
    const { pid: dead } = spawnSync(process.execPath, ['--version'])
    expect(readOwner(['p', id, host, boot, dead, start].join('~'))?.owner).to.equal('gone')
    expect(readOwner(['p', id, host, boot, pid, '1'].join('~'))?.owner).to.equal('gone')
    expect(readOwner(['p', id, host, 'otherboot', pid, start].join('~'))?.owner).to.equal('gone')
  })

  it('is not known on another machine', () => {
    expect(readOwner(['p', id, 'elsewhere', boot, pid, start].join('~'))?.owner).to.equal('unknown')
  })

  it('is nobody for a name that is not ours', () => {
    for (const other of ['x', '', 'a~b', 'a~b~c~d', 'a~b~c~d~e~f~g'])
      expect(readOwner(other)).to.equal(undefined)
  })
})
