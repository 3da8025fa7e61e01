/** The files that `init` and `demo` write. */

export interface SiteAnswers {
  readonly name: string
  readonly archive: string
  readonly workRoot: string
  readonly projects: readonly string[]
  readonly processors: readonly string[]
  /** Write a profile for each kind of cluster, and for an XNAT of this machine. */
  readonly demoProfiles?: { readonly xnatPort: number }
}

const SCRATCH_PROFILE = `# The same processors elsewhere: orbweaver run --profile scratch
# profiles:
#   scratch:
#     store: { use: folder, path: ./scratch-archive }
#     workRoot: ./scratch-work
`

const demoProfiles = (
  port: number,
): string => `# The same work elsewhere: orbweaver run --profile slurm. Yours to edit: partition, account, queue, url.
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
  # An XNAT as the archive. While nothing listens at this address, \`orbweaver demo\` starts a sandbox there.
  xnat:
    store: { use: xnat, url: "http://127.0.0.1:${port}" }
    workRoot: ./xnat-work
  # The same XNAT, and the jobs on Slurm: they never talk to the archive, so nodes need not reach it.
  xnat-slurm:
    store: { use: xnat, url: "http://127.0.0.1:${port}" }
    cluster: { use: slurm }
    workRoot: ./xnat-work
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

${answers.demoProfiles === undefined ? SCRATCH_PROFILE : demoProfiles(answers.demoProfiles.xnatPort)}`
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
