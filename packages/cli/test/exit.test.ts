import { expect } from 'chai'
import pc from 'picocolors'
import {
  BackendUnavailableError,
  ConfigError,
  ConflictError,
  InputError,
  LeaseHeldError,
  NoSpaceError,
  StoreUnavailableError,
} from '@orbweaver/core'
import { NoMatchError, UsageError, errorFields, exitCodeOf, renderError, shortPath } from '#src/exit.js'

const VIEW = { paint: pc.createColors(false), width: 80, verbose: false, directory: '/home/me/site' }
const systemError = (code: string, path: string): Error =>
  Object.assign(new Error(`${code}: ${path}`), { code, path })

describe('exit codes', () => {
  const cases: readonly (readonly [unknown, number])[] = [
    [new UsageError('x'), 2],
    [new ConfigError([{ file: 'f', path: '', message: 'm' }]), 2],
    [new NoMatchError('x'), 1],
    [new InputError('x'), 1],
    [new ConflictError('x'), 1],
    [new LeaseHeldError('x'), 75],
    [new NoSpaceError('x'), 75],
    [new StoreUnavailableError('x'), 75],
    [new BackendUnavailableError('x'), 75],
    [systemError('ENOSPC', '/scratch'), 75],
    [systemError('EACCES', '/scratch'), 1],
    [new DOMException('stop', 'AbortError'), 130],
    [new Error('bug'), 1],
    ['a string', 1],
  ]
  for (const [error, code] of cases) {
    it(`${error instanceof Error ? `${error.name} ${error.message}` : String(error)} → ${code}`, () => {
      expect(exitCodeOf(error)).to.equal(code)
    })
  }
})

describe('errors on the screen', () => {
  it('say what failed, whether it lasts, and what to do', () => {
    const error = new LeaseHeldError('Another engine serves project P (run, host a, pid 7).', {
      hint: 'Wait with --wait.',
    })
    expect(renderError(error, VIEW)).to.equal(
      'Error: Another engine serves project P (run, host a, pid 7).\n' +
        '  This may pass by itself: the same command can work later.\n' +
        '  Wait with --wait.\n' +
        '  [LEASE_HELD]\n',
    )
  })

  it('list every problem of a file, with a path one can click', () => {
    const error = new ConfigError([
      {
        file: '/home/me/site/orbweaver.yaml',
        line: 3,
        column: 5,
        path: 'store.use',
        message: 'is no archive',
        hint: 'folder',
      },
      { file: '/elsewhere/p.yaml', line: 1, column: 1, path: '', message: 'is empty' },
    ])
    expect(renderError(error, VIEW)).to.equal(
      'error orbweaver.yaml:3:5: store.use: is no archive (folder)\nerror /elsewhere/p.yaml:1:1: is empty\n2 problems.\n',
    )
  })

  it('show no stack unless asked', () => {
    const error = new Error('bug', { cause: new Error('deeper') })
    expect(renderError(error, VIEW)).not.to.match(/ at .*exit\.test/)
    expect(renderError(error, { ...VIEW, verbose: true })).to.match(/ at .*exit\.test[^]*deeper/)
  })

  it('explain errors of the operating system', () => {
    expect(renderError(systemError('EACCES', '/scratch/x'), VIEW)).to.equal(
      'Error: No permission: /scratch/x\n  Check the owner and mode of this path.\n  [ACCESS_DENIED]\n',
    )
  })

  it('have the same fields in --json', () => {
    expect(errorFields(new LeaseHeldError('m', { details: { pid: 7 }, hint: 'h' }))).to.deep.equal({
      code: 'LEASE_HELD',
      message: 'm',
      retryable: true,
      hint: 'h',
      details: { pid: 7 },
    })
  })

  it('understand errors of another copy of core', () => {
    const foreign = Object.assign(new Error('gone'), {
      code: 'STORE_UNAVAILABLE',
      retryable: true,
      details: {},
    })
    expect(exitCodeOf(foreign)).to.equal(75)
  })

  it('shorten only paths below the current folder', () => {
    expect(shortPath('/home/me/site/a/b', '/home/me/site')).to.equal('a/b')
    expect(shortPath('/home/me/other', '/home/me/site')).to.equal('/home/me/other')
  })
})
