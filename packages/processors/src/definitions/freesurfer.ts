import { SessionProcessor, one, type ContainerDeclaration, type ProcessorContext } from '@orbweaver/core'

export interface FreesurferOptions {
  /** Absolute path of the site's FreeSurfer licence on the cluster. Default: FreeSurfer's own place. */
  readonly license?: string
  /** Run in this container in place of the FreeSurfer installed at the site. */
  readonly image?: string
}

const LICENSE_IN_CONTAINER = '/license.txt'

/** Cortical reconstruction of a session's T1 by the site's own FreeSurfer 7.4.1. */
export class FreesurferProcessor extends SessionProcessor {
  readonly name = 'freesurfer'
  readonly version = '7.4.1'
  override readonly description = 'Cortical reconstruction (recon-all) of the T1 of a session.'
  override readonly requirements = { cpus: 4, memory: '4096 MB', walltime: '24h' }
  readonly inputs = {
    t1: one({
      scan: { type: ['T1*', 'MPRAGE*'] },
      resource: 'NIFTI',
      files: ['*.nii', '*.nii.gz'],
      orFrom: { type: 'dcm2niix' },
    }),
  }
  readonly outputs = { DATA: { path: 'subject/', required: true }, STATS: { path: 'subject/stats/*.stats' } }
  override readonly programs: readonly string[]
  override readonly environment: Readonly<Record<string, string>>
  declare readonly container?: ContainerDeclaration

  constructor({ license, image }: FreesurferOptions = {}) {
    super()
    this.programs = image === undefined ? ['recon-all'] : []
    const seen = image === undefined ? license : LICENSE_IN_CONTAINER
    this.environment = license === undefined || seen === undefined ? {} : { FS_LICENSE: seen }
    if (image !== undefined) {
      const binds = license === undefined ? [] : [`${license}:${LICENSE_IN_CONTAINER}`]
      this.container = { image, binds }
    }
  }

  command({ inputs, workspace, requirements }: ProcessorContext<this>): readonly string[] {
    const threads = String(requirements.cpus)
    const where = ['-s', 'subject', '-sd', workspace.outputs]
    return ['recon-all', ...where, '-i', inputs.t1.path, '-all', '-parallel', '-openmp', threads]
  }
}
