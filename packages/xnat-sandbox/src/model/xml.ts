/** XML in and out. Documents with a DOCTYPE are refused: no entity is ever resolved. */

import { SaxesParser } from 'saxes'
import type { Element } from './element.js'

export const XSI = 'http://www.w3.org/2001/XMLSchema-instance'

export class XmlError extends Error {}

/** An element as read, with its namespace. */
export interface XmlElement extends Element {
  namespace: string
}

/** @throws XmlError not well-formed */
export function parseXml(text: string): XmlElement {
  const parser = new SaxesParser({ xmlns: true })
  const stack: XmlElement[] = []
  let root: XmlElement | undefined
  parser.on('error', (error) => {
    throw new XmlError(error.message)
  })
  parser.on('doctype', () => {
    throw new XmlError('DOCTYPE is disallowed')
  })
  parser.on('opentag', (tag) => {
    const element: XmlElement = { name: tag.local, namespace: tag.uri }
    for (const attribute of Object.values(tag.attributes)) {
      if (attribute.prefix === 'xmlns' || attribute.name === 'xmlns') continue
      if (attribute.uri === XSI) {
        if (attribute.local === 'type') element.type = attribute.value
      } else (element.attributes ??= {})[attribute.local] = attribute.value
    }
    const parent = stack.at(-1)
    if (parent === undefined) root = element
    else (parent.children ??= []).push(element)
    stack.push(element)
  })
  const onText = (piece: string): void => {
    const element = stack.at(-1)
    if (element !== undefined) element.text = (element.text ?? '') + piece
  }
  parser.on('text', onText)
  parser.on('cdata', onText)
  parser.on('closetag', () => {
    const element = stack.pop()
    if (element?.text === undefined) return
    const trimmed = element.text.trim()
    if (trimmed === '') delete element.text
    else element.text = trimmed
  })
  parser.write(text.replace(/^\s+(?=<\?xml)/, '')).close()
  if (root === undefined) throw new XmlError('no root element')
  return root
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

/** What XML cannot hold. */
// eslint-disable-next-line no-control-regex -- these are the characters meant
const UNFIT = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g

/** For text, attribute values and HTML. Characters that XML cannot hold become `?`. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ENTITIES[c] ?? c).replace(UNFIT, '?')
}
