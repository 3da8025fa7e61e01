import { expect } from 'chai'
import { chmod } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { parseYaml, readYaml, validateDocument } from '#src/config/yaml-document.js'
import { ConfigError } from '#src/errors.js'
import { expectProblem, marked, problemsOf } from './bad-input.js'
import { createFolder } from './folder.js'
import type { Folder } from './folder.js'
import { asNobody } from '../support/as-nobody.js'

const parse = (text: string) => parseYaml(text, '/x/site.yaml')

describe('YAML documents', () => {
  it('are read as 1.2: no is text, 010 is ten, 1:30:00 and dates are text', () => {
    expect(parse('a: no\nb: 010\nc: 1:30:00\nd: 2024-01-02\ne: 0o10\nf: ~\ng: yes').data).to.deep.equal({
      a: 'no',
      b: 10,
      c: '1:30:00',
      d: '2024-01-02',
      e: 8,
      f: null,
      g: 'yes',
    })
  })

  it('may use anchors, and places of values behind them are found', () => {
    const document = parse('base: &b { x: 1 }\ncopy: *b\n')
    expect(document.data).to.deep.equal({ base: { x: 1 }, copy: { x: 1 } })
    expect(document.place(['copy', 'x'])).to.deep.equal({ line: 1, column: 15 })
  })

  it('know the text of a scalar as it was written', () => {
    const document = parse('version: 2.0\nlist: [010, "x"]\n')
    expect(document.textAt(['version'])).to.equal('2.0')
    expect(document.textAt(['list', 0])).to.equal('010')
    expect(document.textAt(['list'])).to.equal(undefined)
    expect(document.textAt(['list', 7])).to.equal(undefined)
    expect(document.textAt(['no', 'such'])).to.equal(undefined)
  })

  const bad: readonly [string, string, RegExp, RegExp?][] = [
    ['a key twice', 'a: 1\n➤a: 2\n', /twice/, /keep one/],
    ['a key twice, deep down', 'm:\n  a: 1\n  b: 2\n  ➤a: 3\n', /twice/],
    ['a tab as indent', 'a:\n➤\tb: 1\n', /tab/, /blanks/],
    ['an open bracket', 'a: [1, 2\n➤', /./],
    ['an open quote', 'a: "x\n➤', /./],
    ['a tag of its own', 'a: ➤!!js/function "x"\n', /tag/, /drop it/],
    ['another tag', 'a: ➤!lab x\n', /tag/],
    ['an alias without anchor', 'a: ➤*nothing\n', /nothing/, /quotes/],
    ['a list as key', '? ➤[a]\n: 1\n', /plain text/, /quotes/],
    ['two documents', 'a: 1\n➤---\nb: 2\n', /several documents/],
    ['nothing', '➤', /empty/],
    ['only remarks', '➤# nothing here\n', /empty/],
    ['the key __proto__', 'a: { ➤__proto__: { x: 1 } }\n', /__proto__/],
    ['YAML 1.1', '➤%YAML 1.1\n---\na: no\n', /1\.1/],
    ['an alias in a circle', 'a: &a [➤*a]\n', /part of/, /write the value out/],
  ]
  for (const [what, written, message, hint] of bad) {
    it(`refuse ${what}`, async () => {
      const { text, at } = marked(written)
      const problems = await problemsOf(Promise.resolve().then(() => parse(text)))
      expectProblem(problems, {
        file: 'site.yaml',
        ...(at !== undefined && { at }),
        path: '',
        message,
        ...(hint && { hint }),
      })
    })
  }

  it('refuse a bomb of aliases at once', () => {
    const levels = 'bcdefghij'
      .split('')
      .map((name, index) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[index]}`).join(', ')}]`)
    expect(() => parse(['a: &a [x]', ...levels].join('\n'))).to.throw(ConfigError, /aliases/)
  })
})

describe('reading files', () => {
  let folder: Folder
  beforeEach(async () => (folder = await createFolder()))
  afterEach(() => folder.remove())

  it('refuses what is not there, is a folder, is no text, is too large', async () => {
    expectProblem(await problemsOf(readYaml(join(folder.path, 'no.yaml'))), {
      file: 'no.yaml',
      path: '',
      message: /no such file/,
    })
    expectProblem(await problemsOf(readYaml(folder.path)), { path: '', message: /is a folder/ })
    const binary = await folder.write({ 'b.yaml': Buffer.from([0x61, 0xff, 0xfe]) })
    expectProblem(await problemsOf(readYaml(binary)), { file: 'b.yaml', path: '', message: /UTF-8/ })
    const large = await folder.write({ 'l.yaml': Buffer.alloc(5 * 1024 ** 2, 0x20) })
    expectProblem(await problemsOf(readYaml(large)), { file: 'l.yaml', path: '', message: /larger/ })
  })

  it('refuses what this user may not read', async () => {
    const file = await folder.write({ 'secret.yaml': 'a: 1\n' })
    await chmod(file, 0)
    const problems = await asNobody([dirname(file), file], () => problemsOf(readYaml(file)))
    expectProblem(problems, {
      path: '',
      message: /may not be read/,
      hint: /permissions/,
    })
  })

  it('does not mind a byte order mark', async () => {
    const file = await folder.write({ 'bom.yaml': '\ufeffa: 1\n' })
    expect((await readYaml(file)).data).to.deep.equal({ a: 1 })
  })
})

describe('validateDocument', () => {
  const schema = z.strictObject({
    name: z.string().min(1).meta({ description: 'Name of the thing.' }),
    count: z.int().min(1).max(9).optional(),
    on: z.boolean().optional(),
    mode: z.enum(['fast', 'slow']).optional(),
    list: z.array(z.string()).optional(),
    deep: z.strictObject({ host: z.string(), port: z.number().optional() }).optional(),
    either: z.union([z.string(), z.strictObject({ path: z.string() })]).optional(),
    word: z.union([z.literal('all'), z.int()]).optional(),
    code: z
      .string()
      .regex(/^[A-Z]+$/)
      .optional(),
    by: z.record(z.string().regex(/^[a-z]+$/, 'small letters only'), z.number()).optional(),
    kind: z
      .discriminatedUnion('use', [
        z.strictObject({ use: z.literal('ssh'), host: z.string() }),
        z.strictObject({ use: z.literal('local') }),
      ])
      .optional(),
    custom: z
      .string()
      .refine((text) => text !== 'x', 'x is taken; choose another')
      .optional(),
  })
  const check = (text: string) => validateDocument(parse(text), schema)

  it('gives the value when all is well', () => {
    expect(check('name: a\nkind: { use: local }')).to.deep.equal({
      value: { name: 'a', kind: { use: 'local' } },
      problems: [],
    })
  })

  const cases: readonly [string, string, string, RegExp, RegExp?][] = [
    ['a missing key at the document', '➤count: 1\n', 'name', /^is missing$/, /Name of the thing/],
    ['a missing key at its parent', 'name: a\n➤deep:\n  port: 1\n', 'deep.host', /missing/],
    ['an empty value at its key', '➤name:\n', 'name', /text, but is empty/],
    ['an empty text', 'name: ➤""\n', 'name', /^is empty$/],
    ['a number for text', 'name: ➤2.0\n', 'name', /text, but is the number 2\.0/, /quotes: "2\.0"/],
    ['true for text', 'name: ➤true\n', 'name', /text, but is true/, /quotes: "true"/],
    ['a map for text', '➤name: { a: 1 }\n', 'name', /text, but is a map/],
    ['text for a number', 'name: a\ncount: ➤many\n', 'count', /whole number, but is the text "many"/],
    ['a quoted number', 'name: a\ncount: ➤"3"\n', 'count', /whole number/, /without quotes: 3/],
    ['half a number', 'name: a\ncount: ➤1.5\n', 'count', /whole number, but is the number 1\.5/],
    ['too little', 'name: a\ncount: ➤0\n', 'count', /at least 1, but is 0/],
    ['too much', 'name: a\ncount: ➤10\n', 'count', /at most 9, but is 10/],
    ['yes for true', 'name: a\non: ➤yes\n', 'on', /true or false, but is the text "yes"/, /write true/],
    ['off for false', 'name: a\non: ➤off\n', 'on', /true or false/, /write false/],
    ['a word of no list', 'name: a\nmode: ➤fats\n', 'mode', /"fats" is not one/, /"fast".*fast, slow/],
    ['text for a list', 'name: a\nlist: ➤b\n', 'list', /a list, but is the text "b"/, /\[b\]/],
    [
      'a number in a list of texts',
      'name: a\nlist: [b, ➤010]\n',
      'list.1',
      /text, but is the number 010/,
      /"010"/,
    ],
    ['an unknown key', 'name: a\n➤cuont: 1\n', 'cuont', /not known here/, /"count"/],
    ['an unknown key far from all', 'name: a\n➤zzz: 1\n', 'zzz', /not known here/, /^known: name, count/],
    [
      'an unknown key deep down',
      'name: a\ndeep: { host: h, ➤prot: 1 }\n',
      'deep.prot',
      /not known here/,
      /"port"/,
    ],
    ['a merge key', 'name: a\ndeep: { host: h, ➤"<<": 1 }\n', 'deep.<<', /not known here/, /merge keys/],
    ['neither of two forms', 'name: a\neither: ➤3\n', 'either', /text or a map/, /quotes: "3"/],
    [
      'a mistake inside one of two forms',
      'name: a\neither: { ➤pth: x }\n',
      'either.pth',
      /not known/,
      /"path"/,
    ],
    [
      'a word near an allowed one',
      'name: a\nword: ➤al\n',
      'word',
      /"al" cannot stand here/,
      /"all".*a whole number/,
    ],
    ['text of the wrong form', 'name: a\ncode: ➤abc\n', 'code', /does not have the form/],
    ['a key of the wrong form', 'name: a\nby: { ➤A1: 1 }\n', 'by.A1', /small letters only/],
    ['a value below a key', 'name: a\nby: { a: ➤x }\n', 'by.a', /a number/],
    [
      'an unknown alternative',
      'name: a\nkind: { use: ➤shh }\n',
      'kind.use',
      /cannot stand here|not one/,
      /"ssh"/,
    ],
    ['a missing key of an alternative', 'name: a\n➤kind: { use: ssh }\n', 'kind.host', /missing/],
    ['an author’s own sentence', 'name: a\ncustom: ➤x\n', 'custom', /^x is taken$/, /^choose another$/],
    ['a list as document', '➤- a\n', '', /a map of keys and values, but is a list/],
    ['text as document', '➤hello\n', '', /a map of keys and values, but is the text "hello"/],
  ]
  for (const [what, written, path, message, hint] of cases) {
    it(`reports ${what}`, () => {
      const { text, at } = marked(written)
      const { problems } = check(text)
      expectProblem(problems, {
        file: 'site.yaml',
        ...(at !== undefined && { at }),
        path,
        message,
        ...(hint && { hint }),
      })
      const others = problems.filter((problem) => problem.path !== path && problem.message !== 'is missing')
      expect(others).to.deep.equal([])
    })
  }

  it('reports everything at once', () => {
    const { problems } = check('count: 0\non: yes\ndeep: {}\nextra: 1\n')
    expect(problems.map(({ path }) => path)).to.have.members(['name', 'count', 'on', 'deep.host', 'extra'])
  })
})
