import { expect } from 'chai'
import fc from 'fast-check'
import { PLACEHOLDERS, parseCommand } from '#src/domain/command-template.js'
import type { CommandItem, TemplateNames } from '#src/domain/command-template.js'
import type { CommandContext, InputValue } from '#src/domain/processor.js'

const names: TemplateNames = {
  inputs: new Map([
    ['bold', { all: false, optional: false }],
    ['t1', { all: false, optional: true }],
    ['runs', { all: true, optional: false }],
    ['maps', { all: true, optional: true }],
  ]),
  params: new Map([
    ['fd', { list: false, optional: false }],
    ['verbose', { list: false, optional: false }],
    ['atlas', { list: false, optional: true }],
    ['tags', { list: true, optional: false }],
  ]),
}

const absent: InputValue = { path: '', paths: [], dir: '', present: false }
const value = (...paths: string[]): InputValue => ({
  path: paths[0] ?? '',
  paths,
  dir: '/in/dir',
  present: true,
})

function context(
  change: {
    inputs?: Record<string, InputValue>
    params?: Record<string, unknown>
  } = {},
): CommandContext {
  return {
    inputs: {
      bold: value('/in/b.nii'),
      t1: absent,
      runs: value('/r1', '/r2'),
      maps: absent,
      ...change.inputs,
    },
    params: { fd: 0.5, verbose: false, tags: ['a', 'b c'], ...change.params },
    workspace: { root: '/w', inputs: '/w/inputs', outputs: '/w/outputs', tmp: '/w/tmp' },
    requirements: { cpus: 4, gpus: 1, memoryBytes: 6.5 * 1024 ** 3, walltimeSeconds: 7200, scratchBytes: 0 },
    task: { label: 'P-x-L', ref: { project: 'P' }, procType: 'p_v1', target: { project: 'P' }, inputs: [] },
  }
}

function run(items: readonly CommandItem[], change?: Parameters<typeof context>[0]): readonly string[] {
  const result = parseCommand(items, names)
  if (!result.ok)
    throw new Error(
      result.problems.map((problem) => `${problem.path.join('.')}: ${problem.message}`).join('\n'),
    )
  return result.command(context(change))
}

describe('command templates', () => {
  const cases: readonly [
    string,
    readonly CommandItem[],
    readonly string[],
    Parameters<typeof context>[0]?,
  ][] = [
    ['words stay as they are', ['tool', '', 'a b', '$(x)'], ['tool', '', 'a b', '$(x)']],
    ['an input is its path', ['tool', '{inputs.bold}'], ['tool', '/in/b.nii']],
    ['also inside a word', ['tool', '--in={inputs.bold}:ro'], ['tool', '--in=/in/b.nii:ro']],
    ['its folder', ['tool', '{inputs.bold.dir}'], ['tool', '/in/dir']],
    ['an all input is several words', ['tool', '{inputs.runs}', 'end'], ['tool', '/r1', '/r2', 'end']],
    ['an absent optional input is no word', ['tool', '{inputs.t1}', 'end'], ['tool', 'end']],
    ['nor is a word with one in it', ['tool', '--t1={inputs.t1}', 'end'], ['tool', 'end']],
    ['a group goes with its absent input', ['tool', ['--t1', '{inputs.t1}'], 'end'], ['tool', 'end']],
    [
      'and stays with a present one',
      ['tool', ['--t1', '{inputs.t1}']],
      ['tool', '--t1', '/t'],
      { inputs: { t1: value('/t') } },
    ],
    [
      'a group with several paths',
      ['tool', ['--maps', '{inputs.maps}']],
      ['tool', '--maps', '/a', '/b'],
      { inputs: { maps: value('/a', '/b') } },
    ],
    [
      'a condition yields nothing itself',
      ['tool', ['{?inputs.t1}', '--has-t1']],
      ['tool', '--has-t1'],
      { inputs: { t1: value('/t') } },
    ],
    ['a condition on false is unmet', ['tool', ['{?params.verbose}', '-v']], ['tool']],
    [
      'a condition on true is met',
      ['tool', ['{?params.verbose}', '-v']],
      ['tool', '-v'],
      { params: { verbose: true } },
    ],
    [
      'a condition on 0 is met: 0 is a value',
      ['tool', ['{?params.fd}', '--fd', '{params.fd}']],
      ['tool', '--fd', '0'],
      { params: { fd: 0 } },
    ],
    [
      'a condition on an empty list is unmet',
      ['tool', ['{?params.tags}', '--tags', '{params.tags}']],
      ['tool'],
      { params: { tags: [] } },
    ],
    ['an absent parameter takes its group along', ['tool', ['--atlas', '{params.atlas}']], ['tool']],
    ['parameters are text', ['tool', '{params.fd}', '{params.verbose}'], ['tool', '0.5', 'false']],
    ['a list parameter is several words', ['tool', '{params.tags}'], ['tool', 'a', 'b c']],
    [
      'folders',
      ['tool', '{outputs}', '{inputs}', '{tmp}', '{workspace}'],
      ['tool', '/w/outputs', '/w/inputs', '/w/tmp', '/w'],
    ],
    [
      'amounts, never rounded up',
      ['tool', '{cpus}', '{gpus}', '{memory_mb}', '{memory_gb}', '{walltime_seconds}'],
      ['tool', '4', '1', '6656', '6', '7200'],
    ],
    ['the label', ['tool', '{label}'], ['tool', 'P-x-L']],
    ['doubled braces are braces', ['tool', '{{"a": {{{cpus}}}}}'], ['tool', '{"a": {4}}']],
    ['blanks in placeholders do not matter', ['tool', '{ inputs.bold }'], ['tool', '/in/b.nii']],
  ]
  for (const [what, items, expected, change] of cases) {
    it(what, () => expect(run(items, change)).to.deep.equal(expected))
  }

  const bad: readonly [string, readonly CommandItem[], string, RegExp, RegExp?][] = [
    ['an unknown input', ['t', '{inputs.bald}'], 'command.1', /no input "bald"/, /did you mean "bold"/],
    ['an unknown parameter', ['t', '{params.fdd}'], 'command.1', /no parameter "fdd"/, /did you mean "fd"/],
    ['an unknown word', ['t', '{output}'], 'command.1', /no placeholder/, /did you mean "outputs"/],
    ['an input without its scope', ['t', '{bold}'], 'command.1', /no placeholder/, /inputs\.bold/],
    ['JSON without doubled braces', ['t', '{"a": 1}'], 'command.1', /no placeholder/, /\{\{ and \}\}/],
    ['an unknown member', ['t', '{inputs.bold.name}'], 'command.1', /an input has no "name"/, /\.dir/],
    ['a member of a parameter', ['t', '{params.fd.x}'], 'command.1', /no placeholder/],
    ['an open brace', ['t', 'a{b'], 'command.1', /character 2 has no "}"/, /\{\{/],
    ['a closing brace alone', ['t', 'a}b'], 'command.1', /character 2 has no "\{"/, /\}\}/],
    ['an all input inside a word', ['t', '--in={inputs.runs}'], 'command.1', /word of its own/, /--flag/],
    ['a list parameter inside a word', ['t', '--in={params.tags}'], 'command.1', /word of its own/],
    ['a condition outside a group', ['t', '{?params.fd}'], 'command.1', /outside an inner list/],
    ['a condition inside a word', ['t', ['x{?params.fd}']], 'command.1.0', /word of its own/],
    ['a condition on a word that is none', ['t', ['{?cpus}', 'x']], 'command.1.0', /no condition/],
    ['a condition on what is always there', ['t', ['{?inputs.bold}', 'x']], 'command.1.0', /always there/],
    ['a group that is always there', ['t', ['--in', '{inputs.bold}']], 'command.1', /always stand/],
    ['an empty group', ['t', []], 'command.1', /empty list/],
    ['an empty command', [], 'command', /empty list/, /program/],
    ['an empty program', ['', 'x'], 'command.0', /empty/],
    ['an optional program', [['{?params.verbose}', 'x']], 'command.0', /program to run cannot be optional/],
    ['a NUL character', ['t', 'a\0'], 'command.1', /NUL/],
    ['a problem inside a group', ['t', ['{inputs.t1}', '{nope}']], 'command.1.1', /no placeholder/],
  ]
  for (const [what, items, path, message, hint] of bad) {
    it(`refuses ${what}`, () => {
      const result = parseCommand(items, names)
      if (result.ok) throw new Error('it was accepted')
      const [problem] = result.problems
      expect(problem?.path.join('.')).to.equal(path)
      expect(problem?.message).to.match(message)
      if (hint !== undefined) expect(problem?.hint).to.match(hint)
    })
  }

  it('reports every problem, not only the first', () => {
    const result = parseCommand(['t', '{a} {b}', ['{c}']], names)
    expect(result.ok ? 0 : result.problems.length).to.be.at.least(3)
  })

  it('gives any text back when its braces are doubled', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (text.includes('\0')) return
        const escaped = text.replaceAll('{', '{{').replaceAll('}', '}}')
        expect(run(['tool', escaped])).to.deep.equal(['tool', text])
      }),
    )
  })

  it('never puts the value of an input through the template again', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (path) => {
        expect(run(['tool', '-i={inputs.bold}'], { inputs: { bold: value(path) } })).to.deep.equal([
          'tool',
          `-i=${path}`,
        ])
      }),
    )
  })

  it('every documented placeholder is one', () => {
    for (const word of Object.keys(PLACEHOLDERS)) {
      const shown = word.replace('inputs.NAME', 'inputs.bold').replace('params.NAME', 'params.fd')
      expect(run(['tool', `{${shown}}`]), word).to.have.length(2)
    }
  })
})
