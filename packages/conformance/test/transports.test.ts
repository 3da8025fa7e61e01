import { transportSuite } from '@orbweaver/conformance'
import { localTransportHarness, memoryFilesHarness } from './doubles/transports.js'

describe('the local transport', () => {
  transportSuite(localTransportHarness())
})

describe('the in-memory files', () => {
  transportSuite(memoryFilesHarness())
})
