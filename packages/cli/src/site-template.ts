/** The files that `init` and `demo` write. */

export interface SiteAnswers {
  readonly name: string
  readonly archive: string
  readonly workRoot: string
  readonly projects: readonly string[]
  readonly processors: readonly string[]
  /** Write a profile for each kind of cluster. */
  readonly clusterProfiles?: boolean
}

const SCRATCH_PROFILE = `# The same processors elsewhere: orbweaver run --profile scratch
# profiles:
#   scratch:
#     store: { use: folder, path: ./scratch-archive }
#     workRoot: ./scratch-work
`

const CLUSTER_PROFILES = `# The same work on a cluster: orbweaver run --profile slurm. Yours to edit: partition, account, queue.
profiles:
  # Where sbatch is on the PATH, and the nodes see this folder under the same path.
  slurm:
    cluster: { use: slurm }
  # Where qsub is on the PATH.
  pbs:
    cluster: { use: pbs }
  # Slurm behind a login node: "cluster" is a host of ~/.ssh/config, workRoot is a folder there.
  remote-slurm:
    cluster: { use: slurm, transport: { use: ssh, host: cluster } }
    workRoot: /scratch/orbweaver-demo
`

/** One YAML scalar. JSON's strings are YAML too, so whatever could be read as something else is written so. */
function scalar(text: string): string {
  const plain =
    /^[A-Za-z./][\w./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|[yn]|\.(inf|nan))$/i.test(text)
  return plain ? text : JSON.stringify(text)
}

const flow = (words: readonly string[]): string => `[${words.map(scalar).join(', ')}]`

export function siteFileText(answers: SiteAnswers): string {
  return `# The site: which archive, which cluster, which processors. Check it with: orbweaver check
# For completion in your editor run \`orbweaver schema site > site.schema.json\` and write as the first line here:
#   "# yaml-language-server: $schema=./site.schema.json"

site: ${scalar(answers.name)}

# Where the images are and the results go. Paths are relative to this file.
store:
  use: folder
  path: ${scalar(answers.archive)}

# Where jobs run: on this machine, as many at once as it has cores and memory for.
cluster:
  use: local

# One folder per attempt is made here; those of complete tasks are removed, those of failed ones kept for a while.
workRoot: ${scalar(answers.workRoot)}

# Which processors run on which projects. Ready ones by name, your own by path.
projects:
${answers.projects.map((project) => `  - id: ${scalar(project)}\n    processors: ${flow(answers.processors)}`).join('\n')}

${answers.clusterProfiles === true ? CLUSTER_PROFILES : SCRATCH_PROFILE}`
}

export const HELLO_PROCESSOR = `# A first processor: lists the files of one scan of every session. Try it, without touching the archive:
#   orbweaver try ./processors/hello.yaml --session YOUR_SESSION

name: hello
version: 1.0.0
level: session
description: Lists the files of the first scan.

# The first scan of any type that has images.
inputs:
  image: { scan: { type: "*" }, resource: [NIFTI, DICOM], pick: first }

requirements: { cpus: 1, memory: 512 MiB, walltime: 10m }

# A list of words, no shell text: {inputs.image.dir} and {outputs} become folders of the job.
command: [sh, -c, 'ls -l "$1" > "$2/listing.txt"', hello, "{inputs.image.dir}", "{outputs}"]

# What becomes a resource of the result in the archive.
outputs:
  TEXT: { path: listing.txt, required: true }
`
