import { DEFAULT_REQUIREMENTS, type JobSpec } from '@orbweaver/core'
import type { Reply, SubmitContext } from '@orbweaver/core/command-line'
import { pbsConfig, pbsDialect, type Flavour, type PbsConfig } from '@orbweaver/adapter-pbs'

export const config = (more: Partial<PbsConfig> = {}): PbsConfig => ({ ...pbsConfig.parse({}), ...more })

export const dialect = (flavour: Flavour, more: Partial<PbsConfig> = {}) =>
  pbsDialect(config(more), { flavour, ended: true, elements: flavour === 'openpbs', server: 'pbs01' })

export const spec = (name: string, more: Partial<JobSpec> = {}): JobSpec => ({
  name,
  command: ['/bin/sh', `/data/${name}/job.sh`],
  directory: `/data/${name}`,
  stdoutPath: `/data/${name}/out.txt`,
  stderrPath: `/data/${name}/err.txt`,
  requirements: DEFAULT_REQUIREMENTS,
  ...more,
})

export const submitContext: SubmitContext = {
  limits: { source: {} },
  arraySize: 1000,
  token: 'mwvnhj3w-f20bccc9',
  stateFolder: '/data/.orbweaver-pbs',
}

export const replyOf = (more: Partial<Reply> = {}): Reply => ({
  exitCode: 0,
  stdout: '',
  stderr: '',
  ...more,
})
