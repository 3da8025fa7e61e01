import { transportSuite } from '@orbweaver/conformance'
import { startLab } from './support/lab.js'

describe('transport-ssh, against a server in this process', () => {
  // Both ends share one process: its memory is no measure.
  transportSuite({
    create: () => startLab(),
    largeFile: { bytes: 24 * 1024 ** 2, maxGrowthBytes: undefined },
  })
})

describe('transport-ssh, against a server that refuses SFTP, allows two channels and greets at length', () => {
  transportSuite(
    {
      create: () =>
        startLab({
          refuseSftp: true,
          maxSessions: 2,
          banner: 'Authorised users only.\n',
          noise: 'Welcome to the cluster!\nmodule: command not found',
        }),
      largeFile: { bytes: 8 * 1024 ** 2, maxGrowthBytes: undefined },
    },
    // What differs there: how programs start and end, and how content travels.
    {
      only: [
        'T1.1',
        'T1.3',
        'T1.6',
        'T1.7',
        'T1.8',
        'T1.9',
        'T1.11',
        'T1.13',
        'T2.3',
        'T2.4',
        'T2.6',
        'T2.7',
        'T2.13',
        'T2.21',
        'T2.23',
        'T2.24',
      ],
    },
  )
})
