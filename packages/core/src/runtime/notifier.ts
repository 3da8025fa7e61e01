import type { Notifier } from '../ports/services.js'

/** Tells nobody. */
export const silentNotifier: Notifier = { notify: () => Promise.resolve() }
