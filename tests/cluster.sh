#!/usr/bin/env bash
# redrive as in production, on this machine: PostgreSQL, RabbitMQ, one API, one relay, some workers,
# each a process of its own with a log and a pid file in DIR.
#
#   bash tests/cluster.sh start DIR [--workers N]   start it, with 3 workers; prints `export` lines
#   bash tests/cluster.sh status DIR                list the processes
#   bash tests/cluster.sh kill-worker DIR N         SIGKILL worker N: another takes its runs over
#   bash tests/cluster.sh start-worker DIR [N]      start worker N, or one more
#   bash tests/cluster.sh stop DIR                  stop everything, and remove DIR
#
# PostgreSQL and RabbitMQ are private to DIR, whatever DATABASE_URL and AMQP_URL say. They live in
# DIR/services: `bash tests/services.sh stop-rabbitmq DIR/services` takes the broker away.
#
# The program is REDRIVE_BIN, or else what `cargo build` gives. Configuration in the environment
# (REDRIVE_WORKER__SLOTS, ...) reaches every process, except for addresses and URLs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE[0]%/*}/processes.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

services() { env -u DATABASE_URL -u AMQP_URL bash "$here/services.sh" "$@"; }

# Prints the path of the program, built if it has to be.
program() {
    if [[ -n ${REDRIVE_BIN:-} ]]; then
        [[ -x $REDRIVE_BIN ]] || die "REDRIVE_BIN names no program: $REDRIVE_BIN"
        readlink -f "$REDRIVE_BIN"
        return
    fi
    cd "$here/.."
    cargo build --locked --bin redrive >&2
    readlink -f "${CARGO_TARGET_DIR:-target}/debug/redrive"
}

# Becomes redrive's command $1 with this deployment's configuration: for a subshell. The file keeps
# a redrive.toml of the working directory out, and its path marks the process as this deployment's.
exec_redrive() {
    unset DATABASE_URL AMQP_URL PORT REDRIVE_DATABASE__URL REDRIVE_BROKER__URL
    unset REDRIVE_SERVER__LISTEN REDRIVE_SERVER__HEALTH_LISTEN
    # shellcheck source=/dev/null
    source "$DIR/env"
    exec "$(cat "$DIR/program")" "$@" --config "$DIR/redrive.toml"
}

# Starts node $1 (`api`, `relay`, `worker-1`) with the roles $2, on a free port.
launch() {
    # A log that is there already belongs to an earlier life of this worker, with another address.
    [[ ! -e $DIR/$1.log ]] || mv "$DIR/$1.log" "$DIR/$1.$(date +%s%N).log"
    (
        trap '' HUP # outlives the terminal
        exec_redrive serve --roles "$2" --listen 127.0.0.1:0
    ) </dev/null >"$DIR/$1.log" 2>&1 &
    printf '%s\n' "$!" >"$DIR/$1.pid"
    # Before it has become redrive nothing would recognise it.
    until node_runs "$1" || ! kill -0 "$!" 2>/dev/null; do
        sleep 0.02
    done
}

node_runs() { [[ -e $DIR/$1.pid ]] && runs "$(cat "$DIR/$1.pid")" "$DIR/redrive.toml"; }

# Prints the URL that node $1 said it listens on.
url_of() {
    local line
    line=$(grep -ohm1 'redrive listens on http://[^ ]*' "$DIR/$1.log") || return 1
    printf '%s' "${line#redrive listens on }"
}

# Whether /readyz at URL $1 answers 200.
is_ready() {
    local address=${1#http://} status
    # shellcheck disable=SC2016 # the inner bash expands
    status=$(timeout 5 bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit 1
        printf "GET /readyz HTTP/1.0\r\nHost: %s:%s\r\n\r\n" "$0" "$1" >&3
        head -n 1 <&3
    ' "${address%:*}" "${address##*:}" 2>/dev/null) || return 1
    [[ $status == 'HTTP/'*' 200'* ]]
}

# Waits until node $1 listens and is ready.
await() {
    local url
    for _ in {1..300}; do
        if url=$(url_of "$1") && is_ready "$url"; then
            return
        fi
        node_runs "$1" || break
        sleep 0.2
    done
    tail -n 30 "$DIR/$1.log" >&2 || true
    die "$1 does not get ready"
}

nodes() {
    local file
    for file in "$DIR"/*.pid; do
        [[ ! -e $file ]] || basename "$file" .pid
    done | sort -V
}

describe() {
    local name=$1 pid
    pid=$(cat "$DIR/$name.pid")
    if node_runs "$name"; then
        printf '%-10s pid %-8s %s\n' "$name" "$pid" "$(url_of "$name" || printf 'starts')"
    else
        printf '%-10s ended\n' "$name"
    fi
}

status() {
    local name
    for name in $(nodes); do
        describe "$name"
    done
}

stop_all() {
    local name status=0 pids=() pid
    # All at once, with more time than they take to drain: a second TERM would cut that short.
    for name in $(nodes); do
        end_within 35 "$(cat "$DIR/$name.pid")" "$DIR/redrive.toml" TERM KILL &
        pids+=("$!")
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || status=1
    done
    [[ ! -d $DIR/services ]] || services stop "$DIR/services" || status=1
    return "$status"
}

start() {
    local workers=3 number name token
    if [[ ${1:-} == --workers && ${2:-} =~ ^[1-9][0-9]*$ ]]; then
        workers=$2
        shift 2
    fi
    [[ $# -eq 0 ]] || usage
    mkdir -p "$DIR"
    [[ -z $(ls -A "$DIR") ]] || die "$DIR is not empty"
    chmod 711 "$DIR" # PostgreSQL's user passes through it
    program >"$DIR/program"
    # To try things with targets on this machine.
    printf '[http]\nallow_networks = ["127.0.0.0/8"]\n' >"$DIR/redrive.toml"
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'stop_all || true' EXIT
    services start "$DIR/services" >"$DIR/env"
    (exec_redrive migrate) >&2
    launch api api
    launch relay relay,scheduler
    for ((number = 1; number <= workers; number++)); do
        launch "worker-$number" worker
    done
    for name in $(nodes); do
        await "$name"
    done
    token=$(exec_redrive token create --org org_try --name try --scopes read,retry,write,operator)
    trap - EXIT
    printf 'export REDRIVE_URL=%q\nexport REDRIVE_TOKEN=%q\n' "$(url_of api)" "$token"
    cat "$DIR/env"
    status | sed 's/^/# /'
}

start_worker() {
    local number=${1:-}
    if [[ -z $number ]]; then
        number=1
        while node_runs "worker-$number"; do
            number=$((number + 1))
        done
    fi
    ! node_runs "worker-$number" || die "worker $number runs already"
    launch "worker-$number" worker
    await "worker-$number"
    describe "worker-$number"
}

kill_worker() {
    node_runs "worker-$1" || die "worker $1 does not run"
    end_within 15 "$(cat "$DIR/worker-$1.pid")" "$DIR/redrive.toml" KILL
}

stop() {
    stop_all
    rm -rf "$DIR"
}

usage() {
    die "usage: bash tests/cluster.sh start DIR [--workers N] | status|stop DIR" \
        "| kill-worker DIR N | start-worker DIR [N]"
}

[[ $# -ge 2 && -n $2 ]] || usage
command=$1
case $2 in
    /*) DIR=$2 ;;
    *) DIR=$PWD/$2 ;;
esac
shift 2
[[ $command == start || -r $DIR/program ]] || die "$DIR holds no deployment of this script"
case $command in
    start) start "$@" ;;
    status | stop)
        [[ $# -eq 0 ]] || usage
        "$command"
        ;;
    kill-worker)
        [[ $# -eq 1 && $1 =~ ^[1-9][0-9]*$ ]] || usage
        kill_worker "$1"
        ;;
    start-worker)
        [[ $# -eq 0 || ($# -eq 1 && $1 =~ ^[1-9][0-9]*$) ]] || usage
        start_worker "$@"
        ;;
    *) usage ;;
esac
