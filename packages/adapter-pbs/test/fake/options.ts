/** Words of qsub, of its command line and of the directives in a script. */

import { Refused, USAGE } from './refused.js'
import type { Server } from './server.js'

const FLAGS = { openpbs: 'fhIVXz', torque: 'fhInVxXzE' } as const
const VALUED = { openpbs: 'aAcCejJklmMNopPqrRSuvW', torque: 'aAbcCdDejkKlLmMNopPqrStTuvwW' } as const

export interface Options {
  readonly one: Map<string, string>
  readonly resources: Map<string, string>
  readonly more: Map<string, string>
  readonly flags: Set<string>
  readonly rest: readonly string[]
}

/** At commas that are not quoted and not after a backslash. */
export function commas(text: string): string[] {
  const parts: string[] = ['']
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] ?? ''
    if (letter === '\\' && at + 1 < text.length) parts[parts.length - 1] += text[++at] ?? ''
    else if (quote !== '' ? letter === quote : letter === '"' || letter === "'")
      quote = quote === '' ? letter : ''
    else if (letter === ',' && quote === '') parts.push('')
    else parts[parts.length - 1] += letter
  }
  return parts
}

export function parse(words: readonly string[], server: Server, fromScript: boolean): Options {
  const { flavour } = server
  const options: Options = {
    one: new Map(),
    resources: new Map(),
    more: new Map(),
    flags: new Set(),
    rest: [],
  }
  let at = 0
  for (; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      at++
      break
    }
    if (!word.startsWith('-') || word === '-') break
    for (let place = 1; place < word.length; place++) {
      const letter = word[place] ?? ''
      if (FLAGS[flavour].includes(letter)) {
        options.flags.add(letter)
        continue
      }
      if (!VALUED[flavour].includes(letter))
        throw new Refused(
          2,
          flavour === 'openpbs'
            ? `qsub: invalid option -- '${letter}'\n${USAGE}`
            : `[a single ${letter} is not a valid option]\n\n${USAGE}`,
        )
      const value = word.slice(place + 1) || words[++at]
      if (value === undefined)
        throw new Refused(2, `qsub: option requires an argument -- '${letter}'\n${USAGE}`)
      option(letter, value, options)
      break
    }
  }
  if (!fromScript) return { ...options, rest: words.slice(at) }
  return options
}
function option(letter: string, value: string, { one, resources, more }: Options): void {
  if (letter === 'l' || letter === 'W')
    for (const part of commas(value)) {
      const [name = '', ...rest] = part.split('=')
      ;(letter === 'l' ? resources : more).set(name, rest.join('='))
    }
  else one.set(letter, letter === 'v' && one.has('v') ? `${one.get('v') ?? ''},${value}` : value)
}

export function directives(script: string, server: Server): Options {
  const words: string[] = []
  for (const line of script.split('\n')) {
    if (line.startsWith('#PBS '))
      for (const [, double, single, plain] of line.slice(5).matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g))
        words.push(double ?? single ?? plain ?? '')
    else if (line.trim() !== '' && !line.startsWith('#') && !line.startsWith(':')) break
  }
  return parse(words, server, true)
}
