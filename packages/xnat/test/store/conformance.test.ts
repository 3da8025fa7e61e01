import { dataStoreSuite, type SuiteOptions } from '@orbweaver/conformance'
import type { Faults } from '@orbweaver/xnat-sandbox'
import { XnatLab } from '../support/lab.js'

interface Variant {
  readonly genProcData?: boolean
  readonly subjGenProcData?: boolean
  readonly resultsOn?: 'subject' | 'project'
  readonly contextPath?: string
  readonly faults?: Faults
}

/** One sandbox for all claims: each has a project of its own. */
function conforms(
  title: string,
  { faults = {}, resultsOn, ...options }: Variant = {},
  suite: SuiteOptions = {},
): void {
  describe(title, () => {
    let lab: XnatLab
    before(async () => {
      lab = await XnatLab.start(options)
    })
    after(() => lab.stop())

    // With one request in ten in trouble, a dozen tries make a failure as rare as a lottery's first prize.
    const retry = { tries: 12, firstDelayMs: 1, maxDelayMs: 20 }
    const open = () => lab.store(Object.keys(faults).length === 0 ? {} : { retry })

    dataStoreSuite(
      {
        seedsHidden: true,
        plainLabelsOnly: true,
        ...(resultsOn !== undefined && { resultsOn }),
        awkwardLabels: ['under_score', 'dash-es', 'UPPER', 'x0123456789'],
        create: async () => {
          lab.sandbox.setFaults(faults)
          return {
            store: open(),
            async seed(projects) {
              lab.sandbox.setFaults({})
              await lab.seed(projects)
              lab.sandbox.setFaults(faults)
            },
            second: async () => open(),
            outage: async (away) => {
              lab.sandbox.setFaults(away ? { outages: [{ startMs: 0, durationMs: 3_600_000 }] } : faults)
            },
            dispose: async () => {
              lab.sandbox.setFaults({})
            },
          }
        },
      },
      suite,
    )
  })
}

conforms('XNAT with proc:genProcData conforms')
conforms('XNAT without the plugin, below a context path, conforms', {
  genProcData: false,
  contextPath: '/xnat',
})
conforms(
  'XNAT with errors, drops, cut-off replies and lies conforms',
  { faults: { errorRate: 0.04, dropRate: 0.04, truncateRate: 0.04, lieRate: 0.04, seed: 7 } },
  // A large file is slow to be sent again and again, and outages are trouble enough.
  { only: ['S1', 'S2', 'S3', 'S4', 'S5', 'S8'] },
)

// What differs by where a result hangs: its states, its conflicts and its files.
const RESULTS: SuiteOptions = { only: ['S2', 'S3', 'S5'] }
conforms('XNAT with proc:subjGenProcData conforms for results on subjects', { resultsOn: 'subject' }, RESULTS)
conforms(
  'XNAT without proc:subjGenProcData conforms for results on subjects',
  { resultsOn: 'subject', subjGenProcData: false },
  RESULTS,
)
conforms('XNAT conforms for results on projects', { resultsOn: 'project' }, RESULTS)
conforms(
  'XNAT with proc:subjGenProcData, errors, drops, cut-off replies and lies conforms for results on subjects',
  {
    resultsOn: 'subject',
    faults: { errorRate: 0.04, dropRate: 0.04, truncateRate: 0.04, lieRate: 0.04, seed: 11 },
  },
  RESULTS,
)
