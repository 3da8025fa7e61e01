import { expect } from 'chai'
import { STATUS_VOCABULARIES, TASK_STATES, stateOfStatusWord, statusWordOf } from '@orbweaver/core'

describe('status words', () => {
  it("are DAX's for reports that filter on them", () => {
    expect(TASK_STATES.map((state) => statusWordOf(state))).to.deep.equal([
      'NEED_INPUTS',
      'NEED_INPUTS',
      'NEED_TO_RUN',
      'JOB_RUNNING',
      'JOB_RUNNING',
      'UPLOADING',
      'COMPLETE',
      'JOB_FAILED',
      'JOB_FAILED',
    ])
  })

  it("are the notebook's on demand, with its own word for an empty output folder", () => {
    expect(statusWordOf('complete', 'notebook')).to.equal('BUILD_COMPLETE')
    expect(statusWordOf('failed', 'notebook', 'tool')).to.equal('JOB_ERROR')
    expect(statusWordOf('failed', 'notebook', 'no-output')).to.equal('XVFB_ERROR')
    expect(statusWordOf('failed', 'dax', 'no-output')).to.equal('JOB_FAILED')
  })

  it('lead back to a state with the same word', () => {
    for (const words of STATUS_VOCABULARIES) {
      for (const state of TASK_STATES) {
        const word = statusWordOf(state, words)
        const back = stateOfStatusWord(` ${word.toLowerCase()} `)
        expect(back, word).not.to.equal(undefined)
        expect(back && statusWordOf(back, words)).to.equal(word)
      }
    }
    expect(stateOfStatusWord('SUCCESS')).to.equal('complete')
    expect(stateOfStatusWord('PRE_RUNNING')).to.equal('waiting')
    expect(stateOfStatusWord('Somebody’s own word')).to.equal(undefined)
  })
})
