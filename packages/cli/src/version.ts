import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** Version of this program. */
export const VERSION = versionOf('../package.json')

/** The version in a package.json, as `@orbweaver/core/package.json`. */
export function versionOf(manifest: string): string {
  const { version } = require(manifest) as { readonly version: string }
  return version
}
