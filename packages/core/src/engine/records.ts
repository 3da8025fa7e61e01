/** The archive's record of each task: written only over what we have read, so that nobody's change is lost. */

import type { ArchiveRef } from '../domain/archive.js'
import { canBecome, type TaskRecord, type TaskState } from '../domain/task.js'
import { ConflictError, NotFoundError, PipelineError } from '../errors.js'
import type { AssessorDetail, DataStore } from '../ports/data-store.js'
import type { Clock } from '../ports/services.js'
import type { Decision } from './plan.js'

/** How often a write is repeated because somebody else wrote in between. People do not edit that fast. */
const CONFLICT_TRIES = 6

export class Records {
  /** What we last read or wrote, by task label; only of tasks with an open attempt. */
  private readonly live = new Map<string, { readonly record: TaskRecord; readonly revision: string }>()

  constructor(
    private readonly store: DataStore,
    private readonly clock: Clock,
    /** The archive found out that another engine wrote over what was written here. */
    private readonly onOverwritten: (error: ConflictError) => void = () => undefined,
  ) {}

  /** The first record of a task. */
  first(
    decision: Decision,
    params: Readonly<Record<string, unknown>>,
    state: TaskState,
    reason: string,
  ): TaskRecord {
    const { task } = decision
    if (task === undefined) throw new TypeError('a decision without a task has no record')
    const nowMs = this.clock.now()
    return {
      schema: 1,
      label: task.label,
      procType: task.procType,
      procVersion: decision.procVersion,
      target: task.target,
      inputs: task.inputs,
      params,
      state,
      reason,
      attempt: 0,
      failures: {},
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
    }
  }

  /** Make the assessor, or read the one that is there. */
  async ensure(
    decision: Decision,
    params: Readonly<Record<string, unknown>>,
    state: TaskState,
    reason: string,
    signal?: AbortSignal,
  ): Promise<AssessorDetail & { readonly created: boolean }> {
    const { task } = decision
    if (task === undefined) throw new TypeError('a decision without a task has no record')
    const options = signal === undefined ? {} : { signal }
    if (decision.revision !== undefined) {
      return this.remember({ ...(await this.store.readAssessor(task.ref, options)), created: false })
    }
    const record = this.first(decision, params, state, reason)
    const scans = task.inputs.flatMap(({ sources }) =>
      sources.flatMap(({ node, standsFor }) => {
        const scan = standsFor?.node ?? node
        return scan.scan !== undefined &&
          scan.session === task.ref.session &&
          scan.subject === task.ref.subject
          ? [scan.scan]
          : []
      }),
    )
    return this.remember(
      await this.store.createAssessor(
        task.ref,
        { procType: task.procType, procVersion: decision.procVersion, scans: [...new Set(scans)], record },
        options,
      ),
    )
  }

  /** From memory, else from the archive. Undefined: the assessor is gone, or is not one of ours. */
  async get(ref: ArchiveRef, signal?: AbortSignal): Promise<TaskRecord | undefined> {
    const known = this.live.get(ref.assessor ?? '')
    if (known !== undefined) return known.record
    try {
      return this.remember(await this.store.readAssessor(ref, signal === undefined ? {} : { signal })).record
    } catch (error) {
      if (error instanceof NotFoundError) return undefined
      throw error
    }
  }

  /**
   * Change a record. `change` may be called again with a newer record when somebody wrote in between; it returns undefined
   * to leave things as they are.
   *
   * @returns the record as it now is; undefined when the assessor is gone
   */
  async write(
    ref: ArchiveRef,
    change: (record: TaskRecord) => TaskRecord | undefined,
    options: { readonly signal?: AbortSignal; readonly quality?: string } = {},
  ): Promise<TaskRecord | undefined> {
    const label = ref.assessor ?? ''
    const callOptions = options.signal === undefined ? {} : { signal: options.signal }
    for (let tries = 1; ; tries += 1) {
      const record = await this.get(ref, options.signal)
      const revision = this.live.get(label)?.revision
      if (record === undefined || revision === undefined) return undefined
      const next = change(record)
      if (next === undefined) return record
      if (!canBecome(record.state, next.state)) {
        throw new PipelineError(
          'INTERNAL',
          false,
          `Task ${label} cannot go from ${record.state} to ${next.state}.`,
          {
            details: { label, from: record.state, to: next.state },
          },
        )
      }
      const stamped = { ...next, updatedAtMs: this.clock.now() }
      const update = {
        record: stamped,
        ...(options.quality !== undefined && { quality: options.quality }),
      }
      try {
        const node = await this.store.updateAssessor(ref, update, revision, callOptions)
        this.live.set(label, { record: stamped, revision: node.revision })
        return stamped
      } catch (error) {
        this.live.delete(label)
        if (error instanceof NotFoundError) return undefined
        if (error instanceof ConflictError && error.details['overwritten'] === true) this.onOverwritten(error)
        if (!(error instanceof ConflictError) || tries >= CONFLICT_TRIES) throw error
      }
    }
  }

  forget(label: string): void {
    this.live.delete(label)
  }

  private remember<T extends AssessorDetail>(detail: T): T {
    if (detail.record !== undefined) {
      this.live.set(detail.node.label, { record: detail.record, revision: detail.node.revision })
    }
    return detail
  }
}
