import type { ContainerModule } from 'inversify'
import type { z } from 'zod'

export type AdapterKind = 'cluster-backend' | 'data-store' | 'transport' | 'notifier'

/**
 * The default export of an adapter package. `cli` imports it by the name after `use:` in the site file; ours are loaded
 * the same way as anybody's.
 */
export interface AdapterDescriptor<Schema extends z.ZodObject = z.ZodObject> {
  readonly kind: AdapterKind
  /** The word after `use:`. */
  readonly name: string
  /** A strict object without `use` (and without `transport`): the options of this adapter with their defaults. */
  readonly configSchema: Schema
  /** Binds the port's token (see tokens.ts) once. Relative paths in `config` are relative to `context.siteDirectory`. */
  module(config: z.output<Schema>, context: AdapterContext): ContainerModule
}

export interface AdapterContext {
  /** Folder of the site file. */
  readonly siteDirectory: string
  /** Folder on this machine for the adapter's own state; exists, mode 0700. */
  readonly stateDirectory: string
  /** The site's work root, as seen from the cluster. */
  readonly workRoot: string
  /** Name of the site. */
  readonly site: string
}

/** A package with several adapters exports an array of them by default. */
export type AdapterExport = AdapterDescriptor | readonly AdapterDescriptor[]

export function defineAdapter<Schema extends z.ZodObject>(
  descriptor: AdapterDescriptor<Schema>,
): AdapterDescriptor {
  return descriptor
}
