/** What a job is told of itself: the paths of its output, its variables. */

import { join } from 'node:path'
import type { FakeNode, FakeSite, Job } from './model.js'

/** `%j`, `%A_%a` and the like, filled in. */
export function outputPath(job: Job, pattern: string): string {
  const { rawId, arrayId, index, wish } = job
  const values: Readonly<Record<string, string>> = {
    '%': '%',
    j: String(rawId),
    A: String(arrayId ?? rawId),
    a: String(index ?? 4_294_967_294),
    x: wish.name,
    u: wish.user,
    N: job.node ?? '',
  }
  const path = pattern.replace(/%(\d*)([%jAaxuN])/g, (_all, width: string, letter: string) =>
    (values[letter] ?? '').padStart(Number(width), '0'),
  )
  return path.startsWith('/') ? path : join(wish.directory, path)
}

/** @param indices - of all elements of its array */
export function environmentOf(
  job: Job,
  node: FakeNode,
  site: FakeSite,
  indices: readonly number[],
): Readonly<Record<string, string>> {
  const { wish, rawId, arrayId, index } = job
  const gpus = Array.from({ length: wish.gpus }, (_, number) => number).join(',')
  return {
    ...wish.environment,
    TMPDIR: wish.environment['TMPDIR'] ?? '/tmp',
    SLURM_JOB_ID: String(rawId),
    SLURM_JOBID: String(rawId),
    SLURM_JOB_NAME: wish.name,
    SLURM_JOB_USER: wish.user,
    SLURM_JOB_PARTITION: wish.partitions[0] ?? '',
    SLURM_JOB_ACCOUNT: wish.account,
    SLURM_JOB_NODELIST: node.name,
    SLURM_JOB_NUM_NODES: '1',
    SLURM_NTASKS: '1',
    SLURM_CPUS_PER_TASK: String(wish.cpus),
    SLURM_CPUS_ON_NODE: String(wish.cpus),
    SLURM_MEM_PER_NODE: String(wish.memoryMb),
    SLURM_CLUSTER_NAME: site.clusterName,
    SLURM_SUBMIT_DIR: wish.directory,
    SLURMD_NODENAME: node.name,
    ...(job.restarts > 0 && { SLURM_RESTART_COUNT: String(job.restarts) }),
    ...(gpus !== '' && { CUDA_VISIBLE_DEVICES: gpus, SLURM_JOB_GPUS: gpus }),
    ...(index !== undefined && {
      SLURM_ARRAY_JOB_ID: String(arrayId),
      SLURM_ARRAY_TASK_ID: String(index),
      SLURM_ARRAY_TASK_COUNT: String(indices.length),
      SLURM_ARRAY_TASK_MIN: String(Math.min(...indices)),
      SLURM_ARRAY_TASK_MAX: String(Math.max(...indices)),
    }),
  }
}
