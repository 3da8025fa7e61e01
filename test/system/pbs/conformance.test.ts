/** The kit on a real PBS: one that variables of the environment name (see the README of the adapter), or one on the PATH. */

import { describeLiveKit } from '../../../packages/adapter-pbs/dist-test/live.js'
import { livePbsProblem } from '../../../packages/adapter-pbs/dist-test/live-site.js'

describeLiveKit(livePbsProblem(true))
