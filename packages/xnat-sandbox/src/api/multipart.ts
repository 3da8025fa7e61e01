/** `multipart/form-data`, streamed. */

import type { Readable } from 'node:stream'
import busboy from 'busboy'
import type { Exchange } from '../http/exchange.js'
import { HttpError } from '../http/reply.js'

/**
 * Give every file part to `onFile`, one after the other.
 *
 * @returns the other fields
 * @throws what `onFile` throws; HttpError 400 for a body that is no multipart form
 */
export async function readParts(
  exchange: Exchange,
  onFile: (filename: string, content: Readable, mimeType: string) => Promise<void>,
): Promise<readonly (readonly [string, string])[]> {
  let parser: busboy.Busboy
  try {
    parser = busboy({ headers: exchange.request.headers, preservePath: true, defParamCharset: 'utf8' })
  } catch (error) {
    throw new HttpError(400, error instanceof Error ? error.message : 'Not a multipart form.')
  }
  const fields: [string, string][] = []
  let chain = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown): void => {
      exchange.request.unpipe(parser)
      reject(error instanceof Error ? error : new Error(String(error)))
    }
    parser.on('field', (name, value) => fields.push([name, value]))
    parser.on('file', (_name, content, { filename, mimeType }) => {
      // A part breaks off with the request; whoever reads it then is told by the request's own error.
      content.on('error', fail)
      chain = chain.then(() => onFile(filename ?? '', content, mimeType))
      chain.catch(fail)
    })
    parser.on('close', () => void chain.then(resolve, fail))
    parser.on('error', () => fail(new HttpError(400, 'The multipart form breaks off.')))
    exchange.request.on('error', fail)
    exchange.request.on('aborted', () => fail(new Error('the client went away')))
    exchange.request.pipe(parser)
  })
  return fields
}

/** Text of the first file part; undefined: there is none. */
export async function firstFilePart(exchange: Exchange): Promise<string | undefined> {
  let text: string | undefined
  await readParts(exchange, async (_filename, content) => {
    const pieces: Buffer[] = []
    for await (const piece of content as AsyncIterable<Buffer>) pieces.push(piece)
    text ??= Buffer.concat(pieces).toString('utf8')
  })
  return text
}
