/** `/xapi/custom-fields/.../fields`: values of the newer kind of custom variable, a flat JSON object an item. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, json, type Reply } from '../http/reply.js'
import { parseAddress } from './address.js'
import { findOne } from './find.js'
import type { Site } from './site.js'

export async function customFieldsHandler(
  site: Site,
  exchange: Exchange,
  segments: readonly string[],
): Promise<Reply> {
  exchange.route = 'xapi/custom-fields'
  const at = segments.lastIndexOf('fields')
  const address = at < 0 ? undefined : parseAddress(segments.slice(0, at))
  if (address === undefined || address.rest.length > 0) throw new HttpError(404, '', 'xapi')
  const name = segments[at + 1]
  const changing = exchange.method === 'PUT' || exchange.method === 'DELETE'
  const item = findOne(site, exchange, address, changing ? 'edit' : 'read')
  const setting = `custom-fields/${item.key}`
  const values = JSON.parse(site.archive.settings.get(setting) ?? '{}') as Record<string, unknown>
  if (exchange.method === 'PUT' && name === undefined) {
    let given: unknown
    try {
      given = JSON.parse(await exchange.bodyText())
    } catch {
      throw new HttpError(400, 'The body is no JSON.', 'xapi')
    }
    if (typeof given !== 'object' || given === null || Array.isArray(given))
      throw new HttpError(400, 'The body is no JSON object.', 'xapi')
    Object.assign(values, given)
  } else if (name !== undefined && !Object.hasOwn(values, name)) throw new HttpError(404, '', 'xapi')
  else if (exchange.method === 'DELETE' && name !== undefined) delete values[name]
  else if (exchange.method !== 'GET') throw new HttpError(405, '', 'xapi')
  if (changing) {
    site.archive.record({ o: 'setting', n: setting, v: JSON.stringify(values) })
    await site.archive.flush()
  }
  return json(name === undefined || exchange.method === 'DELETE' ? values : { [name]: values[name] })
}
