/**
 * What `qstat -f` prints of jobs, queues and servers, as records of fields. Three writings: text, `-F dsv` and Torque's XML.
 *
 * Values of jobs are not escaped in text and dsv: a variable of a job may hold line breaks, and lines that look like fields
 * or like the head of another job. In dsv the separator is a control character and all is clear. In text a field that is told
 * twice, differently, makes its record contradictory.
 */

export interface PbsRecord {
  readonly id: string
  readonly fields: ReadonlyMap<string, string>
  /** Told twice, differently: nothing of it can be relied on. */
  readonly contradictory: boolean
}

/** Between fields of dsv. */
export const SEPARATOR = '\u001e'
const NEXT_HEAD = new RegExp(`\\n(?=(?:Job Id|Queue|Server): ?[^\\s${SEPARATOR}]+${SEPARATOR})`)

const HEAD = { job: 'Job Id', queue: 'Queue', server: 'Server' } as const

export function readRecords(text: string, kind: keyof typeof HEAD = 'job'): readonly PbsRecord[] {
  const clean = text.replace(/\r\n/g, '\n')
  if (kind === 'job' && /<Job>/.test(clean)) return once(xml(clean))
  if (clean.includes(SEPARATOR)) return once(separated(clean, HEAD[kind]))
  return once(lines(clean, HEAD[kind]))
}

/** Two records of one id: neither is believed. */
function once(records: readonly PbsRecord[]): readonly PbsRecord[] {
  const byId = new Map<string, PbsRecord>()
  for (const record of records) {
    const other = byId.get(record.id)
    const same = other === undefined || other.fields.get('job_state') === record.fields.get('job_state')
    byId.set(record.id, same ? record : { ...record, contradictory: true })
  }
  return [...byId.values()]
}

class Builder {
  readonly #fields = new Map<string, string>()
  #contradictory = false
  constructor(readonly id: string) {}

  set(name: string, value: string): void {
    const before = this.#fields.get(name)
    if (before !== undefined && before !== value) this.#contradictory = true
    this.#fields.set(name, value)
  }
  done(): PbsRecord {
    return { id: this.id, fields: this.#fields, contradictory: this.#contradictory }
  }
}

function separated(text: string, head: string): readonly PbsRecord[] {
  return text.split(NEXT_HEAD).flatMap((block) => {
    const start = block.lastIndexOf(`${head}: `, block.indexOf(SEPARATOR))
    if (start < 0) return []
    const [first = '', ...parts] = block.slice(start).split(SEPARATOR)
    const record = new Builder(first.slice(head.length + 2).trim())
    for (const part of parts) {
      const at = part.indexOf('=')
      if (at > 0) record.set(part.slice(0, at), part.slice(at + 1).trimEnd())
    }
    return [record.done()]
  })
}

/** Fields are indented by four blanks; the rest of a long value follows in lines that start with a tab. */
function lines(text: string, head: string): readonly PbsRecord[] {
  const found: Builder[] = []
  let open: { name: string; value: string } | undefined
  const close = (): void => {
    if (open !== undefined) found.at(-1)?.set(open.name, open.value.trim())
    open = undefined
  }
  for (const line of text.split('\n')) {
    if (line.startsWith('\t')) {
      if (open !== undefined) open.value += line.slice(1)
      continue
    }
    const id = line.startsWith(`${head}: `) ? line.slice(head.length + 2).trim() : ''
    const field = /^ {4}([A-Za-z][\w.-]*) = (.*)$/.exec(line)
    if (id !== '') {
      close()
      found.push(new Builder(id))
    } else if (field?.[1] !== undefined) {
      close()
      open = { name: field[1], value: field[2] ?? '' }
    }
    // Another line belongs to a value with line breaks in it, which is none that is read.
  }
  close()
  return found.map((record) => record.done())
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }
const plainText = (value: string): string =>
  value.replace(/&(lt|gt|amp|quot|apos);/g, (_, name: string) => ENTITIES[name] ?? '')

/** Torque's XML is flat but for groups as `Resource_List`; only whole jobs are read. */
function xml(text: string): readonly PbsRecord[] {
  return [...text.matchAll(/<Job>(.*?)<\/Job>/gs)].flatMap(([, body = '']) => {
    const shown = body.replace(/<(Variable_List|submit_args)>.*?<\/\1>/gs, '')
    const id = /<Job_Id>([^<]+)<\/Job_Id>/.exec(shown)?.[1]
    if (id === undefined) return []
    const record = new Builder(id.trim())
    const rest = shown.replace(
      /<(resources_used|Resource_List|req_information|Walltime)>(.*?)<\/\1>/gs,
      (_, group: string, inner: string) => {
        for (const [, name = '', value = ''] of inner.matchAll(/<([\w.-]+)>([^<]*)<\/\1>/g))
          record.set(`${group}.${name}`, plainText(value))
        return ''
      },
    )
    for (const [, name = '', value = ''] of rest.matchAll(/<([\w.-]+)>([^<]*)<\/\1>/g))
      record.set(name, plainText(value))
    const variables = /<Variable_List>(.*?)<\/Variable_List>/s.exec(body)?.[1]
    if (variables !== undefined) record.set('Variable_List', plainText(variables))
    return [record.done()]
  })
}
