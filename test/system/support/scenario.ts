/** What scenarios on schedulers say and wait for. */

import { expect } from 'chai'
import { setTimeout as pause } from 'node:timers/promises'
import type { CliResult } from './cli.js'
import type { ClusterSite, TaskOnCluster } from './cluster-site.js'

/** A job that goes on until a file is in the folder of its site. */
export const untilFile = (name: string): string => `while [ ! -e "$SITE/${name}" ]; do sleep 0.2; done`

export async function ended(run: { readonly ended: Promise<CliResult> }, code: number): Promise<CliResult> {
  const result = await run.ended
  expect(result.code, `${result.stderr}\n${result.stdout}`).to.equal(code)
  return result
}

/** The only task of a site, which must fail, once. */
export async function failure(site: ClusterSite): Promise<TaskOnCluster> {
  await ended(site.run(), 1)
  const task = await site.task()
  expect(task, JSON.stringify(task)).to.include({ state: 'failed', attempt: 1 })
  expect(site.executions()).to.have.length(1)
  return task
}

export function tells(task: TaskOnCluster, source: string, text: RegExp): void {
  const told = task.cause?.evidence.filter((one) => one.source === source).map((one) => one.text) ?? []
  expect(told.join('\n'), JSON.stringify(task.cause)).to.match(text)
}

/** Waits for a condition; what is asked may throw meanwhile no more than the last time. */
export async function until(ready: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await ready())) await pause(100)
}

/** Wait until `status` says that the scheduler does not answer. */
export async function untilUnwell(site: ClusterSite): Promise<void> {
  await until(async () => {
    const { stdout, stderr } = await site.ask(['status'])
    return /does not answer/.test(stdout + stderr)
  })
}

/** States of all tasks of a site, sorted. */
export async function states(site: ClusterSite): Promise<readonly string[]> {
  return (await site.tasks()).map(({ state }) => state).sort()
}

export interface Signal {
  readonly done: Promise<void>
  give(): void
}

export function signal(): Signal {
  let give = (): void => undefined
  const done = new Promise<void>((resolve) => (give = resolve))
  return { done, give: () => give() }
}
