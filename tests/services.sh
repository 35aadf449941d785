#!/usr/bin/env bash
# Private PostgreSQL and RabbitMQ servers for one test run, on loopback only.
#
#   tests/services.sh start DIR   starts what DATABASE_URL and AMQP_URL do not already name,
#                                 prints `export ...` lines, leaves the servers up
#   tests/services.sh stop DIR    stops what `start DIR` started, and nothing else
#
# Everything a server writes is in DIR. Nothing is read from a system-wide configuration.
set -euo pipefail

say() { printf 'services: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

usage() { die "usage: tests/services.sh start|stop DIR"; }

# --- finding and installing ---------------------------------------------------------------------

# Prints the folder holding initdb and postgres, the newest version first.
postgres_bin() {
    local found
    found=$(command -v initdb || true)
    if [[ -n $found && -x $(dirname "$found")/postgres ]]; then
        dirname "$found"
        return
    fi
    for found in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        if [[ -x $found/initdb && -x $found/postgres ]]; then
            printf '%s\n' "$found"
            return
        fi
    done
    return 1
}

# Prints a rabbitmq-server that any user may run: Debian's own in /usr/sbin insists on root or
# `rabbitmq`, the scripts it wraps do not.
rabbitmq_server() {
    local found
    for found in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server \
        /usr/lib/rabbitmq/bin/rabbitmq-server "$(command -v rabbitmq-server || true)" \
        /usr/sbin/rabbitmq-server; do
        if [[ -n $found && -x $found ]]; then
            printf '%s\n' "$found"
            return
        fi
    done
    return 1
}

POLICY=/usr/sbin/policy-rc.d
policy_is_ours=no

remove_policy() {
    if [[ $policy_is_ours == yes ]]; then
        rm -f "$POLICY"
        policy_is_ours=no
    fi
}

# Installs Debian packages without letting their servers start.
install_packages() {
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "not installed: $*. Install them, or set DATABASE_URL and AMQP_URL"
    fi
    say "installing $*"
    if [[ ! -e $POLICY ]]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
    fi
    export DEBIAN_FRONTEND=noninteractive
    local log=$dir/apt.log
    if ! { apt-get -o DPkg::Lock::Timeout=300 update &&
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "apt-get could not install $*"
    fi
    remove_policy
}

# --- processes ----------------------------------------------------------------------------------

# Prints the first of the named users that exists: the one a server runs as when we are root.
first_user() {
    local user
    for user in "$@"; do
        if id -u "$user" >/dev/null 2>&1; then
            printf '%s\n' "$user"
            return
        fi
    done
    die "none of the users $* exists, and a server must not run as root"
}

# as USER COMMAND...: as root, runs the command as USER; otherwise as ourselves.
as() {
    local user=$1
    shift
    if [[ $(id -u) -eq 0 ]]; then
        runuser -u "$user" -- "$@"
    else
        "$@"
    fi
}

# own USER FOLDER: gives the folder to USER, and checks that USER can get there.
own() {
    mkdir -p "$2"
    if [[ $(id -u) -eq 0 ]]; then
        chown "$1" "$2"
        as "$1" test -w "$2" || die "user $1 cannot reach $2: choose another TMPDIR"
    fi
}

# launch NAME COMMAND...: starts a server as the leader of a process group of its own, so that a
# Ctrl-C meant for the tests does not reach it and `stop` reaches all of it.
launch() {
    local name=$1
    shift
    set -m
    "$@" </dev/null >"$dir/$name.log" 2>&1 &
    printf '%s\n' "$!" >"$dir/$name.group"
    set +m
}

group_alive() { kill -0 -- "-$1" 2>/dev/null; }

# await NAME SECONDS CHECK...: waits for CHECK to succeed while the server lives.
await() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! group_alive "$(cat "$dir/$name.group")" || ((SECONDS >= deadline)); then
            tail -n 40 "$dir/$name.log" >&2
            die "$name did not start"
        fi
        sleep 0.2
    done
}

# halt NAME SIGNAL PID_FILE: asks the server to stop, then makes it.
halt() {
    local name=$1 signal=$2 pid_file=$3 group pid deadline
    [[ -s $dir/$name.group ]] || return 0
    group=$(cat "$dir/$name.group")
    pid=$(head -n 1 "$pid_file" 2>/dev/null || true)
    # A process id that left the group is somebody else's by now.
    if [[ -n $pid && $(ps -o pgid= -p "$pid" 2>/dev/null | tr -d ' ') == "$group" ]]; then
        kill -s "$signal" "$pid" 2>/dev/null || true
    else
        kill -s "$signal" -- "-$group" 2>/dev/null || true
    fi
    deadline=$((SECONDS + 15))
    while group_alive "$group"; do
        if ((SECONDS >= deadline)); then
            kill -s KILL -- "-$group" 2>/dev/null || true
            sleep 0.2
            break
        fi
        sleep 0.1
    done
    rm -f "$dir/$name.group"
}

taken_ports=' '

# Sets `port` to a loopback port nobody listens on, below the ephemeral range.
free_port() {
    while :; do
        port=$((15000 + RANDOM % 17000))
        if [[ $taken_ports != *" $port "* ]] &&
            ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            taken_ports+="$port "
            return
        fi
    done
}

# --- PostgreSQL ---------------------------------------------------------------------------------

start_postgres() {
    local bin user home=$dir/postgres
    bin=$(postgres_bin) || die "initdb is still missing"
    user=$(first_user postgres nobody)
    own "$user" "$home"
    cd "$home"
    as "$user" "$bin/initdb" -D "$home/data" -U redrive -A trust -E UTF8 --no-locale \
        </dev/null >"$dir/initdb.log" 2>&1 || {
        cat "$dir/initdb.log" >&2
        die "initdb failed"
    }
    free_port
    launch postgres as "$user" "$bin/postgres" -D "$home/data" \
        -c listen_addresses=127.0.0.1 -c port="$port" -c max_connections=200 \
        -c unix_socket_directories="$home"
    database_url=postgres://redrive@127.0.0.1:$port/postgres
    postgres_port=$port
}

postgres_ready() { grep -q '^ready' <(sed -n 8p "$dir/postgres/data/postmaster.pid"); }

# --- RabbitMQ -----------------------------------------------------------------------------------

start_rabbitmq() {
    local server epmd user home=$dir/rabbitmq epmd_port node_port dist_port
    server=$(rabbitmq_server) || die "rabbitmq-server is still missing"
    epmd=$(command -v epmd) || die "epmd (Erlang) is missing"
    user=$(first_user rabbitmq nobody)
    own "$user" "$home"
    cd "$home"
    free_port && epmd_port=$port
    free_port && node_port=$port
    free_port && dist_port=$port
    printf 'listeners.tcp.1 = 127.0.0.1:%s\ndisk_free_limit.absolute = 64MB\n' "$node_port" \
        >"$home/rabbitmq.conf"
    printf '[].\n' >"$home/advanced.config"
    printf '[].\n' >"$home/enabled_plugins"
    : >"$home/rabbitmq-env.conf"
    chmod 644 "$home"/*
    if [[ $(id -u) -eq 0 ]]; then
        chown "$user" "$home"/*
    fi
    # Our own epmd, first: the node would otherwise leave a daemon behind.
    launch epmd as "$user" env ERL_EPMD_ADDRESS=127.0.0.1 "$epmd" -port "$epmd_port"
    await epmd 20 port_answers "$epmd_port"
    launch rabbitmq as "$user" env -i PATH="$PATH" LANG=C.UTF-8 HOME="$home" \
        ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1 \
        RABBITMQ_NODENAME="redrive$$@localhost" \
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$node_port" \
        RABBITMQ_DIST_PORT="$dist_port" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_LOGS=- \
        RABBITMQ_PID_FILE="$home/pid" RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf" \
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
        "$server"
    amqp_url=amqp://guest:guest@127.0.0.1:$node_port/%2f
    amqp_port=$node_port
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

# Ready when the protocol header is answered with a method frame (type 1).
rabbitmq_ready() (
    exec 3<>"/dev/tcp/127.0.0.1/$amqp_port"
    printf 'AMQP\x00\x00\x09\x01' >&3
    IFS= read -r -t 5 -n 1 -u 3 first
    [[ $first == $'\x01' ]]
)

# --- start and stop -----------------------------------------------------------------------------

stop() {
    halt rabbitmq TERM "$dir/rabbitmq/pid"
    halt epmd TERM /dev/null
    halt postgres INT "$dir/postgres/data/postmaster.pid"
}

undo() {
    local status=$?
    trap '' INT TERM
    remove_policy
    if ((status != 0)); then
        stop
    fi
    exit "$status"
}

start() {
    trap undo EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    local missing=()
    database_url=${DATABASE_URL:-}
    amqp_url=${AMQP_URL:-}
    if [[ -z $database_url ]] && ! postgres_bin >/dev/null; then
        missing+=(postgresql)
    fi
    if [[ -z $amqp_url ]] && ! rabbitmq_server >/dev/null; then
        missing+=(rabbitmq-server)
    fi
    if ((${#missing[@]} > 0)); then
        install_packages "${missing[@]}"
    fi
    [[ -n $database_url ]] || start_postgres
    [[ -n $amqp_url ]] || start_rabbitmq
    if [[ -n ${postgres_port:-} ]]; then
        await postgres 60 postgres_ready
        say "PostgreSQL on 127.0.0.1:$postgres_port"
    fi
    if [[ -n ${amqp_port:-} ]]; then
        await rabbitmq 120 rabbitmq_ready
        say "RabbitMQ on 127.0.0.1:$amqp_port"
    fi
    printf 'export DATABASE_URL=%q\nexport AMQP_URL=%q\n' "$database_url" "$amqp_url"
}

[[ $# -eq 2 && -n $2 ]] || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)
case $1 in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
