/** `/data/workflows`: what was run on an experiment, in XNAT's own words. */

import type { Exchange } from '../http/exchange.js'
import { HttpError, empty, type Reply } from '../http/reply.js'
import { childrenNamed } from '../model/element.js'
import { parseXml } from '../model/xml.js'
import type { WorkflowRecord } from '../state/records.js'
import { javaDate } from './documents.js'
import type { Site } from './site.js'

const REQUIRED = ['id', 'data_type', 'pipeline_name', 'launch_time'] as const
const KEY = ['id', 'pipeline_name', 'launch_time'] as const
const PREFIX = /^wrk:workflowdata\//i

export async function workflowsHandler(
  site: Site,
  exchange: Exchange,
  number: string | undefined,
): Promise<Reply> {
  exchange.route = number === undefined ? 'workflows' : 'workflows/{id}'
  const { archive } = site
  const given = await fieldsOf(exchange)
  const existing = number === undefined ? findByKey(site, given) : archive.workflows.get(Number(number))
  if (number !== undefined && existing === undefined)
    throw new HttpError(404, 'Unable to find the specified workflow.')
  if (existing !== undefined && existing.user !== exchange.user && !exchange.admin) throw new HttpError(403)
  if (exchange.method === 'GET') {
    if (existing === undefined) throw new HttpError(404, 'Unable to find the specified workflow.')
    return itemReply(existing, exchange.nowMs)
  }
  if (exchange.method !== 'PUT' && exchange.method !== 'POST') throw new HttpError(405)
  if (existing === undefined) {
    const missing = REQUIRED.filter((name) => (given[name] ?? '') === '')
    if (missing.length > 0) throw new HttpError(400, `Missing: ${missing.join(', ')}`)
    const item =
      archive.experiments.get(given.id ?? '') ??
      archive.subjects.get(given.id ?? '') ??
      archive.projects.get(given.id ?? '')
    if (item === undefined || !site.mayItem(exchange, 'edit', item)) throw new HttpError(403)
  }
  const record: WorkflowRecord = {
    key: existing?.key ?? archive.nextKey(),
    user: existing?.user ?? exchange.user,
    fields: { ...existing?.fields, ...given },
  }
  archive.record({ o: 'workflow', r: record })
  await archive.flush()
  return empty()
}

async function fieldsOf(exchange: Exchange): Promise<Record<string, string>> {
  const fields: Record<string, string> = {}
  for (const [name, value] of exchange.query.with(await exchange.form()).entries) {
    // Some clients encode the blank and colons of the time twice.
    if (PREFIX.test(name))
      fields[name.replace(PREFIX, '')] = /%[0-9a-f]{2}/i.test(value) ? decodeURIComponent(value) : value
  }
  if (['text/xml', 'application/xml'].includes(exchange.contentType)) {
    const root = parseXml(await exchange.bodyText())
    Object.assign(fields, root.attributes)
    for (const child of root.children ?? [])
      fields[child.name] ??= child.text ?? childrenNamed(child, child.name)[0]?.text ?? ''
  }
  return fields
}

function findByKey({ archive }: Site, given: Readonly<Record<string, string>>): WorkflowRecord | undefined {
  if (KEY.some((name) => given[name] === undefined)) return undefined
  return [...archive.workflows.values()].find(({ fields }) =>
    KEY.every((name) => fields[name] === given[name]),
  )
}

function itemReply({ key, fields }: WorkflowRecord, nowMs: number): Reply {
  const meta = {
    create_event_id: key,
    'xsi:type': 'wrk:workflowData',
    isHistory: false,
    start_date: javaDate(nowMs),
  }
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json;charset=UTF-8' },
    body: JSON.stringify({
      items: [{ children: [], meta, data_fields: { ...fields, wrk_workflowData_id: key } }],
    }),
  }
}
