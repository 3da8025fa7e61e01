/** The kit on a real PBS that is named by variables of the environment. */

import { describeLiveKit } from './live.js'
import { livePbsProblem } from './live-site.js'

describeLiveKit(livePbsProblem())
