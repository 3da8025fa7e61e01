/**
 * What the far side is told to run: the one place where words become text for a remote shell.
 *
 * `exec` of SSH takes one text, which the account's own shell reads: bash, tcsh, fish, anything. That text is therefore
 * always the same few harmless characters, {@link REMOTE_COMMAND}; the real words follow as the first line of standard
 * input, read by `/bin/sh`. They are thereby in no process list and no log of the server, and have no length limit there.
 */

import { shellQuote } from '@orbweaver/core'

/** Understood alike by sh, bash, dash, ksh, zsh, csh, tcsh and fish. */
export const REMOTE_COMMAND = `exec /bin/sh -c 'IFS= read -r ow_line && eval "$ow_line"'`

/** Longer lines are not read byte by byte, as `read` must. */
const LONG_LINE = 32 * 1024

export interface RemoteCommand {
  readonly argv: readonly string[]
  readonly directory?: string
  readonly environment?: Readonly<Record<string, string>>
  /** Folders in front of the account's PATH. */
  readonly path?: readonly string[]
  /** Variables of the account's environment that go on to the program. */
  readonly keep?: readonly string[]
  /**
   * The program does not start before this side knows its process and says so, with the token on a line. One exchange more;
   * in return a connection that breaks never leaves a program behind that nobody can look after.
   */
  readonly known?: boolean
}

/** Words that come back before the program starts. */
export type StartWord = 'ok' | 'no-folder' | 'no-entry' | 'no-program' | 'no-access'

/**
 * The first line of standard input. What start-up files print before is told apart by the token: on standard output come
 * `TOKEN pid group start boot` and `TOKEN word`, on standard error `TOKEN`, each on a line; then the program's own output.
 * `start` and `boot` tell this process from any other that may have its number later, or on another machine.
 *
 * The program has a process group of its own: sshd makes one, `setsid` does where a server does not.
 */
export function remoteLine(command: RemoteCommand, token: string): string {
  const program = programPart(command, token)
  const whole = [
    'umask 077',
    'ow_s=',
    'read -r ow_s 2>/dev/null </proc/$$/stat',
    'set -f',
    'set -- ${ow_s##*) }',
    'ow_g=${3:-0}',
    'ow_t=${20:-0}',
    'ow_b=-',
    'read -r ow_b 2>/dev/null </proc/sys/kernel/random/boot_id',
    'ow_e=',
    `[ "$ow_g" = $$ ] || { command -v setsid >/dev/null 2>&1 && { ow_e="exec setsid /bin/sh -c"; ow_g=$$; }; }`,
    `printf "%s %s %s %s %s\\n" ${token} $$ "$ow_g" "$ow_t" "\${ow_b:--}"`,
    `printf "%s\\n" ${token} >&2`,
    ...(command.known === true ? [`IFS= read -r ow_r && [ "$ow_r" = ${token} ] || exit 125`] : []),
    `ow_p=${quote(program)}`,
    'if [ -n "$ow_e" ]; then $ow_e "$ow_p"; else eval "$ow_p"; fi',
  ].join('; ')
  const bytes = Buffer.byteLength(whole)
  return bytes < LONG_LINE ? `${whole}\n` : `eval "$(head -c ${bytes})"\n${whole}`
}

function programPart(
  { argv, directory, environment = {}, path = [], keep = [] }: RemoteCommand,
  token: string,
): string {
  const say = (word: StartWord): string => `printf "%s %s\\n" ${token} ${word}`
  const front = path.map((folder) => `${folder}:`).join('')
  const { PATH: ownPath, ...variables } = environment
  const setPath = ownPath === undefined ? `PATH=${quote(front)}"$PATH"` : `PATH=${quote(ownPath)}`
  const assigned = Object.entries(variables).map(([name, value]) => quote(`${name}=${value}`))
  const kept = keep
    .filter((name) => !Object.hasOwn(environment, name))
    // ${X+"X=$X"}: nothing when it is not set.
    .map((name) => `\${${name}+"${name}=$${name}"}`)
  const minimal = ['PATH="$PATH"', 'HOME="$HOME"', 'LANG=C.UTF-8', 'LC_ALL=C.UTF-8']
  const assignments = [...minimal, ...kept, ...assigned].join(' ')
  // `env` takes a word with `=` for an assignment.
  const start = (argv[0] ?? '').includes('=') ? `/bin/sh -c ${quote('exec "$0" "$@"')} "$@"` : '"$@"'
  return [
    'ow_n=$(printf "\\nx")',
    'ow_n=${ow_n%x}',
    ...(directory === undefined
      ? []
      : [
          `cd -- ${quote(directory)} 2>/dev/null || ` +
            `{ if [ -d ${quote(directory)} ]; then ${say('no-entry')}; else ${say('no-folder')}; fi; exit 127; }`,
        ]),
    `set -- ${argv.map(quote).join(' ')}`,
    'ow_env=/usr/bin/env',
    '[ -x "$ow_env" ] || ow_env=env',
    setPath,
    'ow_w=no-program',
    'case $1 in */*) if [ -d "$1" ]; then ow_w=no-access; elif [ -x "$1" ]; then ow_w=ok; elif [ -e "$1" ]; then ow_w=no-access; fi;; ' +
      '*) IFS=:; for ow_d in $PATH; do if [ -f "${ow_d:-.}/$1" ]; then if [ -x "${ow_d:-.}/$1" ]; then ow_w=ok; break; fi; ow_w=no-access; fi; done; unset IFS;; esac',
    `printf "%s %s\\n" ${token} $ow_w`,
    '[ $ow_w = ok ] || exit 127',
    `exec "$ow_env" -i ${assignments} ${start}`,
  ].join('; ')
}

/** A word without a line break in its text: the line has only one, at its end. */
function quote(text: string): string {
  return shellQuote(text).replaceAll('\n', `'"$ow_n"'`)
}

/**
 * Ends a process group: politely, then for good. `kill` of a shell takes a negative number for a group.
 *
 * @param group - 0: not known, then only the process
 */
export function endScript(pid: number, group: number, graceMs: number): string {
  return `${endWords(group > 0 ? `-${group}` : String(pid), graceMs)}; exit 0`
}

/** The same for a target that a script has in hand. */
export function endWords(target: string, graceMs: number): string {
  const rounds = Math.max(1, Math.round(graceMs / 100))
  return (
    `kill -s TERM -- ${target} 2>/dev/null; ow_i=0; ` +
    `while kill -s 0 -- ${target} 2>/dev/null && [ $ow_i -lt ${rounds} ]; do sleep 0.1; ow_i=$((ow_i+1)); done; ` +
    `kill -s KILL -- ${target} 2>/dev/null`
  )
}
