/** Values of list parameters: alternatives, wildcards, ranges of numbers and dates. */

export type Filter = (cell: string) => boolean

/** `A,B` is either; `%` and `*` stand for anything; `01/01/2024-02/01/2024` and `3-5` are ranges, ends included. */
export function filterFor(value: string): Filter {
  const alternatives = value.split(',').map((part) => singleFilter(part.trim()))
  return (cell) => alternatives.some((matches) => matches(cell))
}

const DATE = String.raw`\d{1,2}\/\d{1,2}\/\d{4}(?: \d{2}:\d{2}(?::\d{2})?)?`
const DATE_RANGE = new RegExp(`^(${DATE})\\s*-\\s*(${DATE})$`)
const NUMBER_RANGE = /^(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)$/

function singleFilter(value: string): Filter {
  if (value === 'NULL') return (cell) => cell === ''
  const dates = DATE_RANGE.exec(value)
  if (dates !== null) {
    const from = isoDate(dates[1] ?? '')
    const to = isoDate(dates[2] ?? '')
    return (cell) => cell !== '' && cell.slice(0, from.length) >= from && cell.slice(0, to.length) <= to
  }
  if (new RegExp(`^${DATE}$`).test(value)) {
    const day = isoDate(value)
    return (cell) => cell.startsWith(day)
  }
  if (/[%*]/.test(value)) {
    const pattern = new RegExp(`^${value.split(/[%*]+/).map(escapePattern).join('.*')}$`, 's')
    return (cell) => pattern.test(cell)
  }
  const numbers = NUMBER_RANGE.exec(value)
  if (numbers !== null) {
    const from = Number(numbers[1])
    const to = Number(numbers[2])
    // `2-3` may also be a label.
    return (cell) => cell === value || (cell !== '' && Number(cell) >= from && Number(cell) <= to)
  }
  return (cell) => cell === value
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

/** `MM/DD/YYYY[ hh:mm[:ss]]` as the cells have it. */
function isoDate(text: string): string {
  const [day = '', time] = text.split(' ')
  const [month = '', date = '', year = ''] = day.split('/')
  const iso = `${year}-${month.padStart(2, '0')}-${date.padStart(2, '0')}`
  return time === undefined ? iso : `${iso} ${time}`
}
