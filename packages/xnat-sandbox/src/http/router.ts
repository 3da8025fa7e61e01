/** From a path to its handler. What is not here says so, in the reply and in the log. */

import { parseAddress } from '../api/address.js'
import { experimentHandler, experimentsHandler } from '../api/experiments.js'
import { filesHandler } from '../api/files.js'
import { importHandler } from '../api/import.js'
import { workflowsHandler } from '../api/workflows.js'
import { projectHandler, projectsHandler } from '../api/projects.js'
import { resourceHandler, resourcesHandler } from '../api/resources.js'
import { reconstructionHandler, reconstructionsHandler, scanHandler, scansHandler } from '../api/scans.js'
import { searchHandler } from '../api/search.js'
import { authHandler, loginHandler, refreshHandler, sessionHandler, tokensHandler } from '../api/services.js'
import { subjectHandler, subjectsHandler } from '../api/subjects.js'
import { tableReply } from '../api/table.js'
import type { Site } from '../api/site.js'
import { schemaReply, xapiHandler } from '../api/xapi.js'
import type { Exchange } from './exchange.js'
import { HttpError, html, text, type Reply } from './reply.js'

const PREARCHIVE =
  `project timestamp lastmod uploaded scan_date scan_time subject folderName name tag status url autoarchive
  prevent_anon prevent_auto_commit SOURCE VISIT PROTOCOL TIMEZONE`.split(/\s+/)

export async function route(site: Site, exchange: Exchange): Promise<Reply> {
  const [prefix, ...segments] = exchange.segments
  switch (prefix) {
    case 'data':
    case 'REST':
      return data(site, exchange, segments[0] === 'archive' ? segments.slice(1) : segments)
    case 'xapi':
      return xapiHandler(site, exchange, segments)
    case 'schemas':
      exchange.route = 'schemas'
      return schemaReply(site, segments.at(-1) ?? '')
    case 'app':
    case undefined:
      exchange.route = 'app'
      return html(
        '<!DOCTYPE html>\n<html><head><title>Orbweaver XNAT sandbox</title></head><body><h1>Orbweaver XNAT sandbox</h1>' +
          '<p>A server that speaks the part of the XNAT API that pipelines use. It has no pages.</p></body></html>\n',
      )
    default:
      exchange.note = 'no such path on an XNAT server'
      throw new HttpError(404, '', 'tomcat')
  }
}

async function data(site: Site, exchange: Exchange, segments: readonly string[]): Promise<Reply> {
  const address = parseAddress(segments)
  if (address !== undefined) {
    exchange.route = address.route
    switch (address.leaf) {
      case 'projects':
        return projectsHandler(site, exchange)
      case 'project':
        return projectHandler(site, exchange, address)
      case 'subjects':
        return subjectsHandler(site, exchange, address)
      case 'subject':
        return subjectHandler(site, exchange, address)
      case 'experiments':
      case 'assessors':
        return experimentsHandler(site, exchange, address)
      case 'experiment':
      case 'assessor':
        return experimentHandler(site, exchange, address)
      case 'scans':
        return scansHandler(site, exchange, address)
      case 'scan':
        return scanHandler(site, exchange, address)
      case 'reconstructions':
        return reconstructionsHandler(site, exchange, address)
      case 'reconstruction':
        return reconstructionHandler(site, exchange, address)
      case 'resources':
        return resourcesHandler(site, exchange, address)
      case 'resource':
        return resourceHandler(site, exchange, address)
      case 'files':
        return filesHandler(site, exchange, address)
    }
  }
  return other(site, exchange, segments)
}

async function other(site: Site, exchange: Exchange, segments: readonly string[]): Promise<Reply> {
  const [first = '', second, ...rest] = segments
  exchange.route = second === undefined || first !== 'services' ? first : `${first}/${second}`
  switch (first) {
    case 'JSESSION':
      return sessionHandler(site, exchange)
    case 'auth':
      return authHandler(exchange)
    case 'version':
      // Gone since 1.7: clients try it to tell old servers from new ones.
      throw new HttpError(404, 'Not Found')
    case 'user':
      if (second === undefined || rest[0] !== 'sessions') break
      if (second !== exchange.user && !exchange.admin) throw new HttpError(403)
      return text(String(site.sessions.countOf(second, exchange.nowMs)))
    case 'users':
      if (second !== undefined) break
      return tableReply(exchange, {
        columns: ['firstname', 'login', 'xdat_user_id', 'lastname', 'email'],
        rows: [...site.archive.users.values()].map(({ name, firstName, lastName, email }, index) => [
          firstName,
          name,
          String(index + 1),
          lastName,
          email,
        ]),
      })
    case 'scan_types':
    case 'scanners':
    case 'investigators':
      return tableReply(exchange, {
        columns: [first === 'scanners' ? 'scanner' : first === 'scan_types' ? 'scan_type' : 'ID'],
        rows: [],
      })
    case 'search':
      return searchHandler(site, exchange, second === undefined ? [] : [second, ...rest])
    case 'workflows':
      return workflowsHandler(site, exchange, second)
    case 'prearchive':
      // Imports go straight to the archive, so there is never anything here.
      if (exchange.method === 'GET' && second === 'projects' && rest.length <= 1)
        return tableReply(exchange, { columns: PREARCHIVE, rows: [] })
      break
    case 'services':
      switch (second) {
        case 'auth':
          return loginHandler(site, exchange)
        case 'tokens':
          return tokensHandler(site, exchange, rest)
        case 'import':
          return importHandler(site, exchange)
        case 'refresh': {
          const query = exchange.query.with(await exchange.form())
          return refreshHandler(
            site,
            exchange,
            query.all('resource'),
            query.all('options').flatMap((words) => words.split(',')),
          )
        }
      }
      break
  }
  exchange.note = 'the sandbox does not have this'
  throw new HttpError(501, `The sandbox does not have /data/${segments.join('/')}.`)
}
