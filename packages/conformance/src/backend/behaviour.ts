/** What the jobs of the claims do, as a real program: one fixed shell script; everything that varies is an argument. */

import type { JobBehaviour } from '../harness.js'

// Endless waits end by themselves after five minutes, so that a failing backend leaves no process behind for ever.
// The innermost child ignores the polite signal: a cancel has to mean it.
const SCRIPT = String.raw`
mark=$1 text=$2 error=$3 family=$4 awaited=$5 signal=$6 code=$7 names=$8
shift 8
if [ -n "$mark" ]; then echo run >> "$mark" || exit 97; fi
if [ -n "$text" ]; then printf '%s\n' "$text"; fi
if [ -n "$error" ]; then printf '%s\n' "$error" >&2; fi
if [ "$names" != - ]; then
  for word in "$@"; do printf '%s\n' "$word"; done
  pwd
  for name in $names; do eval "printf '%s\n' \"\${$name-}\""; done
fi
if [ -n "$family" ]; then
  echo $$ >> "$family"
  sh -c 'echo $$ >> "$1"
         sh -c "trap \"\" TERM; echo \$\$ >> \"\$1\"; exec sleep 300" child "$1" &
         wait' parent "$family" &
fi
if [ -n "$awaited" ]; then
  rounds=0
  while [ ! -e "$awaited" ] && [ "$rounds" -lt 1500 ]; do sleep 0.2; rounds=$((rounds + 1)); done
elif [ -n "$family" ]; then
  wait
fi
if [ -n "$signal" ]; then kill -s "$signal" $$; fi
exit "$code"
`

const MEMORY_SCRIPT = `
const [megabytes, awaited, code] = process.argv.slice(1)
const held = []
for (let left = Number(megabytes); left > 0; left -= 16) held.push(Buffer.alloc(Math.min(left, 16) * 1048576, 1))
const { existsSync } = require('node:fs')
const look = () => {
  if (awaited === '' || existsSync(awaited)) process.exit(Number(code) + (held.length < 0 ? 1 : 0))
  setTimeout(look, 100)
}
setTimeout(() => process.exit(96), 300000).unref()
setTimeout(look, 300)
`

/**
 * The command of a behaviour for nodes with `/bin/sh`; `allocateMb` needs Node.js as well.
 *
 * @param node - path of `node` on the node. Default: the one that runs the kit
 */
export function shellCommand(behaviour: JobBehaviour, node: string = process.execPath): readonly string[] {
  if (behaviour.allocateMb !== undefined) {
    return [
      node,
      '-e',
      MEMORY_SCRIPT,
      String(behaviour.allocateMb),
      behaviour.waitFor ?? '',
      String(behaviour.exit ?? 0),
    ]
  }
  const variables = behaviour.report?.variables ?? []
  const odd = variables.find((name) => !/^[A-Z_][A-Z0-9_]*$/.test(name))
  if (odd !== undefined) throw new TypeError(`${odd} is no plain name of a variable`)
  return [
    '/bin/sh',
    '-c',
    SCRIPT,
    'job',
    behaviour.mark ?? '',
    behaviour.print ?? '',
    behaviour.printError ?? '',
    behaviour.grandchildren ?? '',
    behaviour.waitFor ?? '',
    behaviour.killSelf?.slice('SIG'.length) ?? '',
    String(behaviour.exit ?? 0),
    behaviour.report === undefined ? '-' : variables.join(' '),
    ...(behaviour.report?.arguments ?? []),
  ]
}
