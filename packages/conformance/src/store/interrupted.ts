import { expect } from 'chai'
import { NotFoundError, type FileSource, type ResourceRef } from '@orbweaver/core'
import { claim, type Chapter } from '../claims.js'
import { rejection } from '../rejection.js'
import {
  MemorySink,
  breakingSource,
  bytesOf,
  sourceOf,
  streamOf,
  type Content,
  type StoreContext,
} from './context.js'

const first = Buffer.alloc(20_000, 'first ')
const second = Buffer.alloc(30_000, 'second ')
const third = Buffer.alloc(10_000, 'third ')
const content = { '1.dat': first, '2.dat': second, '3.dat': third }

async function resultOf(lab: StoreContext): Promise<ResourceRef> {
  await lab.seedTree()
  await lab.make()
  return { node: lab.assessor, resource: 'DATA' }
}

/** Every file that is listed is, byte for byte, one of these versions. */
async function onlyWhole(lab: StoreContext, ref: ResourceRef, versions: readonly Content[]): Promise<void> {
  let seen: Readonly<Record<string, Buffer>>
  try {
    seen = await lab.fetch(ref)
  } catch (error) {
    expect(error).to.be.instanceOf(NotFoundError) // not even the resource is there
    return
  }
  for (const [path, data] of Object.entries(seen)) {
    const whole = versions.some(
      (version) => version[path] !== undefined && data.equals(Buffer.from(version[path])),
    )
    expect(whole, `${path} is half written: ${data.length} bytes`).to.equal(true)
  }
}

export const interrupted: Chapter<StoreContext> = {
  port: 'store',
  title: 'S5 interrupted transfers',
  claims: [
    claim(
      'S5.1',
      'when the source breaks, the upload fails with its error and nobody sees half a file',
      async (lab) => {
        const ref = await resultOf(lab)
        const broken = new Error('the cable was pulled')
        const error = await rejection(lab.store.upload(ref, breakingSource(content, '2.dat', 15_000, broken)))
        expect(
          error === broken || error.cause === broken || /cable/.test(error.message),
          error.message,
        ).to.equal(true)
        await onlyWhole(lab, ref, [content])
      },
    ),

    claim('S5.2', 'the same upload done again comes to its end, and the resource is exact', async (lab) => {
      const ref = await resultOf(lab)
      await rejection(lab.store.upload(ref, breakingSource(content, '3.dat', 1, new Error('broken'))))
      await lab.send(ref, content)
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
    }),

    claim(
      'S5.3',
      'an upload goes on where it stopped: files that came through are not sent again',
      async (lab) => {
        const ref = await resultOf(lab)
        await rejection(
          lab.store.upload(ref, inOrder(breakingSource(content, '3.dat', 1, new Error('broken')))),
        )
        const { sentBytes } = await lab.send(ref, content, { source: inOrder(sourceOf(content)) })
        expect(sentBytes).to.be.below(first.length + second.length + third.length)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
      },
      (lab) => lab.comparesContent,
    ),

    claim(
      'S5.4',
      'when a replacement is interrupted, every file seen is the old or the new one, whole',
      async (lab) => {
        const ref = await resultOf(lab)
        const old = { '1.dat': 'old 1', '2.dat': 'old 2', 'gone.dat': 'old' }
        await lab.send(ref, old)
        await rejection(lab.store.upload(ref, breakingSource(content, '2.dat', 29_999, new Error('broken'))))
        await onlyWhole(lab, ref, [old, content])
        await lab.send(ref, content)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
      },
    ),

    claim(
      'S5.5',
      "an abort in the middle of an upload rejects with the signal's reason; done again it works",
      async (lab) => {
        const ref = await resultOf(lab)
        const controller = new AbortController()
        const reason = new Error('enough')
        const source: FileSource = {
          ...sourceOf(content),
          open: async (path) => {
            if (path === '2.dat') controller.abort(reason)
            return streamOf(content[path as keyof typeof content])
          },
        }
        const upload = lab.store.upload(ref, source, { signal: controller.signal })
        expect(await rejection(upload)).to.equal(reason)
        await onlyWhole(lab, ref, [content])
        await lab.send(ref, content)
        expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
      },
    ),

    claim('S5.6', 'a sink that fails makes the download fail, and a later download works', async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, content)
      const full = new Error('the disk is full')
      const sink = {
        async write(path: string, stream: NodeJS.ReadableStream): Promise<void> {
          if (path !== '2.dat') for await (const _chunk of stream);
          else throw full
        },
      }
      const listed = await lab.store.listFiles(ref)
      expect(await rejection(lab.store.download(ref, listed, sink))).to.equal(full)
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
    }),

    claim('S5.7', "an abort in the middle of a download rejects with the signal's reason", async (lab) => {
      const ref = await resultOf(lab)
      await lab.send(ref, content)
      const controller = new AbortController()
      const reason = new Error('enough')
      class AbortingSink extends MemorySink {
        override async write(path: string, stream: Parameters<MemorySink['write']>[1]): Promise<void> {
          controller.abort(reason)
          await super.write(path, stream)
        }
      }
      const listed = await lab.store.listFiles(ref)
      const download = lab.store.download(ref, listed, new AbortingSink(), { signal: controller.signal })
      expect(await rejection(download)).to.equal(reason)
      expect(await lab.fetch(ref)).to.deep.equal(bytesOf(content))
    }),
  ],
}

/** The file that breaks comes last, so that the others have come through by then, however many are sent at once. */
function inOrder(source: FileSource): FileSource {
  const files = [...source.files].sort((a, b) => (a.path < b.path ? -1 : 1))
  let open = 0
  const idle: (() => void)[] = []
  return {
    files,
    open: async (path, options) => {
      if (path === files.at(-1)?.path)
        while (open > 0) await new Promise<void>((resolve) => idle.push(resolve))
      open++
      const stream = await source.open(path, options)
      stream.once('close', () => {
        open--
        for (const wake of idle.splice(0)) wake()
      })
      return stream
    },
  }
}
