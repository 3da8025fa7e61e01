/** What `orbweaver doctor` says of an XNAT. */

import { NotFoundError, PipelineError, type CallOptions, type Diagnosis } from '@orbweaver/core'
import type { XnatClient } from '../client/client.js'
import { GEN_PROC, QC, SUBJECT_GEN_PROC } from './document.js'

/** Before this version XNAT has no `/xapi`. */
const OLDEST = [1, 7] as const

export async function diagnoseXnat(client: XnatClient, options: CallOptions): Promise<readonly Diagnosis[]> {
  const findings: Diagnosis[] = [describeUrl(client.url)]
  const problem = (check: string, error: unknown): Diagnosis => {
    if (!(error instanceof PipelineError)) throw error
    return {
      check,
      status: 'problem',
      found: error.message,
      ...(error.hint !== undefined && { hint: error.hint }),
    }
  }
  try {
    const user = await client.login(options)
    findings.push({ check: 'archive: login', status: 'ok', found: `logged in as ${user}` })
  } catch (error) {
    return [...findings, problem('archive: login', error)]
  }
  try {
    findings.push(await describeVersion(client, options))
    findings.push(describeTypes(await client.dataTypes(options)))
    const projects = await client.projects({ columns: ['ID'], ...options })
    findings.push(
      projects.length === 0
        ? {
            check: 'archive: projects',
            status: 'warning',
            found: 'this user sees no project',
            hint: 'Ask an owner of the project to make this user a member.',
          }
        : { check: 'archive: projects', status: 'ok', found: `this user sees ${projects.length}` },
    )
  } catch (error) {
    findings.push(problem('archive: answers', error))
  }
  return findings
}

function describeUrl(url: string): Diagnosis {
  const { protocol, hostname } = new URL(url)
  const here = ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
  if (protocol === 'https:' || here) return { check: 'archive: address', status: 'ok', found: url }
  return {
    check: 'archive: address',
    status: 'warning',
    found: `${url} is not encrypted: passwords and images can be read on the way`,
    hint: 'Use https.',
  }
}

async function describeVersion(client: XnatClient, options: CallOptions): Promise<Diagnosis> {
  const check = 'archive: version'
  try {
    const { version = '' } = await client.buildInfo(options)
    const [major = 0, minor = 0] = version.split('.').map(Number)
    if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) {
      return { check, status: 'ok', found: `XNAT ${version}` }
    }
    return {
      check,
      status: 'warning',
      found: `XNAT ${version === '' ? 'of an unknown version' : version}`,
      hint: 'Known to work from 1.7 on; `orbweaver xnat check-server` tries what is relied on.',
    }
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error
    return { check, status: 'warning', found: 'an XNAT older than 1.7, or something else' }
  }
}

function describeTypes(types: ReadonlySet<string>): Diagnosis {
  const check = 'archive: results'
  const onSubjects = types.has(SUBJECT_GEN_PROC)
    ? `those on subjects as ${SUBJECT_GEN_PROC}`
    : `those on subjects as resources: the site does not have ${SUBJECT_GEN_PROC}`
  if (types.has(GEN_PROC)) {
    return { check, status: 'ok', found: `kept as ${GEN_PROC}, with DAX's fields; ${onSubjects}` }
  }
  if (types.has(QC)) {
    return { check, status: 'ok', found: `kept as ${QC}: the site does not have ${GEN_PROC}; ${onSubjects}` }
  }
  return {
    check,
    status: 'problem',
    found: `the site has neither ${GEN_PROC} nor ${QC}`,
    hint: `Ask the site's administrator to set up ${QC} (Administer, Data Types).`,
  }
}
