/**
 * The process that stands over one job: a small shell program, in a session of its own, that lives exactly as long as the
 * job and needs no engine. It claims the job, starts it, ends it when it is over its walltime or memory or when it is told
 * to (SIGTERM), ends what the job left behind, and writes how it all ended.
 *
 * Runs under bash (also 3.2) and, where there is none, any POSIX sh with `setsid`. It is made of builtins as far as can
 * be: beside the command, a job of `true` costs one fork for the watch and one `sleep`.
 *
 * Words: base of the job's files · id · walltime in seconds · grace in seconds · cgroup, watch or off · limit in bytes ·
 * cgroup folder or empty · page size · proc or ps · run or reap · words of the command…
 *
 * The variables of the job come as `ow_env_NAME`, the names in `ow_names`, and get their own names only in the command's
 * process: a PATH or LD_PRELOAD meant for the job is not for the tools that watch over it.
 *
 * Files: `BASE.claim` is made by whoever runs the job, and can be made once; `BASE.end` is complete when its last line is
 * `end`; `BASE.peak` is the watch's note on memory. One write with a mark at its end serves here like a rename and spares a fork.
 */

import { shellProgram } from '@orbweaver/core'

export const SUPERVISOR_PROGRAM = shellProgram`# Stands over one job of Orbweaver's local backend.
umask 077
exec 3>&2 2>/dev/null
ow_base=$1 ow_id=$2 ow_walltime=$3 ow_grace=$4 ow_mode=$5 ow_limit=$6 ow_cgroup=$7 ow_page=$8 ow_table=$9
shift 9
ow_task=$1
shift
ow_marker=ORBWEAVER_JOB_ID=$ow_id
ow_newline='
'
ow_main=$$ ow_pid='' ow_watch_pid='' ow_reason='' ow_over='' ow_woken='' ow_code='' ow_oom='' ow_left='' ow_peak=''

# ---- Process table

# ow_stat PID: state, parent, group, session and start time. The name before them may hold anything.
ow_stat() {
  read -r ow_line <"/proc/$1/stat" || return 1
  set -f
  set -- @{ow_line##*) }
  set +f
  ow_state=$1 ow_parent=$2 ow_group=$3 ow_session=$4 ow_start=@{20-}
  case $ow_state in
    [RSDTtIW]) ;;
    *) return 1 ;; # a zombie has ended; a name with a line break gives no fields
  esac
}

# Every process of the job but ours, which are those of our own group and the watch's: by session, by mark, by cgroup.
ow_find_members() {
  ow_members=''
  if [ "$ow_table" = ps ]; then
    ow_find_by_ps
    return 0
  fi
  ow_marked=$ow_newline$(grep -lsF -e "$ow_marker" /proc/[0-9]*/environ)$ow_newline
  if [ -n "$ow_cgroup" ]; then
    while read -r ow_member; do ow_marked=$ow_marked/proc/$ow_member/environ$ow_newline; done <"$ow_cgroup/cgroup.procs"
  fi
  for ow_folder in /proc/[0-9]*; do
    ow_stat "@{ow_folder#/proc/}" || continue
    if [ "$ow_group" = "$ow_main" ] || [ "$ow_group" = "$ow_watch_pid" ]; then continue; fi
    if [ "$ow_session" = "$ow_main" ] || [ "$ow_session" = "$ow_pid" ]; then :; else
      case $ow_marked in
        *"$ow_newline$ow_folder/environ$ow_newline"*) ;;
        *) continue ;;
      esac
    fi
    ow_members="$ow_members @{ow_folder#/proc/}"
  done
}

# Without /proc: by group, by descent, by mark.
ow_find_by_ps() {
  ow_all=$(ps -axo pid=,ppid=,pgid=,stat=)
  if [ "$(uname)" = Darwin ]; then ow_environs=$(ps -axEww -o pid=,command=); else ow_environs=$(ps axeww -o pid=,command=); fi
  ow_tree=" $ow_pid "
  while read -r ow_member ow_rest; do
    case $ow_rest in
      *"$ow_marker"*) ow_tree="$ow_tree$ow_member " ;;
    esac
  done <<OW_END
$ow_environs
OW_END
  ow_before=''
  while [ "$ow_before" != "$ow_tree" ]; do
    ow_before=$ow_tree
    while read -r ow_member ow_parent ow_group ow_state; do
      case $ow_tree in *" $ow_member "*) continue ;; esac
      case $ow_tree in *" $ow_parent "*) ow_tree="$ow_tree$ow_member " ;; esac
      if [ "$ow_group" = "$ow_pid" ]; then ow_tree="$ow_tree$ow_member "; fi
    done <<OW_END
$ow_all
OW_END
  done
  while read -r ow_member ow_parent ow_group ow_state; do
    case $ow_state in Z*) continue ;; esac
    if [ "$ow_group" = "$ow_main" ] || [ "$ow_group" = "$ow_watch_pid" ]; then continue; fi
    case $ow_tree in *" $ow_member "*) ow_members="$ow_members $ow_member" ;; esac
  done <<OW_END
$ow_all
OW_END
}

# ---- Ending the tree

# SIGTERM to all, the grace time, SIGKILL to what is left and to what is born meanwhile.
ow_end_tree() {
  ow_find_members
  if [ -z "$ow_members" ]; then return 0; fi
  kill -TERM $ow_members
  kill -CONT $ow_members # a stopped process hears nothing else
  ow_waited=0 ow_pause=2
  while [ "$ow_waited" -lt "$((ow_grace * 100))" ]; do
    if [ "$ow_pause" -lt 10 ]; then sleep "0.0$ow_pause" || sleep 1
    elif [ "$ow_pause" -lt 100 ]; then sleep "0.$ow_pause" || sleep 1
    else sleep 1; fi
    ow_waited=$((ow_waited + ow_pause))
    ow_find_members
    if [ -z "$ow_members" ]; then return 0; fi
    ow_pause=$((ow_pause * 2))
    if [ "$ow_pause" -gt 100 ]; then ow_pause=100; fi
  done
  ow_rounds=0
  while [ "$ow_rounds" -lt 40 ]; do
    kill -KILL $ow_members
    sleep 0.05 || sleep 1
    ow_find_members
    if [ -z "$ow_members" ]; then return 0; fi
    ow_rounds=$((ow_rounds + 1))
  done
  ow_left=$ow_members # in the kernel's hands: they end when it lets them
}

ow_on_order() {
  ow_woken=1
  if [ -n "$ow_over" ]; then return 0; fi
  if [ -z "$ow_reason" ]; then ow_reason=$1; fi
  ow_end_tree
}

# ---- End record

ow_read_cgroup() {
  if [ -r "$ow_cgroup/memory.events" ]; then
    read -r ow_peak <"$ow_cgroup/memory.peak"
    ow_events=$ow_cgroup/memory.events
  else
    read -r ow_peak <"$ow_cgroup/memory.max_usage_in_bytes"
    ow_events=$ow_cgroup/memory.oom_control
  fi
  while read -r ow_word ow_count; do
    if [ "$ow_word" = oom_kill ]; then ow_oom=$ow_count; fi
  done <"$ow_events"
}

ow_finish() {
  {
    printf 'code=%s\nreason=%s\npeak=%s\noom=%s\nleft=%s\n' "$ow_code" "$ow_reason" "$ow_peak" "$ow_oom" "$ow_left"
    times
    printf 'end\n'
  } >"$ow_base.end"
  # Whoever started us puts the cgroup away; when it is gone, we do.
  if [ -n "$ow_cgroup" ] && ! kill -0 "$PPID"; then rmdir "$ow_cgroup"; fi
}

# ---- In place of a supervisor that is gone: end what it left, and say so.

if [ "$ow_task" = reap ]; then
  trap '' TERM INT HUP
  ow_end_tree
  ow_reason=lost
  ow_finish
  exit 0
fi

# ---- Watch

ow_uptime() {
  ow_ticks=''
  read -r ow_up ow_rest </proc/uptime || return 0
  ow_up=@{ow_up%.*}@{ow_up#*.}
  case $ow_up in
    0* | '' | *[!0-9]*) ;;
    *) ow_ticks=$ow_up ;;
  esac
}

# The job's processes for counting memory. By the kernel's lists of children where it keeps them, else the long way; the
# long way also now and then, for those that changed their parent.
ow_find_for_count() {
  ow_counted=$((ow_counted + 1))
  if [ "$ow_table" = ps ] || [ ! -r "/proc/$ow_pid/task/$ow_pid/children" ] || [ "$((ow_counted % 8))" = 0 ]; then
    ow_find_members
    return 0
  fi
  ow_members=" $ow_pid" ow_todo=$ow_pid
  while [ -n "$ow_todo" ]; do
    ow_next=''
    for ow_member in $ow_todo; do
      for ow_folder in "/proc/$ow_member/task"/*; do
        ow_children=''
        read -r ow_children <"$ow_folder/children"
        ow_next="$ow_next $ow_children"
      done
    done
    ow_todo=''
    for ow_member in $ow_next; do
      ow_members="$ow_members $ow_member" ow_todo="$ow_todo $ow_member"
    done
  done
}

ow_count_memory() {
  ow_find_for_count
  ow_memory=0
  if [ "$ow_table" = ps ]; then
    ow_list=$(ps -axo pid=,rss=)
    while read -r ow_member ow_resident; do
      case "$ow_members " in *" $ow_member "*) ow_memory=$((ow_memory + ow_resident * 1024)) ;; esac
    done <<OW_END
$ow_list
OW_END
  else
    for ow_member in $ow_members; do
      if read -r ow_size ow_resident ow_rest <"/proc/$ow_member/statm"; then
        ow_memory=$((ow_memory + ow_resident * ow_page))
      fi
    done
    # Pages that several processes share count once, where the kernel can tell: dear, so only when it matters.
    if [ "$ow_memory" -gt "$ow_limit" ]; then
      ow_shared=0
      for ow_member in $ow_members; do
        ow_share=''
        while read -r ow_word ow_size ow_rest; do
          if [ "$ow_word" = Pss: ]; then ow_share=$ow_size && break; fi
        done <"/proc/$ow_member/smaps_rollup"
        if [ -z "$ow_share" ]; then
          if [ -d "/proc/$ow_member" ] && ow_stat "$ow_member"; then ow_shared='' && break; fi
          continue
        fi
        ow_shared=$((ow_shared + ow_share * 1024))
      done
      if [ -n "$ow_shared" ]; then ow_memory=$ow_shared; fi
    fi
  fi
  if [ "$ow_memory" -gt "@{ow_peak:-0}" ]; then ow_peak=$ow_memory; fi
}

# Ended by SIGKILL to its group, and only so: a shell may miss a signal it is sent right after the fork, but not that one.
ow_watch() {
  trap '' INT HUP USR1 USR2 ALRM
  if [ "$ow_mode" != watch ]; then
    # A sleep that somebody ended is no sign that the time is up.
    sleep "$ow_walltime" || sleep "$ow_walltime" || return 0
    kill -ALRM "$ow_main"
    return 0
  fi
  ow_counted=0 ow_elapsed=0 ow_tick=5
  ow_uptime
  ow_then=$ow_ticks
  while :; do
    ow_hundredths=$((ow_tick % 100))
    if [ "$ow_hundredths" -lt 10 ]; then ow_hundredths=0$ow_hundredths; fi
    if sleep "$((ow_tick / 100)).$ow_hundredths"; then :; else
      # A sleep that knows whole seconds only.
      ow_tick=100
      sleep 1
    fi
    # The main process is gone without a word: somebody killed it, and its number is not ours to send signals to.
    if [ "$ow_table" = proc ] && read -r ow_line </proc/self/stat; then
      set -f
      set -- @{ow_line##*) }
      set +f
      if [ "$2" != "$ow_main" ]; then return 0; fi
    fi
    ow_uptime
    ow_step=$ow_tick
    # What is more than the tick and a little was sleep of the whole machine, which is no time of the job's.
    if [ -n "$ow_ticks" ] && [ -n "$ow_then" ]; then
      ow_step=$((ow_ticks - ow_then))
      if [ "$ow_step" -gt "$((ow_tick + 500))" ]; then ow_step=$ow_tick; fi
    fi
    ow_then=$ow_ticks
    ow_elapsed=$((ow_elapsed + ow_step))
    ow_rest_time=$((ow_walltime * 100 - ow_elapsed))
    if [ "$ow_rest_time" -le 0 ]; then
      kill -ALRM "$ow_main"
      return 0
    fi
    ow_before_peak=$ow_peak
    ow_count_memory
    if [ "$ow_peak" != "$ow_before_peak" ]; then printf '%s\n' "$ow_peak" >>"$ow_base.peak"; fi
    if [ "$ow_memory" -gt "$ow_limit" ]; then
      kill -USR1 "$ow_main"
      return 0
    fi
    ow_tick=$((ow_tick * 2))
    if [ "$ow_tick" -gt 100 ]; then ow_tick=100; fi
    if [ "$ow_tick" -gt "$ow_rest_time" ]; then ow_tick=$ow_rest_time; fi
  done
}
if [ "$ow_task" = watch ]; then
  ow_main=$1 ow_pid=$2 ow_watch_pid=$$
  ow_watch
  exit 0
fi

# ---- Claim

# Before the claim tells our number to everybody.
trap 'ow_on_order cancel' TERM
trap 'ow_on_order memory' USR1
trap 'ow_on_order time' ALRM
trap '' INT HUP USR2

if [ "$ow_table" = proc ]; then
  ow_stat "$$"
  read -r ow_boot </proc/sys/kernel/random/boot_id
else
  ow_start=$(LC_ALL=C ps -o lstart= -p "$$")
  ow_boot=''
fi
set -C
printf '%s\n%s\n%s\nend\n' "$$" "$ow_start" "$ow_boot" >"$ow_base.claim" || exit 0
set +C

# ---- Run

# An order that came before there was anything to end.
if [ -n "$ow_reason" ]; then
  ow_finish
  exit 0
fi
ow_become() {
  trap - INT HUP USR2
  for ow_name in $ow_names; do
    eval "export $ow_name=\"\$ow_env_$ow_name\""
    unset "ow_env_$ow_name"
  done
  unset ow_names
  if [ -n "$ow_cgroup" ]; then echo 0 >"$ow_cgroup/cgroup.procs"; fi
  if [ "$ow_own_group" = session ] && command -v "$1" >/dev/null; then exec setsid "$@" 2>&3 3>&-; fi
  exec "$@" 2>&3 3>&-
}
ow_own_group=session
if [ -n "@{BASH_VERSION-}" ] && set -m; then ow_own_group=control; fi
(ow_become "$@") </dev/null &
ow_pid=$!
if [ "$ow_own_group" = control ]; then
  (ow_watch) </dev/null >/dev/null 3>&- &
  ow_watch_pid=$!
  set +m
else
  setsid /bin/sh "$0" "$ow_base" "$ow_id" "$ow_walltime" "$ow_grace" "$ow_mode" "$ow_limit" "$ow_cgroup" "$ow_page" \
    "$ow_table" watch "$$" "$ow_pid" </dev/null >/dev/null 3>&- &
  ow_watch_pid=$!
fi
# One that came while it was being started.
if [ -n "$ow_reason" ]; then ow_end_tree; fi

while :; do
  ow_woken=''
  wait "$ow_pid"
  ow_status=$?
  # A signal interrupts the wait; waiting again for a command that was already collected gives 127.
  if [ "$ow_status" -ne 127 ] || [ -z "$ow_code" ]; then ow_code=$ow_status; fi
  if [ -z "$ow_woken" ]; then break; fi
done
ow_over=1
kill -KILL "-$ow_watch_pid" || kill -KILL "$ow_watch_pid"
wait "$ow_watch_pid"

# ---- What the job left behind ends with it.

# Has it left anything? Only processes younger than the command can be its children: a handful after a short job, and then
# there is no need to look at all the others.
ow_may_have_left() {
  if [ -n "$ow_cgroup" ]; then
    ow_member=''
    read -r ow_member <"$ow_cgroup/cgroup.procs"
    [ -n "$ow_member" ]
    return
  fi
  ow_last=''
  if [ "$ow_table" = ps ] || ! read -r ow_a ow_b ow_c ow_d ow_last </proc/loadavg; then return 0; fi
  case $ow_last in '' | *[!0-9]*) return 0 ;; esac
  if [ "$ow_last" -lt "$ow_pid" ] || [ "$((ow_last - ow_pid))" -gt 500 ]; then return 0; fi
  ow_member=$ow_pid
  while [ "$ow_member" -lt "$ow_last" ]; do
    ow_member=$((ow_member + 1))
    if [ ! -d "/proc/$ow_member" ]; then continue; fi
    ow_stat "$ow_member" || continue
    if [ "$ow_group" = "$ow_main" ] || [ "$ow_group" = "$ow_watch_pid" ]; then continue; fi
    if [ "$ow_session" = "$ow_main" ] || [ "$ow_session" = "$ow_pid" ]; then return 0; fi
    # A session that is older than the command is somebody else's.
    if [ "$ow_session" -lt "$ow_pid" ]; then continue; fi
    if [ -z "@{BASH_VERSION-}" ]; then return 0; fi
    while IFS= read -r -d '' ow_word; do
      if [ "$ow_word" = "$ow_marker" ]; then return 0; fi
    done <"/proc/$ow_member/environ"
  done
  return 1
}
if ow_may_have_left; then ow_end_tree; fi
if [ -n "$ow_cgroup" ]; then ow_read_cgroup
elif [ -r "$ow_base.peak" ]; then
  while read -r ow_word; do ow_peak=$ow_word; done <"$ow_base.peak"
fi
ow_finish
exit 0
`
