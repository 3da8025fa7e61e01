/** The folder of one attempt. Paths are of the side where jobs run, always with `/`. */

export interface WorkspacePaths {
  readonly root: string
  /** What the job is to do: inputs, parameters, folders. See docs/reference/job.md. */
  readonly task: string
  readonly script: string
  readonly inputs: string
  readonly outputs: string
  readonly tmp: string
  readonly stdout: string
  readonly stderr: string
  readonly started: string
  readonly exit: string
}

/** `<workRoot>/<project>/<task label>/<attempt>/…`; labels were checked before. */
export function workspacePaths(
  workRoot: string,
  project: string,
  label: string,
  attempt: number,
): WorkspacePaths {
  return pathsOf([workRoot.replace(/\/+$/, ''), project, label, String(attempt)].join('/'))
}

/** The same for any folder: for `try` and for scripts of one's own. */
export function pathsOf(root: string): WorkspacePaths {
  return {
    root,
    task: `${root}/task.json`,
    script: `${root}/job.sh`,
    inputs: `${root}/inputs`,
    outputs: `${root}/outputs`,
    tmp: `${root}/tmp`,
    stdout: `${root}/log/stdout.txt`,
    stderr: `${root}/log/stderr.txt`,
    started: `${root}/started.json`,
    exit: `${root}/exit.json`,
  }
}
