/**
 * A compact notation for what a data type holds. One text a type is read once at start, and everything that depends on
 * the shape of data (field paths, documents in and out, schema files) is derived from it.
 *
 * ```
 * @ID                 attribute
 * date:date           element with a value type; `string` when left out
 * scanner(@model)     element with text, and attributes or elements within
 * validation{...}     element without text of its own
 * field*              may occur many times
 * PI<xnat:investigatorData>   content is another type
 * ```
 */

export type ValueType =
  'string' | 'integer' | 'float' | 'double' | 'boolean' | 'date' | 'time' | 'dateTime' | 'anyURI'

export interface ElementSpec {
  readonly name: string
  readonly attribute: boolean
  readonly many: boolean
  /** Text of its own. */
  readonly text: boolean
  readonly valueType: ValueType
  /** Name of the type that its content has. */
  readonly of?: string
  readonly children: readonly ElementSpec[]
}

const TOKEN = /\s*(@?[A-Za-z_][\w-]*|[:*<>(){}]|$)/y

/** @throws Error at a mistake in the notation: these texts are part of the program */
export function parseSpecs(text: string): readonly ElementSpec[] {
  let position = 0
  let token = ''
  const next = (): void => {
    TOKEN.lastIndex = position
    const match = TOKEN.exec(text)
    if (match === null) throw new Error(`bad type notation at: ${text.slice(position, position + 30)}`)
    position = TOKEN.lastIndex
    token = match[1] ?? ''
  }
  const expect = (wanted: string): void => {
    if (token !== wanted)
      throw new Error(`bad type notation: ${wanted} expected before ${text.slice(position, position + 30)}`)
    next()
  }
  const specs = (end: string): ElementSpec[] => {
    const list: ElementSpec[] = []
    while (token !== end) list.push(spec())
    if (end !== '') next()
    return list
  }
  const spec = (): ElementSpec => {
    const attribute = token.startsWith('@')
    const name = attribute ? token.slice(1) : token
    if (!/^[A-Za-z_]/.test(name))
      throw new Error(`bad type notation: name expected before ${text.slice(position, position + 30)}`)
    next()
    const many = token === '*'
    if (many) next()
    let valueType: ValueType = 'string'
    if (token === ':') {
      next()
      valueType = token as ValueType
      next()
    }
    if (token === '<') {
      const close = text.indexOf('>', position)
      const of = text.slice(position, close).trim()
      position = close + 1
      next()
      return { name, attribute, many, text: false, valueType, of, children: [] }
    }
    if (token === '{' || token === '(') {
      const withText = token === '('
      const end = withText ? ')' : '}'
      next()
      return { name, attribute, many, text: withText, valueType, children: specs(end) }
    }
    return { name, attribute, many, text: true, valueType, children: [] }
  }
  next()
  const result = specs('')
  expect('')
  return result
}
