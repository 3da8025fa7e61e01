/** Options of every call that waits. */
export interface CallOptions {
  /** Aborts the wait. The call rejects with the signal's reason and leaves nothing half done that a repeat would trip over. */
  readonly signal?: AbortSignal
}
