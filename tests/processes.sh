# shellcheck shell=bash
# What the scripts of this folder that start processes share. To be sourced.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { say "$*"; exit 1; }

# Whether process $1 lives and its command line holds $2. A recorded pid alone could be somebody
# else's by now, and a dead child that nobody waited for still answers `kill -0`.
runs() {
    local line
    [[ $1 =~ ^[0-9]+$ ]] || return 1
    if [[ -d /proc/self ]]; then
        line=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline") || return 1
    else
        line=$(ps -o args= -p "$1" 2>/dev/null) || return 1
    fi
    [[ $line == *"$2"* ]]
}

# Ends process $2, whose command line holds $3, with the signals that follow, $1 seconds for each.
end_within() {
    local seconds=$1 pid=$2 mark=$3 signal tick
    shift 3
    for signal in "$@"; do
        runs "$pid" "$mark" || return 0
        kill "-$signal" "$pid" 2>/dev/null || true
        for ((tick = 0; tick < seconds * 10; tick++)); do
            runs "$pid" "$mark" || return 0
            sleep 0.1
        done
    done
    runs "$pid" "$mark" && say "process $pid ($mark) does not end" && return 1
    return 0
}

# The same with 15 seconds.
end() { end_within 15 "$@"; }

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# A port nobody listens on, below the range outgoing connections take theirs from. Somebody may
# take it before the server does: the callers try again with another one.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        listens 127.0.0.1 "$port" || break
    done
    printf '%s' "$port"
}
