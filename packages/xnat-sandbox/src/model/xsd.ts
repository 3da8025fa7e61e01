/** Schema files as the server hands them out, made from the type table. Clients build their classes from them. */

import type { DataType, TypeRegistry } from './registry.js'
import type { ElementSpec } from './spec.js'
import { NAMESPACES } from './types.js'

/** Which schemas there are, as `GET /xapi/schemas` lists them. */
export function schemaNames(types: TypeRegistry): readonly string[] {
  const prefixes = new Set(types.all.map(({ prefix }) => prefix))
  return Object.entries(NAMESPACES).flatMap(([prefix, { schema }]) =>
    schema !== undefined && prefixes.has(prefix) ? [schema] : [],
  )
}

/** @param name - `xnat`, `xnat/xnat`, `proc`, …; undefined: there is no such schema */
export function schemaText(types: TypeRegistry, name: string): string | undefined {
  const names = schemaNames(types)
  const full = names.find(
    (known) => known === name || known.split('/').at(-1) === name || known.split('/')[0] === name,
  )
  const prefix = Object.keys(NAMESPACES).find((key) => full !== undefined && NAMESPACES[key]?.schema === full)
  const own = prefix === undefined ? undefined : NAMESPACES[prefix]
  if (prefix === undefined || own === undefined) return undefined
  const imported = Object.entries(NAMESPACES).filter(
    ([other, { schema }]) => other !== prefix && schema !== undefined && names.includes(schema),
  )
  const declared = types.all.filter((type) => type.prefix === prefix)
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<xs:schema targetNamespace="${own.uri}" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xdat="http://nrg.wustl.edu/xdat"`,
    `    ${[[prefix, own] as const, ...imported]
      .filter(([key]) => key !== 'xdat')
      .map(([key, { uri }]) => `xmlns:${key}="${uri}"`)
      .join(' ')}`,
    '    elementFormDefault="qualified" attributeFormDefault="unqualified">',
    ...imported.map(
      ([, { uri, schema }]) => `  <xs:import namespace="${uri}" schemaLocation="../${schema ?? ''}.xsd"/>`,
    ),
    ...declared.flatMap((type) =>
      type.element === undefined ? [] : [`  <xs:element name="${type.element}" type="${type.name}"/>`],
    ),
    ...declared.map((type) => complexType(type)),
    '</xs:schema>',
    '',
  ].join('\n')
}

function complexType(type: DataType): string {
  const local = type.name.split(':')[1] ?? type.name
  const elements = type.own.filter(({ attribute }) => !attribute)
  const attributes = type.own.filter(({ attribute }) => attribute)
  const text = type.name === 'xnat:addField'
  const content = [
    ...(elements.length === 0 ? [] : ['<xs:sequence>', ...elements.map(elementText), '</xs:sequence>']),
    ...attributes.map(attributeText),
  ].join('')
  const note = annotation(type.identifier, type.abstract)
  if (text) {
    return `  <xs:complexType name="${local}">${note}<xs:simpleContent><xs:extension base="xs:string">${content}</xs:extension></xs:simpleContent></xs:complexType>`
  }
  if (type.base === undefined) return `  <xs:complexType name="${local}">${note}${content}</xs:complexType>`
  return (
    `  <xs:complexType name="${local}">${note}<xs:complexContent><xs:extension base="${type.base.name}">` +
    `${content}</xs:extension></xs:complexContent></xs:complexType>`
  )
}

function annotation(identifier: string | undefined, abstract: boolean): string {
  const facts = `${abstract ? ' abstract="true"' : ''}${identifier === undefined ? '' : ` displayIdentifiers="${identifier}"`}`
  return facts === '' ? '' : `<xs:annotation><xs:appinfo><xdat:element${facts}/></xs:appinfo></xs:annotation>`
}

/** What tells the entries of a list apart. */
function entryIdentifier(spec: ElementSpec): string | undefined {
  if (!spec.many) return undefined
  return ['name', 'project', 'number', 'id'].find((name) =>
    spec.children.some((child) => child.attribute && child.name === name),
  )
}

function attributeText(spec: ElementSpec): string {
  return `<xs:attribute name="${spec.name}" type="xs:${spec.valueType}"/>`
}

function elementText(spec: ElementSpec): string {
  const head = `<xs:element name="${spec.name}" minOccurs="0"${spec.many ? ' maxOccurs="unbounded"' : ''}`
  if (spec.of !== undefined) return `${head} type="${spec.of}"/>`
  if (spec.children.length === 0) return `${head} type="xs:${spec.valueType}"/>`
  const elements = spec.children.filter(({ attribute }) => !attribute)
  const attributes = spec.children
    .filter(({ attribute }) => attribute)
    .map(attributeText)
    .join('')
  const note = annotation(entryIdentifier(spec), false)
  if (spec.text) {
    return `${head}>${note}<xs:complexType><xs:simpleContent><xs:extension base="xs:${spec.valueType}">${attributes}</xs:extension></xs:simpleContent></xs:complexType></xs:element>`
  }
  const sequence =
    elements.length === 0 ? '' : `<xs:sequence>${elements.map(elementText).join('')}</xs:sequence>`
  return `${head}>${note}<xs:complexType>${sequence}${attributes}</xs:complexType></xs:element>`
}
