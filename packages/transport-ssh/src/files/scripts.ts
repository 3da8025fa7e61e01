/**
 * The small programs by which files are handled on the far side: fixed texts; paths are their arguments, never part of
 * them. POSIX shell and the GNU tools (those of BusyBox serve as well, but for `find -printf`).
 */

import { shellProgram } from '@orbweaver/core'

/**
 * `ow_hash ALGORITHM FILE`: the checksum, or nothing where no program can tell. Of large files by openssl, which knows the
 * processor's own instructions: four times as quick as `sha256sum` of Debian 12.
 */
const HASH = shellProgram`
ow_hash() {
  if [ -n "$ow_large" ] && command -v openssl >/dev/null 2>&1; then
    if ow_hex=$(openssl dgst "-$1" -r <"$2" 2>/dev/null) && [ "@{#ow_hex}" -gt 32 ]; then
      echo "@{ow_hex%% *}"
      return
    fi
  fi
  command -v "$1sum" >/dev/null 2>&1 || return 0
  ow_hex=$("$1sum" <"$2") || return 1
  echo "@{ow_hex%% *}"
}
`

/** Argument: path of a large file. Its SHA-256. */
export const SUM_SCRIPT = `${HASH}ow_large=yes
ow_sum=$(ow_hash sha256 "$1") || exit 1
[ -n "$ow_sum" ] || exit 92
echo "$ow_sum"
`

/**
 * Arguments: folder, and a part in it that may be there, or nothing. Makes the folder, and says how long the part is, if
 * there is one that could be gone on with.
 */
export const BEGIN_SCRIPT = shellProgram`
mkdir -p -- "$1" || exit 1
if [ -n "$2" ]; then
  if [ -f "$2" ] && [ ! -L "$2" ] && [ -O "$2" ] && [ -w "$2" ]; then exec wc -c <"$2"; fi
  exec rm -rf -- "$2"
fi
`

/** Arguments: part; `new`, `anew` (what is there is of no use) or `on`. What is to be written is on standard input. */
export const CAT_SCRIPT = shellProgram`
case $2 in
new) set -C; exec cat >"$1" ;;
anew) exec cat >"$1" ;;
esac
exec cat >>"$1"
`

/**
 * Arguments: part, path, mode, algorithm (sha256 or md5), checksum. Compares what was written with what was sent, sees it
 * safe on the disk and lets it appear. Exit code {@link DIFFERS}: it is something else. May be run again when its end is
 * unknown: then the part may have appeared already.
 */
const FINISH =
  HASH +
  shellProgram`
ow_finish() {
  if [ ! -e "$1" ] && [ -f "$2" ]; then
    ow_sum=$(ow_hash "$4" "$2") || return 1
    if [ -z "$ow_sum" ] || [ "$ow_sum" = "$5" ]; then return 0; fi
  fi
  [ "$3" = 600 ] || chmod -- "$3" "$1" || return 1
  sync -- "$1" 2>/dev/null &
  ow_sum=$(ow_hash "$4" "$1") || return 1
  if [ -n "$ow_sum" ] && [ "$ow_sum" != "$5" ]; then echo "$ow_sum"; return 90; fi
  wait $!
  mv -fT -- "$1" "$2"
}
`
/** What arrived is not what was sent. */
export const DIFFERS = 90

export const FINISH_SCRIPT = `${FINISH}ow_large=yes\now_finish "$@"\n`

const WRITE = shellProgram`
ow_large=
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
if [ "$2" = 1 ]; then exec cat -- "$1"; fi
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
 * Arguments: folder, program (`openssl` or `sha256sum`). Relative paths on standard input, each with `./` before it and NUL after it;
 * their SHA-256 in the same order, one a line. `./`: sha256sum takes `-` for its standard input.
 */
export const CHECKSUM_SCRIPT = shellProgram`
command -v sha256sum >/dev/null 2>&1 || exit 92
cd -- "$1" || exit 1
export ow_program="$2"
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
if [ "$ow_program" = openssl ] && command -v openssl >/dev/null 2>&1; then
  if ow_sums=$(openssl dgst -sha256 -r "$@" 2>/dev/null); then printf "%s\n" "$ow_sums"; exit 0; fi
fi
exec sha256sum -b -- "$@"' sh
`
/** The program that is needed is not there. */
export const NO_PROGRAM = 92

/** Argument: path. */
export const EXISTS_SCRIPT = shellProgram`
[ -e "$1" ] || exec ls -dL -- "$1" >/dev/null
`

/**
 * Arguments: path, a new name beside it. Folders that their owner may not write to are opened first, where they stand in the
 * way. It takes a folder's name away before it removes: a removal that goes on after its connection broke removes nothing that was
 * made at the path since. What such a one leaves is removed by the next beside it.
 */
export const REMOVE_SCRIPT = shellProgram`
ow_at=$1
if [ -L "$1" ] || [ ! -d "$1" ]; then exec rm -f -- "$1"; fi
if mv -T -- "$1" "$2" 2>/dev/null; then ow_at=$2; fi
for ow_left in "@{2%/*}"/.orbweaver-*.gone; do
  [ "$ow_left" = "$2" ] || [ ! -d "$ow_left" ] || rm -rf -- "$ow_left" 2>/dev/null
done
rm -rf -- "$ow_at" 2>/dev/null && exit
find "$ow_at" -type d ! -perm -700 -exec chmod u+rwx {} ';' 2>/dev/null
exec rm -rf -- "$ow_at"
`

/**
 * Arguments: path of a folder, a new name beside it. An empty folder with what was kept of large files, at its places; all else
 * goes, as with {@link REMOVE_SCRIPT}.
 */
export const CLEAR_SCRIPT = shellProgram`
if [ -d "$1" ] && [ ! -L "$1" ]; then mv -T -- "$1" "$2" || exit 1; else rm -f -- "$1" || exit 1; fi
mkdir -p -- "$1" || exit 1
if [ -d "$2" ]; then
  cd -- "$2" && find . -type f -name '.orbweaver-*.kept.part' -exec /bin/sh -c '
for ow_f in "$@"; do
  mkdir -p -- "$0/@{ow_f%/*}" && mv -f -- "$ow_f" "$0/$ow_f"
done' "$1" {} + 2>/dev/null
  cd /
fi
for ow_left in "@{2%/*}"/.orbweaver-*.gone; do
  [ ! -d "$ow_left" ] || rm -rf -- "$ow_left" 2>/dev/null
done
[ -d "$2" ] || exit 0
find "$2" -type d ! -perm -700 -exec chmod u+rwx {} ';' 2>/dev/null
exec rm -rf -- "$2"
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
exec tar --create --file=- --format=gnu --absolute-names --no-recursion --dereference --hard-dereference --null --files-from=-
`

/** Argument: folder. Relative paths on standard input, each ended by NUL: a tar of those files, links as links. */
export const TAR_BELOW_SCRIPT = shellProgram`
cd -- "$1" || exit 1
exec tar --create --file=- --format=gnu --no-recursion --hard-dereference --null --files-from=-
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
