/** Who imports whom, read from the sources with TypeScript's own parser. */

import fs from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

export interface Import {
  readonly from: string
  readonly specifier: string
  /** Erased when compiled: `import type`, `export type`, `import('…')` in a type. */
  readonly typeOnly: boolean
  /** The imported file, for relative specifiers. */
  readonly target?: string
  /** 1-based. */
  readonly line: number
}

export function importsOf(file: string): Import[] {
  const text = fs.readFileSync(file, 'utf8')
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true)
  const found: Import[] = []
  const add = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return
    const target = specifier.text.startsWith('.') ? resolveRelative(file, specifier.text) : undefined
    found.push({
      from: file,
      specifier: specifier.text,
      typeOnly,
      line: source.getLineAndCharacterOfPosition(specifier.getStart()).line + 1,
      ...(target !== undefined && { target }),
    })
  }
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyImport(node))
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, isTypeOnlyExport(node))
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true)
    else if (ts.isCallExpression(node) && isLoad(node)) add(node.arguments[0], false)
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Names that a file declares with `declare module 'name'`: given by the bundler, not by a package. */
export function declaredModules(file: string): string[] {
  const source = ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.ESNext, true)
  return source.statements.flatMap((statement) =>
    ts.isModuleDeclaration(statement) && ts.isStringLiteral(statement.name) ? [statement.name.text] : [],
  )
}

/** `import('x')`, `require('x')`, `require.resolve('x')`, `import.meta.resolve('x')`. */
function isLoad({ expression }: ts.CallExpression): boolean {
  if (expression.kind === ts.SyntaxKind.ImportKeyword) return true
  if (ts.isIdentifier(expression)) return expression.text === 'require'
  if (!ts.isPropertyAccessExpression(expression) || expression.name.text !== 'resolve') return false
  const on = expression.expression
  return ts.isMetaProperty(on) || (ts.isIdentifier(on) && on.text === 'require')
}

function isTypeOnlyImport({ importClause }: ts.ImportDeclaration): boolean {
  if (importClause === undefined) return false // for its effects
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true
  const { name, namedBindings } = importClause
  if (name !== undefined || namedBindings === undefined || ts.isNamespaceImport(namedBindings)) return false
  return namedBindings.elements.length > 0 && namedBindings.elements.every((element) => element.isTypeOnly)
}

function isTypeOnlyExport({ isTypeOnly, exportClause }: ts.ExportDeclaration): boolean {
  if (isTypeOnly) return true
  if (exportClause === undefined || !ts.isNamedExports(exportClause)) return false
  return exportClause.elements.length > 0 && exportClause.elements.every((element) => element.isTypeOnly)
}

function resolveRelative(from: string, specifier: string): string {
  const base = path.resolve(path.dirname(from), specifier)
  const candidates = [
    base.replace(/\.js$/, '.ts'),
    base.replace(/\.mjs$/, '.mts'),
    base.replace(/\.js$/, '.tsx'),
    base,
  ]
  return candidates.find((candidate) => fs.existsSync(candidate)) ?? base
}

/** `@scope/name` or `name` of a bare specifier, with what follows it as `./rest` or `.`. */
export function splitSpecifier(specifier: string): { readonly name: string; readonly entry: string } {
  const parts = specifier.split('/')
  const taken = specifier.startsWith('@') ? 2 : 1
  const rest = parts.slice(taken)
  return { name: parts.slice(0, taken).join('/'), entry: rest.length === 0 ? '.' : `./${rest.join('/')}` }
}

/** Cycles of a graph, each as the path round it, one for each strongly connected knot. */
export function cyclesOf(graph: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const done = new Set<string>()
  const cycles: string[][] = []
  const walk = (node: string, trail: string[]): void => {
    const at = trail.indexOf(node)
    if (at >= 0) {
      cycles.push([...trail.slice(at), node])
      return
    }
    if (done.has(node)) return
    for (const next of graph.get(node) ?? []) walk(next, [...trail, node])
    done.add(node)
  }
  for (const node of graph.keys()) walk(node, [])
  return cycles
}
