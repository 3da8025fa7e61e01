/**
 * The small programs by which files are handled on the far side: fixed texts; paths are their arguments, never part of
 * them. POSIX shell and the GNU tools (those of BusyBox serve as well, but for `find -printf`).
 */

import { shellProgram } from '@orbweaver/core'

/**
 * Arguments: part, path, mode, algorithm (sha256 or md5), checksum. Compares what was written with what was sent, sees it
 * safe on the disk and lets it appear. Exit code {@link DIFFERS}: it is something else.
 */
const FINISH = shellProgram`
ow_finish() {
  if command -v "$4sum" >/dev/null 2>&1; then
    ow_sum=$("$4sum" <"$1") || return 1
    if [ "@{ow_sum%% *}" != "$5" ]; then echo "@{ow_sum%% *}"; return 90; fi
  fi
  [ "$3" = 600 ] || chmod -- "$3" "$1" || return 1
  sync -- "$1" 2>/dev/null
  mv -fT -- "$1" "$2"
}
`
/** What arrived is not what was sent. */
export const DIFFERS = 90

export const FINISH_SCRIPT = `${FINISH}ow_finish "$@"\n`

const WRITE = shellProgram`
if [ "$6" = parents ]; then mkdir -p -- "@{2%/*}/" || exit 1; fi
cat >"$1" && ow_finish "$@"
ow_code=$?
if [ $ow_code != 0 ]; then rm -f -- "$1"; fi
exit $ow_code
`
/** As {@link FINISH_SCRIPT}, with the content on standard input. Sixth argument: `parents` makes the folder first. */
export const WRITE_SCRIPT = FINISH + WRITE

/** Arguments: path, offset from 1. The content of a plain file from there on. */
export const READ_SCRIPT = shellProgram`
if [ -d "$1" ]; then echo "$1: Is a directory" >&2; exit 1; fi
if [ -e "$1" ] && [ ! -f "$1" ]; then exit 91; fi
exec tail -c "+$2" -- "$1"
`
/** There is something, and it is not a plain file. */
export const NOT_PLAIN = 91

/** Arguments: path, bytes, `head` or `tail`. So many bytes of a plain file. */
export const TEXT_SCRIPT = shellProgram`
if [ -d "$1" ]; then echo "$1: Is a directory" >&2; exit 1; fi
if [ -e "$1" ] && [ ! -f "$1" ]; then exit 91; fi
exec "$3" -c "$2" -- "$1"
`

/** Argument: folder. Kind, size and relative path of everything below it, each ended by NUL. */
export const LIST_SCRIPT = shellProgram`
if [ -e "$1" ] && [ ! -d "$1" ]; then echo "$1: Not a directory" >&2; exit 1; fi
exec find -H "$1" -ignore_readdir_race -mindepth 1 -printf '%y %s %P\0'
`

/**
 * Argument: folder. Relative paths on standard input, each with `./` before it and NUL after it; their SHA-256 in the same
 * order, one a line. `./`: sha256sum takes `-` for its standard input.
 */
export const CHECKSUM_SCRIPT = shellProgram`
command -v sha256sum >/dev/null 2>&1 || exit 92
cd -- "$1" || exit 1
exec xargs -0 -n 500 /bin/sh -c '
for ow_f in "$@"; do
  if [ ! -f "$ow_f" ]; then
    printf "!%s\0" "@{ow_f#./}"
    if [ -d "$ow_f" ]; then echo "x: Is a directory" >&2; exit 255; fi
    if [ -e "$ow_f" ]; then exit 255; fi
    ls -dL -- "$ow_f" >/dev/null
    exit 255
  fi
done
exec sha256sum -b -- "$@"' sh
`
/** The program that is needed is not there. */
export const NO_PROGRAM = 92

/** Argument: path. */
export const EXISTS_SCRIPT = shellProgram`
[ -e "$1" ] || exec ls -dL -- "$1" >/dev/null
`

/** Argument: path. Folders that their owner may not write to are opened first, where they stand in the way. */
export const REMOVE_SCRIPT = shellProgram`
rm -rf -- "$1" 2>/dev/null && exit
find "$1" -type d ! -perm -700 -exec chmod u+rwx {} ';' 2>/dev/null
exec rm -rf -- "$1"
`

/** Argument: path. Free blocks and their size. */
export const SPACE_SCRIPT = shellProgram`
stat -f -c '%a %S' -- "$1" && exit
ow_df=$(df -Pk -- "$1") || exit 1
echo "$ow_df" | { read -r ow_head; read -r ow_fs ow_all ow_used ow_free ow_rest; echo "$ow_free 1024"; }
`

/** Absolute paths on standard input, each ended by NUL: a tar of those that are there, links followed. */
export const TAR_MANY_SCRIPT = shellProgram`
command -v tar >/dev/null 2>&1 || exit 92
exec tar --create --file=- --null --files-from=- --absolute-names --no-recursion --dereference --hard-dereference
`

/** Argument: folder. Relative paths on standard input, each ended by NUL: a tar of those files, links as links. */
export const TAR_BELOW_SCRIPT = shellProgram`
cd -- "$1" || exit 1
exec tar --create --file=- --null --files-from=- --no-recursion --hard-dereference --format=posix
`

/**
 * Arguments: folder, part folder beside it. A tar on standard input is unpacked into the part folder.
 */
export const UNPACK_SCRIPT = shellProgram`
mkdir -p -- "@{2%/*}/" && mkdir -- "$2" || exit 1
cd -- "$2" || exit 1
exec tar --extract --file=- --no-same-owner --no-same-permissions
`

/**
 * Arguments: folder, part folder. On standard input lines of a checksum and a name, as sha256sum prints them, to compare
 * with; then the files appear: by one rename where the folder is new, each by itself otherwise.
 */
export const UNPACKED_SCRIPT = shellProgram`
cd -- "$2" || exit 1
if command -v sha256sum >/dev/null 2>&1; then
  sha256sum --quiet --strict --check - >&2 || exit 90
else cat >/dev/null; fi
if mv -nT -- "$2" "$1" 2>/dev/null && [ ! -d "$2" ]; then exit 0; fi
if [ -e "$1" ] && [ ! -d "$1" ]; then echo "$1: Not a directory" >&2; exit 1; fi
mkdir -p -- "$1" || exit 1
cp -alfT -- "$2" "$1" 2>/dev/null || cp -afT -- "$2" "$1" || exit 1
exec rm -rf -- "$2"
`
