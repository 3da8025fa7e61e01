/** Looks data types up: what a type holds, what it descends from, and what a field path names. */

import { NAMESPACES, TYPE_DECLARATIONS, type TypeDeclaration } from './types.js'
import { parseSpecs, type ElementSpec, type ValueType } from './spec.js'

export interface DataType {
  readonly name: string
  readonly prefix: string
  readonly base: DataType | undefined
  readonly element: string | undefined
  readonly abstract: boolean
  readonly singular: string
  readonly plural: string
  /** Its own fields, without those of the base. */
  readonly own: readonly ElementSpec[]
  /** Those of the base first. */
  readonly fields: readonly ElementSpec[]
  readonly plugin: boolean
  /** Of this declaration; those that descend from it inherit it. */
  readonly identifier: string | undefined
}

/** One part of a field path: a name, and what picks one of several: `field[name=cohort]`, `scan[0]`. */
export interface PathPart {
  readonly name: string
  readonly selectors: readonly { readonly key: string; readonly value: string }[]
}

export class TypeRegistry {
  readonly #byName = new Map<string, DataType>()
  readonly #byElement = new Map<string, DataType>()
  readonly #leaves = new Map<string, ReadonlyMap<string, ElementSpec>>()
  readonly #declaredBy = new Map<ElementSpec, DataType>()

  /**
   * @param processing - whether the plugin for processing results on sessions is installed
   * @param subjectProcessing - and the one for those on subjects
   */
  constructor(
    readonly processing: boolean,
    readonly subjectProcessing = processing,
  ) {
    const isThere = { processing, 'subject-processing': subjectProcessing }
    for (const declaration of TYPE_DECLARATIONS) {
      if (declaration.plugin === undefined || isThere[declaration.plugin]) this.#add(declaration)
    }
  }

  #add(declaration: TypeDeclaration): void {
    const base = declaration.base === undefined ? undefined : this.require(declaration.base)
    const own = parseSpecs(declaration.fields)
    const type: DataType = {
      name: declaration.name,
      prefix: declaration.name.split(':', 1)[0] ?? '',
      base,
      element: declaration.element,
      abstract: declaration.abstract === true,
      singular: declaration.singular ?? declaration.name,
      plural: declaration.plural ?? declaration.name,
      own,
      fields: [...(base?.fields ?? []), ...own],
      plugin: declaration.plugin !== undefined,
      identifier: declaration.identifier,
    }
    const declare = (specs: readonly ElementSpec[]): void => {
      for (const spec of specs) {
        this.#declaredBy.set(spec, type)
        declare(spec.children)
      }
    }
    declare(own)
    this.#byName.set(type.name.toLowerCase(), type)
    if (type.element !== undefined) this.#byElement.set(`${type.prefix}:${type.element}`, type)
  }

  get all(): readonly DataType[] {
    return [...this.#byName.values()]
  }

  /** Any case. */
  find(name: string): DataType | undefined {
    return this.#byName.get(name.toLowerCase())
  }

  require(name: string): DataType {
    const type = this.find(name)
    if (type === undefined) throw new Error(`no such data type: ${name}`)
    return type
  }

  /** The type of documents with this root element. Root elements may also be named like the type. */
  ofElement(namespace: string, name: string): DataType | undefined {
    const prefix = Object.entries(NAMESPACES).find(([, { uri }]) => uri === namespace)?.[0]
    return prefix === undefined
      ? undefined
      : (this.#byElement.get(`${prefix}:${name}`) ?? this.find(`${prefix}:${name}`))
  }

  /** `type` is `ancestor`, or descends from it. */
  isA(type: DataType | string, ancestor: string): boolean {
    const wanted = ancestor.toLowerCase()
    let current = typeof type === 'string' ? this.find(type) : type
    while (current !== undefined) {
      if (current.name.toLowerCase() === wanted) return true
      current = current.base
    }
    return false
  }

  /** The type in whose declaration a field stands: gives its namespace. */
  declaredBy(spec: ElementSpec): DataType {
    const type = this.#declaredBy.get(spec)
    if (type === undefined) throw new Error(`${spec.name} is of no type`)
    return type
  }

  /** Field specs within `spec`, whether written in place or by the name of a type. */
  childrenOf(spec: ElementSpec, actualType?: string): readonly ElementSpec[] {
    if (spec.of === undefined) return spec.children
    const named = actualType === undefined ? undefined : this.find(actualType)
    return (named ?? this.find(spec.of))?.fields ?? []
  }

  /**
   * What each lower-case field path of a type is, for value types and existence. Content of an abstract type
   * counts with the fields of all that descend from it.
   */
  leaves(type: DataType): ReadonlyMap<string, ElementSpec> {
    const known = this.#leaves.get(type.name)
    if (known !== undefined) return known
    const found = new Map<string, ElementSpec>()
    const walk = (specs: readonly ElementSpec[], prefix: string, depth: number): void => {
      for (const spec of specs) {
        const path = `${prefix}${spec.name.toLowerCase()}`
        if (!found.has(path)) found.set(path, spec)
        if (depth > 5) continue
        if (spec.of === undefined) walk(spec.children, `${path}/`, depth + 1)
        else for (const inner of this.#withDescendants(spec.of)) walk(inner.fields, `${path}/`, depth + 1)
      }
    }
    walk(type.fields, '', 0)
    this.#leaves.set(type.name, found)
    return found
  }

  #withDescendants(name: string): readonly DataType[] {
    // The nodes of the archive hold each other; their own fields are asked for at their own level.
    if (/:(imageScanData|imageAssessorData|subjectAssessorData|reconstructedImageData)$/.test(name)) return []
    return this.all.filter((type) => this.isA(type, name))
  }
}

/** Take a field path apart. Slashes within `[...]` belong to the selector. */
export function parsePath(path: string): readonly PathPart[] {
  const parts: PathPart[] = []
  for (const match of path.matchAll(/([^/[\]]+)((?:\[[^\]]*\])*)/g)) {
    const selectors = [...(match[2] ?? '').matchAll(/\[([^\]]*)\]/g)].map(([, inside = '']) => {
      const [key = '', ...value] = inside.split('=')
      return value.length === 0
        ? { key: '#', value: key.trim() }
        : {
            key: key.trim().replace(/^@/, '').toLowerCase(),
            value: value
              .join('=')
              .trim()
              .replace(/^(['"])(.*)\1$/, '$2'),
          }
    })
    const name = match[1] ?? ''
    // Old clients write `fields/fieldname=note/field` for `fields/field[name=note]/field`.
    parts.push({ name, selectors })
  }
  return parts
}

const CHECKS: Readonly<Record<ValueType, RegExp | undefined>> = {
  string: undefined,
  anyURI: undefined,
  integer: /^[+-]?\d+$/,
  float: /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(NaN|INF|-INF)$/,
  double: /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(NaN|INF|-INF)$/,
  boolean: /^(true|false|0|1)$/i,
  date: /^\d{4}-\d{2}-\d{2}$|^\d{1,2}\/\d{1,2}\/\d{4}$/,
  time: /^\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?$/,
  dateTime: /^\d{4}-\d{2}-\d{2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/,
}

/** @returns what is wrong with a value, or undefined */
export function valueProblem(valueType: ValueType, value: string): string | undefined {
  const check = CHECKS[valueType]
  if (check === undefined || value === '' || value === 'NULL' || check.test(value)) return undefined
  return `'${value}' is not a valid value for type '${valueType}'.`
}

/** The form in which a value is kept: dates as in documents. */
export function normalValue(valueType: ValueType, value: string): string {
  if (valueType === 'date') {
    const american = /^(\d{1,2})\/(\d{1,2})\/(\d{4})$/.exec(value)
    if (american !== null)
      return `${american[3]}-${(american[1] ?? '').padStart(2, '0')}-${(american[2] ?? '').padStart(2, '0')}`
  }
  // As Java writes numbers that are not whole by type.
  if ((valueType === 'float' || valueType === 'double') && /^[+-]?\d+$/.test(value))
    return `${Number(value)}.0`
  if (valueType === 'boolean' && /^(true|false)$/i.test(value))
    return value.toLowerCase() === 'true' ? '1' : '0'
  return value
}
