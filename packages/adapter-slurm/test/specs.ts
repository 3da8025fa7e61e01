import { DEFAULT_REQUIREMENTS, type JobSpec } from '@orbweaver/core'
import type { Reply, SubmitContext } from '@orbweaver/core/command-line'
import { slurmConfig, type SlurmConfig } from '@orbweaver/adapter-slurm'

export const config = (more: Partial<SlurmConfig> = {}): SlurmConfig => ({
  ...slurmConfig.parse({}),
  ...more,
})

export function spec(name: string, more: Partial<JobSpec> = {}): JobSpec {
  return {
    name,
    command: ['/bin/sh', `/work/${name}/job.sh`],
    directory: `/work/${name}`,
    stdoutPath: `/work/${name}/log/stdout.txt`,
    stderrPath: `/work/${name}/log/stderr.txt`,
    requirements: DEFAULT_REQUIREMENTS,
    ...more,
  }
}

export const context = (more: Partial<SubmitContext> = {}): SubmitContext => ({
  limits: { source: {} },
  arraySize: 1000,
  token: 'mwvnhj3w-f20bccc9',
  stateFolder: '/work/.orbweaver-slurm',
  ...more,
})

export const reply = (more: Partial<Reply> = {}): Reply => ({ exitCode: 0, stdout: '', stderr: '', ...more })
