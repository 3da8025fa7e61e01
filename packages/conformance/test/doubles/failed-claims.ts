import Mocha from 'mocha'
import type { SuiteOptions } from '@orbweaver/conformance'

class SilentReporter extends Mocha.reporters.Base {
  override epilogue(): void {
    // Says nothing: the test that asked looks at what failed.
  }
}

export interface Outcome {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
  readonly pending: readonly string[]
}

/** Run a suite of the kit in a mocha of its own. Ids of its claims, by what became of them. */
export async function runClaims(register: (options: SuiteOptions) => void): Promise<Outcome> {
  const mocha = new Mocha({ reporter: SilentReporter, timeout: 30_000, slow: 30_000 })
  const open = [mocha.suite]
  const innermost = (): Mocha.Suite => open[0] ?? mocha.suite
  register({
    ui: {
      describe(title, body) {
        open.unshift(Mocha.Suite.create(innermost(), title))
        body()
        open.shift()
      },
      it(title, body) {
        innermost().addTest(new Mocha.Test(title, body))
      },
    },
  })
  const outcome = { passed: [] as string[], failed: [] as string[], pending: [] as string[] }
  await new Promise<void>((resolve) => {
    const runner = mocha.run(() => {
      runner.dispose() // its listeners on the process
      resolve()
    })
    const idOf = ({ title }: { readonly title: string }): string => title.split(' ')[0] ?? title
    runner.on('pass', (test) => outcome.passed.push(idOf(test)))
    runner.on('fail', (test) => outcome.failed.push(idOf(test)))
    runner.on('pending', (test) => outcome.pending.push(idOf(test)))
  })
  return outcome
}
