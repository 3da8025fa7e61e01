/** What an adapter's test gives to the kit. Only `create` and its lab are needed; everything else has a default. */

import type { ClusterBackend, DataStore, Journal, LeaseHolder, Transport } from '@orbweaver/core'
import type { SeedProject } from '@orbweaver/core/testing'

// ---------------------------------------------------------------- backends

/** What a job of a claim does, step by step in this order. Free of any program's words. */
export interface JobBehaviour {
  /** Append one line to this file: counts how often the job really ran. */
  readonly mark?: string
  /** Print to standard output. */
  readonly print?: string
  /** Print to standard error. */
  readonly printError?: string
  /** Print each argument, then the working directory, then the value of each variable, one a line, on standard output. */
  readonly report?: { readonly arguments: readonly string[]; readonly variables: readonly string[] }
  /** Take this much memory and touch it, until the end. */
  readonly allocateMb?: number
  /** Start a child that starts a child; all of them, this job as well, append their process ids to this file and live on. */
  readonly grandchildren?: string
  /** Go on only when this file exists. */
  readonly waitFor?: string
  /** End by this signal, sent to itself. */
  readonly killSelf?: 'SIGKILL' | 'SIGTERM' | 'SIGSEGV'
  /** Default 0. */
  readonly exit?: number
}

/** One backend under test, made fresh for each claim. */
export interface BackendLab {
  readonly backend: ClusterBackend

  /** A new empty folder, absolute and without links on its way, and the transport that reaches it. */
  workspace(): Promise<{ readonly transport: Transport; readonly folder: string }>

  /**
   * The command of a behaviour. Default: {@link shellCommand}, for anything that runs real programs; it needs `/bin/sh`
   * on the node, and `node` for `allocateMb`.
   */
  command?(behaviour: JobBehaviour): readonly string[]

  /**
   * Let some time go by between two looks. Default: `backend.changes` for at most 200 ms, or a sleep of 100 ms where
   * there is none. A lab with a clock of its own moves it on.
   */
  pause?(): Promise<void>

  /** Take the scheduler away, or give it back. Without it the outage chapter is left out. */
  outage?(away: boolean): Promise<void>

  /** The next submit is accepted, but its answer gets lost: the call throws. */
  loseNextAnswer?(): Promise<void>

  /** Let go of `backend` without a goodbye, as a killed engine does, and come back over the same state. */
  reopen?(): Promise<ClusterBackend>

  /** Which of these processes still live. Default: asked of the workspace's transport with `kill -0`. */
  alive?(pids: readonly number[]): Promise<readonly number[]>

  /**
   * Take all room, so that the next job has to wait in the queue; the function given back makes room again.
   * Default: one job with all cpus of `limits().maxCpus`, or else the claims about waiting jobs are left out.
   */
  occupy?(): Promise<() => Promise<void>>

  /** End all jobs that are left, remove all folders. */
  dispose(): Promise<void>
}

export interface BackendHarness {
  create(): Promise<BackendLab>
  /** An id that looks right and that no job has. Default `2147480000`. */
  readonly unknownId?: string
  /** Shortest walltime the scheduler can enforce. Default 1 s. */
  readonly shortestWalltimeSeconds?: number
  /** A memory limit, and an amount well above it that the machine can give. Default 256 and 640 MiB. */
  readonly memory?: { readonly limitMb: number; readonly allocateMb: number }
  /** Jobs of the claims on many jobs. Default 60. */
  readonly manyJobs?: number
  /** How long a claim waits for something to happen. Default 30 000 ms. */
  readonly deadlineMs?: number
}

// ---------------------------------------------------------------- stores

/** One store under test, made fresh for each claim. */
export interface StoreLab {
  readonly store: DataStore

  /** Put these projects into the archive, by whatever way it has; they are visible to `store` when this returns. */
  seed(projects: readonly SeedProject[]): Promise<void>

  /** A second, independent client of the same archive. Default: `store` itself. */
  second?(): Promise<DataStore>

  /** Take the archive away, or give it back. Without it the outage claims are left out. */
  outage?(away: boolean): Promise<void>

  /** Bytes of file content that the archive has been sent so far. Default: counted by `onProgress`. */
  bytesReceived?(): Promise<number>

  dispose(): Promise<void>
}

export interface StoreHarness {
  create(): Promise<StoreLab>
  /** `seed` can make hidden projects. Default `false`. */
  readonly seedsHidden?: boolean
  /**
   * Size of the large file, and how much the memory of this process may grow while it is sent and fetched.
   * Default 64 MiB and 56 MiB. `undefined` growth: not measured, for stores that live in memory.
   */
  readonly largeFile?: { readonly bytes: number; readonly maxGrowthBytes: number | undefined }
  /** Files of the claim on many small files. Default 300. */
  readonly manyFiles?: number
  /** Labels the archive takes beside the kit's plain ones, to be given back exactly. Default: a set of awkward ones. */
  readonly awkwardLabels?: readonly string[]
  /** The archive takes labels of letters, digits, `-` and `_` only. Default: `false`. */
  readonly plainLabelsOnly?: boolean
  /** Where the results of the claims hang. Default: `session`. */
  readonly resultsOn?: 'session' | 'subject' | 'project'
}

// ---------------------------------------------------------------- transports

/** One transport under test, made fresh for each claim. */
export interface TransportLab {
  readonly transport: Transport
  /** An empty folder on the far side. Absolute, without links on its way. */
  readonly folder: string
  /** An empty folder of this machine. */
  readonly localFolder: string
  /** Without commands (an in-memory transport) the chapter on commands claims that they are refused. Default `true`. */
  readonly runsCommands?: boolean
  /** Make a symbolic link on the far side, where it has them. */
  link?(target: string, path: string): Promise<void>
  /** The permission bits of a file or folder on the far side. */
  mode?(path: string): Promise<number>
  dispose(): Promise<void>
}

export interface TransportHarness {
  create(): Promise<TransportLab>
  readonly largeFile?: { readonly bytes: number; readonly maxGrowthBytes: number | undefined }
}

// ---------------------------------------------------------------- journals

/** One journal under test, made fresh for each claim. */
export interface JournalLab {
  readonly journal: Journal
  /** The same state again, as after a kill. Without it the claims on durability are left out. */
  reopen?(): Promise<Journal>
  /**
   * A lease holder: `this` process (the same one each time), another `living` process of this machine, a `dead` process
   * of this machine, a process of an `other-host`.
   */
  holder(kind: 'this' | 'living' | 'dead' | 'other-host', heartbeatMs: number): Promise<LeaseHolder>
  dispose(): Promise<void>
}

export interface JournalHarness {
  create(): Promise<JournalLab>
}
