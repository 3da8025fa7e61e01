/** Words of a shell: the one place where a text of any origin becomes part of a script. */

/**
 * One word of POSIX shell that stands for exactly this text, whatever it holds: blanks, quotes, `$`, newlines, nothing.
 *
 * @throws TypeError the text holds a NUL character, which no argument can
 */
export function shellQuote(text: string): string {
  if (text.includes('\0'))
    throw new TypeError('a word of a command holds a NUL character, which no program can be given')
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** Names a shell can export. Others are dropped by some shells (dash) and kept by others (bash). */
export const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** Variables that bash makes read-only or acts upon at its start: setting them ends the script. */
export const SHELL_OWN_VARIABLES: ReadonlySet<string> = new Set([
  'BASHOPTS',
  'EUID',
  'PPID',
  'SHELLOPTS',
  'UID',
])

/** Why a name cannot be that of a job's variable, or undefined when it can. */
export function variableNameProblem(name: string): string | undefined {
  if (!VARIABLE_NAME.test(name)) return 'a name is letters, digits and _, and does not begin with a digit'
  if (SHELL_OWN_VARIABLES.has(name)) return 'the shell keeps it for itself'
  return name.startsWith('ow_') ? 'names that begin with ow_ belong to the job script' : undefined
}

/**
 * A shell program as a template literal. Backslashes stay as they are, and `@{` stands for `${`, which would be a
 * substitution here.
 */
export function shellProgram(strings: TemplateStringsArray): string {
  return (strings.raw[0] ?? '').replaceAll('@{', '${')
}
