/**
 * The fixed part of `job.sh`. POSIX sh: runs under dash, busybox ash and bash (also 3.2, as macOS has it).
 *
 * It reads only what the head of the script sets: the `ow_` variables and functions, and the positional parameters.
 * Forks are counted: beside the command itself a job costs `date`, two `mv`, one timer and one `dd`.
 *
 * Why bash where there is one: dash and ash have no job control without a terminal, so they cannot give the command a
 * process group of its own, and by POSIX they start background commands deaf to SIGINT and SIGQUIT. Without bash the
 * command gets a session of its own (`setsid`) in place of a group, and SIGTERM in place of SIGINT.
 * Not `setsid` everywhere, because Torque and PBS find the processes of a job by its session.
 */

import { shellProgram } from './shell-words.js'

/** Goes before the head: the same script again under a shell that has job control. */
export const SCRIPT_START = shellProgram`#!/bin/sh
# A job of Orbweaver. Generated; a change here is lost with the next attempt.
umask 077
if [ -z "@{BASH_VERSION-}" ] && [ -f "$0" ] && [ -r "$0" ]; then
  for ow_shell in /bin/bash /usr/bin/bash /usr/local/bin/bash; do
    # --posix: BASH_ENV is not read.
    if [ -x "$ow_shell" ]; then exec "$ow_shell" --posix "$0" "$@"; fi
  done
fi
`

/** Goes after the head. */
export const SCRIPT_BODY = shellProgram`
# ---- From here on every job script is the same.

# What the shell itself says about ended children does not belong in the job's log: we speak through 3.
exec 3>&2 2>/dev/null
ow_pid='' ow_code='' ow_signal='' ow_received='' ow_timed_out='' ow_woken='' ow_kind='' ow_runtime='' ow_timer_pid=''

ow_say() { printf 'orbweaver: %s\n' "$1" >&3; }

# A name of unknown origin as the content of a JSON string: what would need an escape is left out.
ow_plain() {
  case $1 in
    *[!A-Za-z0-9._:@+,-]*) ow_plain=$(printf '%s' "$1" | LC_ALL=C tr -cd 'A-Za-z0-9._:@+,[]-') ;;
    *) ow_plain=$1 ;;
  esac
}

# ow_write FILE TEXT: whole or not at all, and on the disk where dd can see to it.
ow_write() {
  if [ "$ow_fsync" = 1 ] && dd of="$1.$$.tmp" conv=fsync <<OW_END
$2
OW_END
  then :
  else
    printf '%s\n' "$2" >"$1.$$.tmp" || { ow_say "cannot write $1"; return 1; }
  fi
  mv -f "$1.$$.tmp" "$1" || ow_say "cannot write $1"
}

# Hundredths of a second since boot, without a fork; empty where /proc does not tell.
ow_uptime() {
  ow_ticks=''
  read -r ow_up ow_rest </proc/uptime || return 0
  ow_up=@{ow_up%.*}@{ow_up#*.}
  case $ow_up in
    0* | '' | *[!0-9]*) ;;
    *) ow_ticks=$ow_up ;;
  esac
}

# ---- Start record

ow_started_at=$(date +%s)
ow_uptime
ow_started_ticks=$ow_ticks
ow_host=''
read -r ow_host </proc/sys/kernel/hostname || ow_host=$(uname -n)
ow_plain "$ow_host"
ow_host=$ow_plain
ow_plain "@{SLURM_JOB_ID:-@{PBS_JOBID:-@{ORBWEAVER_JOB_ID-}}}"
ow_scheduler_id=$ow_plain
if cd "$ow_workspace"; then :; else
  ow_say "the workspace $ow_workspace cannot be entered on $ow_host"
  exit 75
fi
ow_text="{\"schema\":1,\"name\":$ow_name_json,\"host\":\"$ow_host\",\"pid\":$$,\"startedAt\":$ow_started_at"
if [ -n "$ow_scheduler_id" ]; then ow_text="$ow_text,\"schedulerJobId\":\"$ow_scheduler_id\""; fi
ow_fsync_end=$ow_fsync
ow_fsync=0
ow_write "$ow_workspace/started.json" "$ow_text}"
ow_fsync=$ow_fsync_end

# ---- Signals

# To the command and all of its group. Before the group exists, or where there is none, to the command alone.
ow_send() {
  [ -n "$ow_pid" ] || return 0
  kill "-$1" "-$ow_pid" || kill "-$1" "$ow_pid"
}
ow_on_signal() {
  ow_woken=1
  if [ -z "$ow_received" ]; then ow_received=$1; fi
  if [ "$1" = INT ] && [ "$ow_own_group" != control ]; then ow_send TERM; else ow_send "$1"; fi
}
ow_on_time() {
  ow_woken=1 ow_timed_out=1
  ow_say "the time is up: ended after $ow_seconds s"
  ow_send TERM
}
ow_own_group=''
trap 'ow_on_signal TERM' TERM
trap 'ow_on_signal INT' INT
trap 'ow_on_signal HUP' HUP
trap 'ow_on_signal USR1' USR1
trap 'ow_on_signal USR2' USR2
trap 'ow_on_signal XCPU' XCPU
trap ow_on_time ALRM

# ---- Command

if [ "$ow_steps" != 1 ]; then set -- /bin/sh -c "$ow_steps_program" orbweaver "$ow_steps" "$@"; fi

ow_prefix=''
if [ -n "$ow_image" ]; then
  case $ow_image in
    /* | ./* | *.sif | *.simg | *.sqsh) ow_candidates='apptainer singularity' ow_is_file=1 ;;
    *) ow_candidates='apptainer singularity podman docker' ow_is_file='' ;;
  esac
  ow_candidates=@{ow_wanted_runtime:-$ow_candidates}
  for ow_word in $ow_candidates; do
    if ow_runtime=$(command -v "$ow_word"); then
      ow_kind=$ow_word
      break
    fi
  done
  case $ow_kind in
    '')
      ow_say "container $ow_image: no $ow_candidates on $ow_host (PATH $PATH)"
      ow_code=127
      ;;
    apptainer | singularity)
      case $ow_image in
        *://*) ;;
        *) if [ -z "$ow_is_file" ]; then ow_image=docker://$ow_image; fi ;;
      esac
      set -- "$ow_image" "$@"
      while [ -n "$ow_binds" ]; do
        set -- --bind "@{ow_binds%%"$ow_newline"*}:ro" "$@"
        ow_binds=@{ow_binds#*"$ow_newline"}
      done
      if [ "$ow_network" != 1 ]; then set -- --net --network none "$@"; fi
      if [ "$ow_gpus" = 1 ]; then set -- --nv "$@"; fi
      # Relative: a comma or colon in the name of the workspace would split the option.
      set -- exec --contain --cleanenv --home tmp/home:/home/job --pwd /tmp \
        --bind .:/WORKSPACE:ro --bind inputs:/INPUTS:ro --bind outputs:/OUTPUTS --bind tmp:/tmp "$@"
      mkdir -p tmp/home
      if [ "$ow_kind" = apptainer ]; then ow_prefix=APPTAINERENV_; else ow_prefix=SINGULARITYENV_; fi
      ow_export
      if [ "$ow_gpus" = 1 ] && [ -n "@{CUDA_VISIBLE_DEVICES-}" ]; then
        export "@{ow_prefix}CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES"
      fi
      set -- "$ow_runtime" "$@"
      ;;
    *)
      if [ -n "$ow_is_file" ]; then
        ow_say "container $ow_image: $ow_kind cannot run an image file; apptainer and singularity can"
        ow_code=127
      fi
      # The image's own entry point is left out, as apptainer does.
      ow_word=$1
      shift
      set -- --entrypoint "$ow_word" "@{ow_image#docker://}" "$@"
      ow_prefix=ow_env_
      ow_export
      for ow_word in $ow_names; do eval "set -- --env \"\$ow_word=\$ow_env_$ow_word\" \"\$@\""; done
      while [ -n "$ow_binds" ]; do
        set -- --volume "@{ow_binds%%"$ow_newline"*}:ro" "$@"
        ow_binds=@{ow_binds#*"$ow_newline"}
      done
      if [ "$ow_network" != 1 ]; then set -- --network none "$@"; fi
      if [ -n "$ow_memory" ]; then set -- --memory "$ow_memory" "$@"; fi
      if [ "$ow_gpus" = 1 ]; then
        if [ "$ow_kind" = podman ]; then set -- --device nvidia.com/gpu=all "$@"
        elif [ -n "@{CUDA_VISIBLE_DEVICES-}" ]; then set -- --gpus "\"device=$CUDA_VISIBLE_DEVICES\"" "$@"
        else set -- --gpus all "$@"; fi
      fi
      ow_user=$(id -u)
      # Rootless podman: without this the job's files would belong to a subordinate id.
      if [ "$ow_kind" = podman ] && [ "$ow_user" != 0 ]; then set -- --userns keep-id "$@"; fi
      set -- "$ow_runtime" run --rm --init --name "$ow_name" --user "$ow_user:$(id -g)" \
        --security-opt no-new-privileges --workdir /tmp --env HOME=/tmp \
        --volume "$ow_workspace:/WORKSPACE:ro" --volume "$ow_workspace/inputs:/INPUTS:ro" \
        --volume "$ow_workspace/outputs:/OUTPUTS" --volume "$ow_workspace/tmp:/tmp" "$@"
      ;;
  esac
fi

# In a subshell: become the command.
ow_become() {
  if [ -z "$ow_prefix" ]; then ow_export; fi
  if [ "$ow_own_group" = session ] && command -v "$1" >/dev/null; then exec setsid "$@" 2>&3 3>&-; fi
  exec "$@" 2>&3 3>&-
}

# Sends SIGALRM to us when the time is up, and SIGKILL to the command after the grace time. In a group of its own, so that
# it can be ended together with its sleep, by SIGKILL: a shell may miss a signal it is sent right after the fork, but not that.
ow_timer='trap "" INT HUP TERM USR1 USR2 XCPU ALRM
sleep "$2" || exit
kill -ALRM "$1"
sleep "$3"
if [ -n "$6" ]; then "$5" kill "$6" >/dev/null; fi
kill -KILL "-$4" || kill -KILL "$4"'

if [ -z "$ow_code" ]; then
  if [ -n "@{BASH_VERSION-}" ] && set -m; then ow_own_group=control
  elif command -v setsid >/dev/null; then ow_own_group=session
  fi
  (ow_become "$@") </dev/null &
  ow_pid=$!
  if [ "$ow_seconds" -gt 0 ]; then
    ow_container_name=''
    if [ "$ow_kind" = podman ] || [ "$ow_kind" = docker ]; then ow_container_name=$ow_name; fi
    set -- "$$" "$ow_seconds" "$ow_grace" "$ow_pid" "$ow_runtime" "$ow_container_name"
    if [ "$ow_own_group" = control ]; then (eval "$ow_timer") </dev/null >/dev/null 3>&- &
    elif [ "$ow_own_group" = session ]; then setsid /bin/sh -c "$ow_timer" timer "$@" </dev/null >/dev/null 3>&- &
    else /bin/sh -c "$ow_timer" timer "$@" </dev/null >/dev/null 3>&- &
    fi
    ow_timer_pid=$!
  fi
  if [ "$ow_own_group" = control ]; then set +m; fi
  # A signal that came before there was anything to send it to.
  if [ -n "$ow_received" ]; then ow_send "$ow_received"; fi
fi

# ---- Wait

while [ -n "$ow_pid" ]; do
  ow_woken=''
  wait "$ow_pid"
  ow_status=$?
  # A signal interrupts the wait; waiting again for a command that was already collected gives 127.
  if [ "$ow_status" -ne 127 ] || [ -z "$ow_code" ]; then ow_code=$ow_status; fi
  if [ -z "$ow_woken" ]; then break; fi
done

if [ -n "$ow_timer_pid" ]; then
  kill -KILL "-$ow_timer_pid" || kill -KILL "$ow_timer_pid"
  wait "$ow_timer_pid"
fi

# What the command left behind in its group ends with it.
if [ -n "$ow_own_group" ] && kill -0 "-$ow_pid"; then
  ow_tries=0
  if [ -z "$ow_timed_out" ]; then kill -TERM "-$ow_pid"; fi
  while kill -0 "-$ow_pid" && [ "$ow_tries" -lt "$((ow_grace * 10))" ]; do
    sleep 0.1 || sleep 1
    ow_tries=$((ow_tries + 1))
  done
  kill -KILL "-$ow_pid"
fi

# ---- Exit record

ow_text="{\"schema\":1,\"name\":$ow_name_json,\"host\":\"$ow_host\",\"exitCode\":$ow_code"
# By every shell's convention; also when a program in between reports so how its child ended.
if [ "$ow_code" -gt 128 ] && [ "$ow_code" -le 192 ]; then
  ow_signal=$(kill -l "$((ow_code - 128))")
  case $ow_signal in
    *[!A-Z0-9]* | [0-9]* | '') ;;
    *) ow_text="$ow_text,\"signal\":\"SIG$ow_signal\"" ;;
  esac
fi
if [ -n "$ow_timed_out" ]; then ow_text="$ow_text,\"timedOut\":true"; fi
if [ -n "$ow_received" ]; then ow_text="$ow_text,\"received\":\"SIG$ow_received\""; fi
ow_text="$ow_text,\"startedAt\":$ow_started_at"
ow_uptime
if [ -n "$ow_ticks" ] && [ -n "$ow_started_ticks" ]; then
  ow_ticks=$((ow_ticks - ow_started_ticks))
  ow_rest=$((ow_ticks % 100))
  if [ "$ow_rest" -lt 10 ]; then ow_rest=0$ow_rest; fi
  ow_text="$ow_text,\"endedAt\":$((ow_started_at + ow_ticks / 100)).$ow_rest"
else
  ow_text="$ow_text,\"endedAt\":$(date +%s)"
fi

# Peak memory, where the scheduler gave the job a cgroup of its own: one whose name holds the job's id.
ow_read_peak() {
  [ -n "$ow_scheduler_id" ] || return 0
  while IFS=: read -r ow_number ow_controllers ow_path; do
    case $ow_controllers in
      memory | *,memory | memory,* | *,memory,*) ow_root=/sys/fs/cgroup/memory ow_file=memory.max_usage_in_bytes ;;
      '') ow_root=/sys/fs/cgroup ow_file=memory.peak ;;
      *) continue ;;
    esac
    for ow_word in job_ orbweaver- ''; do
      case $ow_path/ in
        # Of /slurm/uid_1/job_77/step_batch the part up to job_77: the whole job, not one step.
        */"$ow_word$ow_scheduler_id"/*) ow_path=@{ow_path%%/"$ow_word$ow_scheduler_id"*}/$ow_word$ow_scheduler_id && break ;;
      esac
    done
    case $ow_path in
      */"$ow_word$ow_scheduler_id") ;;
      *) continue ;;
    esac
    if read -r ow_peak <"$ow_root$ow_path/$ow_file"; then
      case $ow_peak in
        '' | *[!0-9]*) ;;
        *) ow_text="$ow_text,\"peakMemoryBytes\":$ow_peak" && return 0 ;;
      esac
    fi
  done </proc/self/cgroup
}
ow_read_peak

# Hundredths of a second from 3m12.345s.
ow_hundredths() {
  ow_minutes=@{1%%m*} ow_fraction=@{1##*[.,]}
  ow_whole=@{1#*m} ow_fraction=@{ow_fraction%s}00
  ow_whole=@{ow_whole%%[.,]*} ow_fraction=@{ow_fraction%"@{ow_fraction#??}"}
  case $ow_minutes$ow_whole$ow_fraction in
    '' | *[!0-9]*) ow_sum='' ;;
    *) ow_sum=$((ow_sum + ow_minutes * 6000 + ow_whole * 100 + 1$ow_fraction - 100)) ;;
  esac
}
ow_tmp=$ow_workspace/exit.json.$$.tmp
if times >"$ow_tmp" && { read -r ow_user ow_rest && read -r ow_user ow_system; } <"$ow_tmp"; then
  ow_sum=0
  ow_hundredths "$ow_user"
  if [ -n "$ow_sum" ]; then ow_hundredths "$ow_system"; fi
  if [ -n "$ow_sum" ]; then
    ow_rest=$((ow_sum % 100))
    if [ "$ow_rest" -lt 10 ]; then ow_rest=0$ow_rest; fi
    ow_text="$ow_text,\"cpuSeconds\":$((ow_sum / 100)).$ow_rest"
  fi
fi

ow_write "$ow_workspace/exit.json" "$ow_text}"
exit "$ow_code"
`

/**
 * Runs several commands in order as one; stops at the first failure. Its words: how many, then of each command the
 * number of its words and the words. Arguments are moved to the end to cut a command out of the list, which POSIX sh has no
 * other way for.
 */
export const STEPS_PROGRAM = shellProgram`steps=$1
shift
while [ "$steps" -gt 0 ]; do
  count=$1 moved=0
  shift
  while [ "$moved" -lt "$count" ]; do
    set -- "$@" "$1"
    shift
    moved=$((moved + 1))
  done
  (shift "$(($# - count))" && exec "$@") || exit
  steps=$((steps - 1))
done`
