/**
 * The `orbweaver` command, for programs that build on it: the composition root and the program itself.
 *
 * @packageDocumentation
 */

export { KNOWN_ADAPTERS, loadAdapter, ourAdapters } from './adapters.js'
export { buildContainer, type ContainerOptions, type Services } from './container.js'
export { EXIT } from './exit.js'
export { createProgram, type Program, type ProgramOptions } from './program.js'
export { findSite, openSite } from './site.js'
export { Terminal, type OutputStream, type TerminalOptions } from './terminal/terminal.js'
