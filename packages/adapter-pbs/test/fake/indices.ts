/** Indices of an array: `0-9`, `0-9:2`, `0-9%3`, and lists where it is Torque. */

import { Refused, USAGE } from './refused.js'

export function indices(
  range: string,
  isTorque: boolean,
  most: number,
  no: (exit: number, text: string, detail?: string) => Refused,
): { readonly indices: readonly number[]; readonly throttle: number | undefined } {
  const [list = '', throttle] = range.split('%')
  const found: number[] = []
  for (const part of isTorque ? list.split(',') : [list]) {
    const words = /^(\d+)(?:-(\d+)(?::(\d+))?)?$/.exec(part)
    const from = Number(words?.[1])
    const to = Number(words?.[2] ?? words?.[1])
    const bad = words === null || to < from || (!isTorque && to === from)
    if (bad)
      throw isTorque ? no(235, 'Bad Job Array Request') : new Refused(2, `qsub: illegal -J value\n${USAGE}`)
    if (to - from + 1 > most * Number(words[3] ?? 1))
      throw isTorque
        ? no(235, 'Bad Job Array Request', `Requested array size too large, limit is ${most}`)
        : no(3, 'Array job exceeds server or queue size limit')
    for (let index = from; index <= to; index += Number(words[3] ?? 1)) found.push(index)
  }
  return { indices: found, throttle: throttle === undefined ? undefined : Number(throttle) }
}
