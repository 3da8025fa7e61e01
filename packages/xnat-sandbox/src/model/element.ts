/** The content of an item: a small tree as in its document, read and changed by field paths. */

import type { ElementSpec } from './spec.js'
import { normalValue, parsePath, valueProblem, type PathPart, type TypeRegistry } from './registry.js'

export interface Element {
  name: string
  /** The type of the content where the document says so (`xsi:type`). */
  type?: string
  attributes?: Record<string, string>
  text?: string
  children?: Element[]
}

/** A field path names nothing, or a value does not fit. */
export class FieldError extends Error {}

export function childrenNamed(element: Element, name: string): readonly Element[] {
  const wanted = name.toLowerCase()
  return element.children?.filter((child) => child.name.toLowerCase() === wanted) ?? []
}

export function attributeOf(element: Element, name: string): string | undefined {
  if (element.attributes === undefined) return undefined
  const exact = element.attributes[name]
  if (exact !== undefined) return exact
  const wanted = name.toLowerCase()
  return Object.entries(element.attributes).find(([key]) => key.toLowerCase() === wanted)?.[1]
}

function matches(element: Element, index: number, part: PathPart): boolean {
  return part.selectors.every(({ key, value }) => {
    if (key === '#') return Number(value) === index
    if (key === 'xsi:type')
      return element.type === undefined || element.type.toLowerCase() === value.toLowerCase()
    const own = attributeOf(element, key) ?? childrenNamed(element, key)[0]?.text
    return own === value
  })
}

/** What the text of a list entry is called in field paths and JSON: `field` of a `field`, `addField` of an `addParam`. */
export function textNameOf(name: string): string {
  return name === 'addParam' ? 'addField' : name
}

/** All values that a path names; several where lists are on the way. */
export function valuesAt(root: Element, path: string | readonly PathPart[]): readonly string[] {
  const parts = typeof path === 'string' ? parsePath(path) : path
  let current: readonly Element[] = [root]
  for (const [at, part] of parts.entries()) {
    const lastPart = at === parts.length - 1
    if (lastPart) {
      return current.flatMap((element) => {
        const attribute = attributeOf(element, part.name)
        if (attribute !== undefined) return [attribute]
        const inner = childrenNamed(element, part.name).filter((child, index) => matches(child, index, part))
        if (inner.length > 0) return inner.flatMap(({ text }) => (text === undefined ? [] : [text]))
        // The text of a list entry is called by the entry's own name: `fields/field/field`.
        return isOwnText(element, root, part) && element.text !== undefined ? [element.text] : []
      })
    }
    current = current.flatMap((element) =>
      childrenNamed(element, part.name).filter((child, index) => matches(child, index, part)),
    )
    if (current.length === 0) return []
  }
  return []
}

/**
 * Set, or with an empty value or `NULL` remove, the value that a path names.
 *
 * @throws FieldError the type has no such field, or the value does not fit its type
 */
export function setAt(
  root: Element,
  specs: readonly ElementSpec[],
  path: string,
  value: string,
  types: TypeRegistry,
): void {
  const parts = parsePath(path)
  let element = root
  let within = specs
  for (const [at, part] of parts.entries()) {
    const spec = within.find(({ name }) => name.toLowerCase() === part.name.toLowerCase())
    if (at === parts.length - 1) {
      const own = spec === undefined && isOwnText(element, root, part)
      if (spec === undefined && !own) throw new FieldError(`Unknown field: ${path}`)
      const valueType = spec?.valueType ?? 'string'
      const problem = valueProblem(valueType, value)
      if (problem !== undefined) throw new FieldError(`${problem} (${path})`)
      const stored = value === 'NULL' ? '' : normalValue(valueType, value)
      if (spec === undefined) element.text = stored
      else if (spec.attribute) setAttribute(element, spec.name, stored)
      else setText(element, spec.name, stored, part)
      return
    }
    if (spec === undefined || spec.attribute) throw new FieldError(`Unknown field: ${path}`)
    const asked = part.selectors.find(({ key }) => key === 'xsi:type')?.value
    const type = asked === undefined ? concreteType(spec, types) : (types.find(asked)?.name ?? asked)
    let child = childrenNamed(element, part.name).find((candidate, index) => matches(candidate, index, part))
    if (child === undefined) {
      child = { name: spec.name, ...(type === undefined ? {} : { type }) }
      ;(element.children ??= []).push(child)
      const inner = types.childrenOf(spec, type)
      for (const { key, value: wanted } of part.selectors) {
        if (key === '#' || key === 'xsi:type') continue
        const keySpec = inner.find(({ name }) => name.toLowerCase() === key)
        if (keySpec === undefined) throw new FieldError(`Unknown field: ${path}`)
        if (keySpec.attribute) setAttribute(child, keySpec.name, wanted)
        else (child.children ??= []).push({ name: keySpec.name, text: wanted })
      }
    }
    element = child
    within = types.childrenOf(spec, child.type ?? type)
  }
}

function isOwnText(element: Element, root: Element, part: PathPart): boolean {
  return element !== root && textNameOf(element.name).toLowerCase() === part.name.toLowerCase()
}

/** An element of abstract content gets the one usual type. */
function concreteType(spec: ElementSpec, types: TypeRegistry): string | undefined {
  if (spec.of === undefined) return undefined
  const declared = types.find(spec.of)
  if (declared?.abstract !== true) return undefined
  return types.all.find((type) => !type.abstract && types.isA(type, declared.name))?.name
}

function setAttribute(element: Element, name: string, value: string): void {
  if (value === '') delete element.attributes?.[name]
  else (element.attributes ??= {})[name] = value
}

function setText(element: Element, name: string, value: string, part: PathPart): void {
  const existing = childrenNamed(element, name).find((child, index) => matches(child, index, part))
  if (value !== '') {
    if (existing === undefined) (element.children ??= []).push({ name, text: value })
    else existing.text = value
    return
  }
  if (existing === undefined) return
  if (existing.attributes === undefined && existing.children === undefined) {
    element.children = element.children?.filter((child) => child !== existing) ?? []
  } else delete existing.text
}

/**
 * Lay `incoming` over `target`, as the server does with a document that is sent to an existing item: what is not mentioned
 * stays; entries of lists are the same when their key (`name`, `ID`, `id`, `number`) is.
 *
 * @param removeMissing - entries of lists that the document has not are removed
 */
export function mergeInto(
  target: Element,
  incoming: Element,
  specs: readonly ElementSpec[],
  types: TypeRegistry,
  removeMissing = false,
): void {
  if (incoming.type !== undefined) target.type = incoming.type
  if (incoming.text !== undefined) target.text = incoming.text
  if (incoming.attributes !== undefined) {
    for (const [name, value] of Object.entries(incoming.attributes)) setAttribute(target, name, value)
  }
  const seen = new Set<Element>()
  const lists = new Set<string>()
  for (const child of incoming.children ?? []) {
    const spec = specs.find(({ name }) => name === child.name)
    const many = spec?.many === true
    if (many) lists.add(child.name)
    const same = childrenNamed(target, child.name).find(
      (candidate) => !many || (!seen.has(candidate) && listKey(candidate) === listKey(child)),
    )
    if (same === undefined) {
      const copy = structuredClone(child)
      ;(target.children ??= []).push(copy)
      seen.add(copy)
    } else {
      mergeInto(
        same,
        child,
        spec === undefined ? [] : types.childrenOf(spec, child.type ?? same.type),
        types,
        removeMissing,
      )
      seen.add(same)
    }
  }
  if (removeMissing && target.children !== undefined) {
    target.children = target.children.filter((child) => !lists.has(child.name) || seen.has(child))
  }
}

function listKey(element: Element): string {
  for (const key of ['name', 'ID', 'id', 'number']) {
    const value = attributeOf(element, key)
    if (value !== undefined) return `${key}=${value}`
  }
  return JSON.stringify([element.text, childrenNamed(element, 'imageScan_ID')[0]?.text])
}

/** Every value of a document that does not fit its type. */
export function valueProblems(
  element: Element,
  specs: readonly ElementSpec[],
  types: TypeRegistry,
  prefix = '',
): readonly string[] {
  const problems: string[] = []
  const check = (spec: ElementSpec | undefined, value: string | undefined, name: string): void => {
    if (value === undefined) return
    if (spec === undefined) problems.push(`Unknown field: ${prefix}${name}`)
    else {
      const problem = valueProblem(spec.valueType, value)
      if (problem !== undefined) problems.push(`${problem} (${prefix}${name})`)
    }
  }
  for (const [name, value] of Object.entries(element.attributes ?? {})) {
    check(
      specs.find((spec) => spec.attribute && spec.name === name),
      value,
      name,
    )
  }
  for (const child of element.children ?? []) {
    const spec = specs.find((candidate) => !candidate.attribute && candidate.name === child.name)
    check(spec, child.text ?? (spec === undefined ? '' : undefined), child.name)
    if (spec === undefined) continue
    if (child.type !== undefined && types.find(child.type) === undefined)
      problems.push(`Unknown type: ${child.type}`)
    problems.push(
      ...valueProblems(child, types.childrenOf(spec, child.type), types, `${prefix}${child.name}/`),
    )
  }
  return problems
}
