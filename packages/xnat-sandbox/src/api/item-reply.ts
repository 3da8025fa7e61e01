import type { Exchange } from '../http/exchange.js'
import { HttpError, html, type Reply } from '../http/reply.js'
import { escapeXml } from '../model/xml.js'
import type { ItemRecord } from '../state/records.js'
import { documentJson, documentXml } from './documents.js'
import type { Site } from './site.js'

/** One item in the form that was asked for. Without `format` it is a page, whatever a script would rather have. */
export function itemReply(site: Site, exchange: Exchange, item: ItemRecord | undefined): Reply {
  if (item === undefined) throw new HttpError(404, 'Unable to find the specified item.')
  const format = exchange.format ?? exchange.accepts(['html', 'xml'])
  switch (format) {
    case 'json':
      return {
        status: 200,
        headers: { 'Content-Type': 'application/json;charset=UTF-8' },
        body: JSON.stringify({ items: [documentJson(site, item)] }),
      }
    case 'xml':
      return {
        status: 200,
        headers: { 'Content-Type': 'text/xml;charset=UTF-8' },
        body: documentXml(site, item, exchange.query.flag('concealHiddenFields')),
      }
    default:
      exchange.note = 'a page, because neither format=json nor format=xml was asked for'
      return html(
        `<!DOCTYPE html>\n<html><head><title>${escapeXml(item.label)}</title></head><body><h1>${escapeXml(item.type)}</h1>` +
          `<p>${escapeXml(item.label)} (${escapeXml(item.id)})</p></body></html>\n`,
      )
  }
}
