/** What a program of the fake says when it refuses. */

export class Refused extends Error {
  readonly exit: number
  constructor(exit: number, message: string) {
    super(message)
    this.exit = exit
  }
}

export const USAGE =
  'usage: qsub [-a date_time] [-A account_string] [-e path] [-h ] [-l resource_list] [script]'
