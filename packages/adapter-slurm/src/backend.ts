/** Slurm as a cluster backend: the dialect, run by the class that runs all of them. */

import { join } from 'node:path'
import type { Clock, Logger, Transport } from '@orbweaver/core'
import { CommandLineBackend, type CommandLineBackendOptions } from '@orbweaver/core/command-line'
import { slurmConfig, type SlurmConfig } from './config.js'
import { slurmDialect } from './dialect.js'

export interface SlurmBackendOptions {
  /** As `slurmConfig` reads it: seconds. What is left out has its default. */
  readonly config?: Partial<SlurmConfig>
  /** Runs the programs, and reaches the file system that the nodes see. */
  readonly transport: Pick<Transport, 'runner' | 'files'>
  readonly clock: Clock
  readonly logger?: Logger
  /** Visible from the nodes. What is in an array is written down in `.orbweaver-slurm` below it. */
  readonly workRoot: string
  /** Folder on this machine: in `slurm-health.json` other processes see when Slurm does not answer. */
  readonly stateDirectory?: string
  /** How the commands are run: times, retries, circuit breaker. */
  readonly commands?: Pick<
    CommandLineBackendOptions,
    'retry' | 'breaker' | 'concurrency' | 'limitsMs' | 'random' | 'environment'
  >
}

/** Folder below the work root for the backend's own files. */
export const STATE_FOLDER = '.orbweaver-slurm'

/**
 * Jobs on Slurm, through its programs.
 *
 * The environment of a job: PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin, LANG=C.UTF-8, HOME, USER,
 * LOGNAME, SHELL, TMPDIR and KRB5CCNAME as on the node, all SLURM_* variables of the job, the variables by which GPUs are
 * given, SLURM_EXPORT_ENV=ALL (so that `srun` in the job hands on what it has), `environment` of the configuration, and the
 * variables of the spec, which win.
 */
export function createSlurmBackend(options: SlurmBackendOptions): CommandLineBackend {
  const config: SlurmConfig = { ...slurmConfig.parse({}), ...options.config }
  return new CommandLineBackend({
    dialect: slurmDialect(config),
    transport: options.transport,
    clock: options.clock,
    ...(options.logger !== undefined && { logger: options.logger }),
    stateFolder: `${options.workRoot.replace(/\/+$/, '')}/${STATE_FOLDER}`,
    ...(config.user !== undefined && { user: config.user }),
    ...(options.stateDirectory !== undefined && {
      healthFile: join(options.stateDirectory, 'slurm-health.json'),
    }),
    arrays: config.arrays,
    timeoutMs: config.commandTimeout * 1000,
    historyMs: config.history * 1000,
    ...options.commands,
  })
}
