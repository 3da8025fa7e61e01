/** The tutorial, word for word: its files are written and its commands run, in order. */

import { expect } from 'chai'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { ROOT } from '../support/repository.js'
import { ORBWEAVER } from './support/cli.js'
import { removeFolders, scratchFolder, write } from './support/folders.js'
import { endJobs } from './support/processes.js'

interface Block {
  readonly language: string
  readonly title?: string
  readonly run: boolean
  readonly text: string
}

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w+)([^\n]*)\n([\s\S]*?)^```$/gm)].map(
    ([, language = '', info = '', text = '']) => {
      const title = /title=(\S+)/.exec(info)?.[1]
      return { language, text, run: !/\bnorun\b/.test(info), ...(title !== undefined && { title }) }
    },
  )
}

describe('the tutorial', function () {
  this.timeout(300_000)
  const blocks = blocksOf(fs.readFileSync(path.join(ROOT, 'docs', 'tutorial.md'), 'utf8'))
  let folder: string
  let cwd: string

  before(() => {
    folder = scratchFolder('tutorial')
    cwd = folder
    // The tutorial's alias, for a shell that has none.
    write(
      path.join(folder, 'bin', 'orbweaver'),
      `#!/bin/sh\nexec '${process.execPath}' '${ORBWEAVER}' "$@"\n`,
      0o700,
    )
  })
  after(() => {
    endJobs(folder)
    removeFolders()
  })

  /** Runs a block where the last one left off. */
  const run = (text: string): string => {
    const marker = path.join(folder, 'cwd')
    const { status, stdout, stderr } = spawnSync('sh', ['-eu', '-c', `${text}\npwd >'${marker}'`], {
      cwd,
      encoding: 'utf8',
      env: {
        ...process.env,
        PATH: `${path.join(folder, 'bin')}:${process.env['PATH'] ?? ''}`,
        NO_COLOR: '1',
      },
    })
    expect(status, `${text}\n${stdout}\n${stderr}`).to.equal(0)
    cwd = fs.readFileSync(marker, 'utf8').trim()
    return stdout
  }

  it('needs fewer than 15 lines of YAML for a processor', () => {
    const yaml = blocks.filter(({ language, title }) => language === 'yaml' && title !== undefined)
    expect(yaml).to.have.length(1)
    expect(yaml[0]?.text.trimEnd().split('\n')).to.have.length.below(15)
  })

  it('works as it stands: first on try, then on run', () => {
    const said = new Map<string, string>()
    for (const { language, title, run: runnable, text } of blocks) {
      if (title !== undefined) write(path.join(cwd, title), text)
      else if (language === 'sh' && runnable) said.set(text.trim(), run(text))
    }
    const output = (start: string): string => [...said].find(([text]) => text.startsWith(start))?.[1] ?? ''
    expect(output('orbweaver try')).to.contain('complete').and.to.contain('fov.tsv')
    expect(output('orbweaver run\norbweaver status')).to.match(/complete\s.*fov/)
    expect([...said.values()].join('\n')).to.match(/nothing to do/i)
    expect(said.size).to.be.greaterThan(8)
  })
})
