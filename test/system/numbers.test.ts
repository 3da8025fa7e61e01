/** The numbers of the imaging processors against an independent computation in Python. */

import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { skip } from '../support/skip.js'
import { ROOT } from '../support/repository.js'

/** Debian's own first: that is where python3-nibabel and python3-dipy install to, whatever else PATH holds. */
const PYTHONS = ['/usr/bin/python3', 'python3']

function pythonWithImaging(): string | undefined {
  return PYTHONS.find(
    (python) => spawnSync(python, ['-c', 'import numpy, nibabel, dipy'], { stdio: 'ignore' }).status === 0,
  )
}

describe('numbers', function () {
  this.timeout(300_000)

  it('of fMRI and DTI quality agree with nibabel and dipy', function () {
    const python = pythonWithImaging()
    if (python === undefined)
      skip(this, 'no python3 with numpy, nibabel and dipy (Debian: python3-nibabel python3-dipy)')
    const script = path.join(ROOT, 'test', 'system', 'numbers', 'run.mjs')
    expect(fs.existsSync(script)).to.equal(true)
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], {
      encoding: 'utf8',
      env: { ...process.env, PYTHON: python },
      timeout: 280_000,
    })
    expect(status, `${stdout}\n${stderr}`).to.equal(0)
    console.log(stdout.trimEnd().replace(/^/gm, '      '))
  })
})
