/** Ways for a job to end badly, each with its exit code (numbers of BSD's sysexits.h). */

export const EXIT = {
  failed: 1,
  usage: 64,
  data: 65,
  noInput: 66,
  software: 70,
  io: 74,
} as const

/** The job ends with `exitCode` and this message; nothing is written to the output folder. */
export class JobFailure extends Error {
  override readonly name = 'JobFailure'
  constructor(
    readonly exitCode: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** The data are there and cannot be used: name the file and say why. */
export const badData = (file: string, reason: string, options?: ErrorOptions): JobFailure =>
  new JobFailure(EXIT.data, `${file}: ${reason}`, options)

/** A file that is needed is not there. */
export const noInput = (message: string): JobFailure => new JobFailure(EXIT.noInput, message)
