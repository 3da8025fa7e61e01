import { expect } from 'chai'
import { InputError, NotFoundError, type ArchiveRef } from '@orbweaver/core'
import { seedScan } from '@orbweaver/core/testing'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import { MemorySink, bytesOf, entryOf, sourceOf, streamOf, type StoreContext } from './context.js'

const BAD_LABELS: readonly string[] = [
  '',
  '..',
  '.hidden',
  '-rf',
  'a/b',
  'a\\b',
  'a;b',
  '$(touch x)',
  '`x`',
  'a"b',
  'a\nb',
  'a\u0000b',
  'a\u200bb',
  ' blank',
  'blank ',
  'x'.repeat(300),
]

const FILE_NAMES: readonly string[] = [
  'two words.txt',
  ' leading and trailing ',
  "it's.txt",
  'say "hi".txt',
  '$(touch pwned).txt',
  'a;b&c|d.txt',
  '*.t?t',
  '-rf',
  '--help',
  '.hidden',
  '%41%2F..%2F.txt',
  '100%.txt',
  'a#b?c=d&e.txt',
  'a+b c.txt',
  'Ünïcödé 脳 🧠.txt',
  '[brackets](round){curly}.txt',
  '~',
  'a:b.txt',
  '<xml>.txt',
  'UPPER.txt',
  'upper.txt',
  'index.html',
  `${'long'.repeat(50)}.txt`,
  `deep/${'d'.repeat(100)}/${'e'.repeat(100)}/${'f'.repeat(100)}/file name.txt`,
]

const BAD_PATHS: readonly string[] = [
  '',
  '../escape.txt',
  'a/../../escape.txt',
  '/etc/escape.txt',
  './a.txt',
  'a//b.txt',
  'a/',
  'a\\b.txt',
  'a\nb.txt',
  'a\u0000b.txt',
  'x'.repeat(1001),
]

export const awkward: Chapter<StoreContext> = {
  port: 'store',
  title: 'S6 awkward labels and names',
  claims: [
    claim(
      'S6.1',
      'labels that are allowed come back exactly, as subject, session, scan type, assessor and resource',
      async (lab) => {
        const labels = [...lab.awkwardLabels].sort()
        const blank = lab.plainLabelsOnly ? '_' : ' '
        await lab.seed({
          label: lab.project,
          subjects: labels.map((label) => ({
            label,
            sessions: [{ label: `${label}${blank}E`, scans: [seedScan('1', `${label} <type>`)] }],
          })),
        })
        for (const label of labels) {
          const ref = {
            project: lab.project,
            subject: label,
            session: `${label}${blank}E`,
            assessor: `${label}${blank}R`,
          }
          await lab.make(ref, { target: ref })
          await lab.send({ node: ref, resource: label }, { 'a.txt': label })
          expect((await lab.store.readAssessor(ref)).node.label).to.equal(ref.assessor)
          expect(await lab.fetch({ node: ref, resource: label })).to.deep.equal(bytesOf({ 'a.txt': label }))
        }
        const { subjects } = await lab.tree()
        expect(
          subjects.map(({ label, sessions: [session] }) => [
            label,
            session?.label,
            session?.scans[0]?.type,
            session?.assessors[0]?.label,
            session?.assessors[0]?.resources[0]?.label,
          ]),
        ).to.deep.equal(
          labels.map((label) => [label, `${label}${blank}E`, `${label} <type>`, `${label}${blank}R`, label]),
        )
      },
    ),

    claim('S6.2', 'labels that are alike are not the same', async (lab) => {
      await lab.seedTree()
      const labels = lab.plainLabelsOnly
        ? ['a_b', 'a-b', 'a--b', 'ab']
        : ['a b', 'a+b', 'a%20b', 'a_b'].filter(
            (label) => !label.includes('%') || lab.awkwardLabels.some((known) => known.includes('%')),
          )
      for (const label of labels) await lab.make({ ...lab.session, assessor: label })
      expect((await lab.assessorsOf('S01_A')).map(({ label }) => label).sort()).to.deep.equal(
        [...labels].sort(),
      )
    }),

    claim('S6.3', 'file names that are allowed come back exactly, with their content', async (lab) => {
      await lab.seedTree()
      await lab.make()
      const ref = { node: lab.assessor, resource: 'DATA' }
      const content = Object.fromEntries(FILE_NAMES.map((name) => [name, `content of ${name}`]))
      await lab.send(ref, content)
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
    }),

    claim(
      'S6.4',
      'labels that cannot be used are refused by name before anything is changed',
      async (lab) => {
        await lab.seedTree()
        await lab.make()
        const before = await lab.tree()
        const parts = ['project', 'subject', 'session', 'assessor'] as const
        for (const bad of BAD_LABELS) {
          for (const part of parts) {
            const ref: ArchiveRef = { ...lab.assessor, [part]: bad }
            const error = await rejection(lab.store.createAssessor(ref, lab.init()))
            expect(error, `${part} ${JSON.stringify(bad)}`).to.be.instanceOf(InputError)
            for (const hidden of ['\n', '\u0000', '\u200b']) expect(error.message).to.not.include(hidden)
          }
          const resource = { node: lab.assessor, resource: bad }
          const calls: readonly (() => Promise<unknown>)[] = [
            () => lab.store.upload(resource, sourceOf({ 'a.txt': 'a' })),
            () => lab.store.listFiles(resource),
            () => lab.store.snapshot(bad),
            () => lab.store.readAssessor({ ...lab.session, assessor: bad }),
            () => lab.store.updateAssessor({ ...lab.session, assessor: bad }, {}, '1'),
            () => lab.store.deleteAssessor({ ...lab.session, assessor: bad }),
          ]
          for (const [index, call] of calls.entries()) {
            expect(await rejection(call()), `call ${index} ${JSON.stringify(bad)}`).to.be.instanceOf(
              InputError,
            )
          }
        }
        expect(await lab.tree()).to.deep.equal(before)
      },
    ),

    claim(
      'S6.5',
      'file paths that would leave the resource are refused before anything is changed',
      async (lab) => {
        await lab.seedTree()
        await lab.make()
        const ref = { node: lab.assessor, resource: 'DATA' }
        const content = { 'a.txt': 'a' }
        await lab.send(ref, content)
        for (const bad of BAD_PATHS) {
          const source = {
            files: [entryOf('good.txt', 'x'), entryOf(bad, 'x')],
            open: async () => streamOf('x'),
          }
          const error = await rejection(lab.store.upload(ref, source))
          expect(error, JSON.stringify(bad)).to.be.instanceOf(InputError)
          expect(await lab.fetch(ref), JSON.stringify(bad)).to.deep.equal(bytesOf(content))
        }
      },
    ),

    claim('S6.6', 'a source that names a path twice, or as file and folder, is refused', async (lab) => {
      await lab.seedTree()
      await lab.make()
      const ref = { node: lab.assessor, resource: 'DATA' }
      for (const paths of [
        ['a.txt', 'a.txt'],
        ['a', 'a/b.txt'],
      ]) {
        const source = { files: paths.map((path) => entryOf(path, 'x')), open: async () => streamOf('x') }
        expect(await rejection(lab.store.upload(ref, source)), paths.join(', ')).to.be.instanceOf(InputError)
      }
    }),

    claim('S6.7', 'a download of a path that would leave the resource brings nothing', async (lab) => {
      await lab.seedTree()
      const ref = { node: { ...lab.session, scan: '1' }, resource: 'NIFTI' }
      for (const bad of BAD_PATHS) {
        const sink = new MemorySink()
        const error = await rejection(lab.store.download(ref, [entryOf(bad, 't1 image\n')], sink))
        expect(error instanceof InputError || error instanceof NotFoundError, JSON.stringify(bad)).to.equal(
          true,
        )
        expect(sink.files.size, JSON.stringify(bad)).to.equal(0)
      }
    }),
  ],
}
