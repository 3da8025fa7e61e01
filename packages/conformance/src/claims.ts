/** Claims: sentences about a port, each with a stable id and a check. Suites run them, `listClaims` prints them. */

/** The ports that the kit has chapters for. */
export type Port = 'backend' | 'store' | 'transport' | 'journal'

/** One claim as `listClaims` shows it. */
export interface ClaimInfo {
  /** Stable: an id is never given to another claim. `B3.2`, `S1.4`, `T2.1`, `J1.1`. */
  readonly id: string
  readonly port: Port
  readonly chapter: string
  /** Completes "… conforms if", reads aloud. */
  readonly sentence: string
}

/** A claim with its check. */
export interface Claim<Lab> {
  readonly id: string
  readonly sentence: string
  /**
   * Whether the claim applies. `true`, or the reason why not: the claim is then reported as pending.
   * What an implementation says it cannot do is claimed about as well, in claims of their own.
   */
  readonly when?: (lab: Lab) => true | string | Promise<true | string>
  readonly check: (lab: Lab) => Promise<void>
}

/** Thrown by a check that finds, on its way, that the claim does not apply: it is then reported as pending, for this reason. */
export class NotClaimed extends Error {
  override readonly name = 'NotClaimed'
}

/** Claims about one subject, in reading order. */
export interface Chapter<Lab> {
  readonly port: Port
  readonly title: string
  readonly claims: readonly Claim<Lab>[]
}

/** Where claims are registered. Mocha's own `describe` and `it` unless a test of the kit brings others. */
export interface TestUi {
  readonly describe: (title: string, body: () => void) => unknown
  readonly it: (title: string, body: (this: Mocha.Context) => Promise<void>) => unknown
}

export interface SuiteOptions {
  /** Longest time for one claim, milliseconds. Default 60 000. Slow schedulers need more. */
  readonly claimTimeoutMs?: number
  /** Only claims whose id starts with one of these, as `B4` or `B4.2`. Default: all. */
  readonly only?: readonly string[]
  readonly ui?: TestUi
}

/** Makes a fresh lab for one claim and clears it away. */
export interface LabFactory<Lab extends { dispose(): Promise<void> }> {
  create(): Promise<Lab>
}

/** One claim of a chapter. */
export function claim<Lab>(
  id: string,
  sentence: string,
  check: (lab: Lab) => Promise<void>,
  when?: Claim<Lab>['when'],
): Claim<Lab> {
  return { id, sentence, check, ...(when !== undefined && { when }) }
}

/** Register the claims of some chapters with mocha: one `describe` a chapter, one `it` a claim, a fresh lab for each. */
export function runChapters<Lab extends { dispose(): Promise<void> }>(
  title: string,
  chapters: readonly Chapter<Lab>[],
  factory: LabFactory<Lab>,
  options: SuiteOptions = {},
): void {
  const ui = options.ui ?? { describe: globalThis.describe, it: globalThis.it }
  const { only, claimTimeoutMs = 60_000 } = options
  const wanted = (id: string): boolean =>
    only === undefined || only.some((prefix) => id === prefix || id.startsWith(`${prefix}.`))

  ui.describe(title, () => {
    for (const chapter of chapters) {
      const claims = chapter.claims.filter(({ id }) => wanted(id))
      if (claims.length === 0) continue
      ui.describe(chapter.title, () => {
        for (const one of claims) {
          ui.it(`${one.id} ${one.sentence}`, async function (this: Mocha.Context) {
            this.timeout(claimTimeoutMs)
            const lab = await factory.create()
            let notApplicable: string | undefined
            try {
              const applies = (await one.when?.(lab)) ?? true
              if (applies === true) await one.check(lab)
              else notApplicable = applies
            } catch (error) {
              if (!(error instanceof NotClaimed)) throw error
              notApplicable = error.message
            } finally {
              await lab.dispose()
            }
            if (notApplicable !== undefined) {
              if (this.test !== undefined) this.test.title += ` [not claimed: ${notApplicable}]`
              this.skip()
            }
          })
        }
      })
    }
  })
}

/** Claims of chapters as plain data. */
export function describeClaims(
  chapters: readonly Pick<Chapter<never>, 'port' | 'title' | 'claims'>[],
): readonly ClaimInfo[] {
  return chapters.flatMap(({ port, title, claims }) =>
    claims.map(({ id, sentence }) => ({ id, port, chapter: title, sentence })),
  )
}
