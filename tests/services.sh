#!/usr/bin/env bash
# PostgreSQL and RabbitMQ for the tests, and for trying things out.
#
#   bash tests/services.sh start DIR > env   start what is missing; prints `export NAME=value` lines
#   bash tests/services.sh stop DIR          stop what `start DIR` started, and remove DIR
#
# While the private servers of DIR are up, for trying what happens when one goes away:
#
#   ... stop-postgres DIR [fast|immediate|kill] end the server, keep its data (`immediate`: it ends
#                                               without a checkpoint; `kill`: SIGKILL)
#   ... start-postgres DIR                      start it again, with the same port and data
#   ... restart-postgres DIR [fast|immediate|kill] both
#   ... stop-rabbitmq DIR [fast|immediate]      end the node, keep its data
#   ... start-rabbitmq DIR                      start it again, with the same name, port and data
#   ... rabbitmqctl DIR ARGS...                 run rabbitmqctl against the node
#
# A client that has to come before its broker: `start`, `stop-rabbitmq`, start the client with the
# AMQP_URL that `start` printed, `start-rabbitmq`.
#
# A server named by DATABASE_URL or AMQP_URL is used as it is. For the others a private server is
# started from what is installed, on a free loopback port, with its data in DIR. What is not
# installed is installed with apt-get where that is possible (as root, on Debian and its like).
#
# To keep the servers for a while:
#
#   dir=$(mktemp -d) && bash tests/services.sh start "$dir" > "$dir/env" && source "$dir/env"
#   cargo nextest run ...
#   bash tests/services.sh stop "$dir"
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "${BASH_SOURCE[0]%/*}/processes.sh"

# --- addresses ----------------------------------------------------------------------------------

# Whether an AMQP broker answers the protocol header at host $1, port $2.
speaks_amqp() {
    # shellcheck disable=SC2016 # the inner bash expands
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit 1
        printf "AMQP\0\0\11\1" >&3
        # The answer is a method frame: type 1, channel 0.
        [[ $(head -c 3 <&3 | od -An -tx1 | tr -d " \n") == 010000 ]]
    ' "$1" "$2" 2>/dev/null
}

# Sets `host` and `port` from the URL $1, with the default port $2.
split_url() {
    local rest=${1#*://}
    rest=${rest%%[/?]*}
    rest=${rest##*@}
    if [[ $rest =~ ^(\[.*\]|[^:]*)(:([0-9]+))?$ ]]; then
        host=${BASH_REMATCH[1]//[\[\]]/}
        port=${BASH_REMATCH[3]:-$2}
    else
        die "can't read host and port of a URL"
    fi
    host=${host:-127.0.0.1}
}

# --- servers that are there already -------------------------------------------------------------

# The URLs hold passwords, so messages name host and port only.
check_postgres() {
    local host port
    [[ $DATABASE_URL == postgres://* || $DATABASE_URL == postgresql://* ]] ||
        die "DATABASE_URL is not a postgres:// URL: the tests need PostgreSQL (unset it to get a private server)"
    split_url "$DATABASE_URL" 5432
    if command -v psql >/dev/null; then
        PGCONNECT_TIMEOUT=10 psql --no-psqlrc --no-password --quiet --tuples-only \
            --command 'select 1' "$DATABASE_URL" >/dev/null ||
            die "DATABASE_URL is set, but no usable PostgreSQL answers at $host:$port"
    else
        listens "$host" "$port" || die "DATABASE_URL is set, but nothing listens at $host:$port"
    fi
    say "PostgreSQL: the one DATABASE_URL names, at $host:$port"
}

check_rabbitmq() {
    local host port
    case $AMQP_URL in
        amqp://*)
            split_url "$AMQP_URL" 5672
            speaks_amqp "$host" "$port" || die "AMQP_URL is set, but no broker answers at $host:$port"
            ;;
        amqps://*)
            split_url "$AMQP_URL" 5671
            listens "$host" "$port" || die "AMQP_URL is set, but nothing listens at $host:$port"
            ;;
        *) die "AMQP_URL is not an amqp:// URL (unset it to get a private broker)" ;;
    esac
    say "RabbitMQ: the one AMQP_URL names, at $host:$port"
}

# --- what is installed --------------------------------------------------------------------------

# Prints the folder of PostgreSQL's programs.
postgres_bin() {
    local initdb
    if initdb=$(command -v initdb) && command -v pg_ctl >/dev/null; then
        dirname "$(readlink -f "$initdb")"
        return
    fi
    initdb=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)
    [[ -n $initdb ]] && dirname "$initdb"
}

# Prints the path of RabbitMQ's program $1. Debian's script in PATH changes to another user and
# forgets the environment, so the one it calls comes first.
rabbitmq_program() {
    if [[ -x /usr/lib/rabbitmq/bin/$1 ]]; then
        printf '%s' "/usr/lib/rabbitmq/bin/$1"
    else
        command -v "$1"
    fi
}

install_packages() {
    local policy=/usr/sbin/policy-rc.d status=0 apt=(apt-get -q -y -o DPkg::Lock::Timeout=300)
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "not installed: $* (install them, or set DATABASE_URL and AMQP_URL)"
    fi
    say "installing with apt-get: $*"
    # Debian starts a service as soon as it is installed, unless this file forbids it.
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    {
        "${apt[@]}" update &&
            DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "$@"
    } </dev/null >"$DIR/apt.log" 2>&1 || status=$?
    if [[ $(trap -p EXIT) == *policy-rc.d* ]]; then
        rm -f "$policy"
        trap - EXIT
    fi
    if ((status != 0)); then
        tail -n 30 "$DIR/apt.log" >&2
        die "apt-get can't install $*"
    fi
}

install_missing() {
    local missing=()
    [[ -n ${DATABASE_URL:-} ]] || [[ -n $(postgres_bin) ]] || missing+=(postgresql)
    [[ -n ${AMQP_URL:-} ]] || [[ -n $(rabbitmq_program rabbitmq-server) ]] || missing+=(rabbitmq-server)
    has_pika || missing+=(python3-pika)
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# Whether a Python here can publish to RabbitMQ as a platform in another language would.
has_pika() {
    python3 -c 'import pika' 2>/dev/null || /usr/bin/python3 -c 'import pika' 2>/dev/null
}

# --- PostgreSQL ---------------------------------------------------------------------------------

# The user PostgreSQL runs as: it refuses root.
postgres_user() {
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

as_postgres() {
    local user group
    if [[ $EUID -ne 0 ]]; then
        "$@"
        return
    fi
    user=$(postgres_user)
    group=$(id -g "$user")
    if setpriv --reuid="$user" --regid="$group" --clear-groups true 2>/dev/null; then
        setpriv --reuid="$user" --regid="$group" --clear-groups "$@"
    elif command -v runuser >/dev/null; then
        runuser -u "$user" -- "$@"
    else
        su "$user" -s /bin/sh -c 'exec "$@"' -- sh "$@"
    fi
}

# Creates the server's data.
init_postgres() {
    local data=$DIR/postgres/data
    mkdir "$DIR/postgres"
    if [[ $EUID -eq 0 ]]; then
        chown "$(postgres_user)" "$DIR/postgres"
    fi
    as_postgres test -w "$DIR/postgres" ||
        die "user $(postgres_user) can't reach $DIR: name a folder in a place open to every user"
    (
        unset "${!PG@}" # settings for clients and of other clusters
        cd /
        as_postgres "$(postgres_bin)/initdb" --pgdata="$data" --username=postgres --auth=trust \
            --encoding=UTF8 --locale=C --no-sync
    ) >"$DIR/initdb.log" 2>&1 || {
        cat "$DIR/initdb.log" >&2
        die "initdb failed"
    }
    # Durable as in production; only sizes are those of a small, short-lived server.
    as_postgres tee -a "$data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
min_wal_size = 32MB
max_wal_size = 256MB
timezone = 'UTC'
CONF
}

# Starts the server at port $1, and waits until it takes connections.
launch_postgres() {
    (
        unset "${!PG@}"
        cd /
        as_postgres "$(postgres_bin)/pg_ctl" start --wait --timeout=60 --silent \
            --pgdata="$DIR/postgres/data" --log="$DIR/postgres/log" --options="-p $1"
    ) >/dev/null 2>&1 </dev/null
}

fail_postgres() {
    tail -n 30 "$DIR/postgres/log" >&2 || true
    die "PostgreSQL does not start"
}

new_postgres() {
    local port
    init_postgres
    for _ in 1 2 3; do
        port=$(free_port)
        if launch_postgres "$port"; then
            printf '%s\n' "$port" >"$DIR/postgres/port"
            DATABASE_URL=postgres://postgres@127.0.0.1:$port/postgres
            say "PostgreSQL: private, $("$(postgres_bin)/postgres" --version), at 127.0.0.1:$port"
            return
        fi
    done
    fail_postgres
}

postgres_runs() {
    local data=$DIR/postgres/data
    [[ -r $data/postmaster.pid ]] && runs "$(head -n 1 "$data/postmaster.pid")" "$data"
}

start_postgres() {
    ! postgres_runs || die "the PostgreSQL of $DIR runs already"
    launch_postgres "$(cat "$DIR/postgres/port")" || fail_postgres
}

# Ends the server: `fast`, `immediate`, or `kill`.
stop_postgres() {
    local data=$DIR/postgres/data pid signals=(INT QUIT KILL)
    [[ -r $data/postmaster.pid ]] || return 0
    pid=$(head -n 1 "$data/postmaster.pid")
    if [[ $1 == kill ]]; then
        kill_postgres "$pid" "$data"
        return
    fi
    # INT ends the sessions, QUIT the server without a checkpoint.
    [[ $1 == fast ]] || signals=(QUIT KILL)
    end "$pid" "$data" "${signals[@]}"
}

# Kills process $1, the server with its data in $2, and the processes that it had started: they see
# that it is gone, but not at once, and the next server must not meet them.
kill_postgres() {
    local child children
    children=$(cat "/proc/$1/task/"*/children 2>/dev/null) || true
    end "$1" "$2" KILL
    for child in $children; do
        end "$child" postgres KILL
    done
    # Nobody is left whom it could name.
    rm -f "$2/postmaster.pid"
}

# --- RabbitMQ -----------------------------------------------------------------------------------

find_epmd() {
    command -v epmd && return
    erl -noshell -eval 'io:put_chars(filename:join([code:root_dir(), "erts-" ++ erlang:system_info(version), "bin", "epmd"])), halt().'
}

# Gives the node a name, ports, cookie and port mapper of its own, so that it meets no other node of
# this machine. What its programs need of that is kept in the file `env`.
configure_rabbitmq() {
    local home=$DIR/rabbitmq port epmd_port settings
    port=$(free_port)
    epmd_port=$(free_port)
    rm -rf "$home"
    mkdir -p "$home/home"
    printf '[].\n' >"$home/enabled_plugins"
    : >"$home/rabbitmq-env.conf"
    cat >"$home/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
disk_free_limit.absolute = 50MB
CONF
    settings=(
        HOME="$home/home" LANG=C.UTF-8 LC_ALL=C.UTF-8
        ERL_EPMD_PORT="$epmd_port" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_NODENAME="redrive-$$-$epmd_port@localhost"
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$port"
        RABBITMQ_DIST_PORT="$(free_port)"
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log"
        RABBITMQ_GENERATED_CONFIG_DIR="$home/config" RABBITMQ_SCHEMA_DIR="$home/schema"
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf"
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" RABBITMQ_PID_FILE="$home/pid"
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
        RABBITMQ_CTL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}'
    )
    printf 'export %q\n' "${settings[@]}" >"$home/env"
    printf '%s\n' "$port" >"$home/port"
}

# Goes to the node's folder and takes its environment: for a subshell.
enter_rabbitmq() {
    unset "${!RABBITMQ_@}" "${!ERL_@}"
    # shellcheck source=/dev/null
    source "$DIR/rabbitmq/env"
    cd "$DIR/rabbitmq"
}

# Starts the configured node. Answers before it has booted.
launch_rabbitmq() {
    (
        enter_rabbitmq
        rm -f pid script epmd
        # Without its own one, the node would leave a port mapper behind.
        nohup "$(find_epmd)" -port "$ERL_EPMD_PORT" </dev/null >epmd.log 2>&1 &
        printf '%s %s\n' "$!" "$ERL_EPMD_PORT" >epmd
        nohup "$(rabbitmq_program rabbitmq-server)" </dev/null >start.log 2>&1 &
        printf '%s\n' "$!" >script
    )
}

# Waits until the node speaks AMQP. One that does not is ended.
await_rabbitmq() {
    local home=$DIR/rabbitmq port
    port=$(cat "$home/port")
    for _ in {1..360}; do
        ! speaks_amqp 127.0.0.1 "$port" || return 0
        runs "$(cat "$home/script")" rabbitmq || break # the node gave up: a port was taken
        sleep 0.5
    done
    say "RabbitMQ does not start"
    tail -n 30 "$home/start.log" >&2 || true
    stop_rabbitmq fast || true
    return 1
}

# Waits for the first start of a node, with other ports if it needs them.
await_new_rabbitmq() {
    local try port
    for try in 1 2 3; do
        if await_rabbitmq; then
            port=$(cat "$DIR/rabbitmq/port")
            AMQP_URL=amqp://guest:guest@127.0.0.1:$port/%2f
            say "RabbitMQ: private, $(rabbitmq_version), at 127.0.0.1:$port"
            return
        fi
        if ((try < 3)); then
            configure_rabbitmq
            launch_rabbitmq
        fi
    done
    die "RabbitMQ does not start"
}

rabbitmq_runs() {
    [[ -r $DIR/rabbitmq/pid ]] && runs "$(head -n 1 "$DIR/rabbitmq/pid")" "$DIR/rabbitmq"
}

start_rabbitmq() {
    ! rabbitmq_runs || die "the RabbitMQ of $DIR runs already"
    stop_rabbitmq fast # what is left when the node was ended from outside
    launch_rabbitmq
    await_rabbitmq || exit 1
}

rabbitmqctl() {
    # Without the node there is no port mapper: rabbitmqctl would start one and leave it behind.
    rabbitmq_runs || die "the RabbitMQ of $DIR does not run"
    (
        enter_rabbitmq
        exec "$(rabbitmq_program rabbitmqctl)" "$@"
    )
}

rabbitmq_version() {
    local line
    line=$(grep -ohm1 'Starting RabbitMQ [0-9.]*' "$DIR/rabbitmq/log/"*.log | head -n 1) || true
    printf '%s' "${line#Starting }"
}

# Ends the node: `fast`, or `immediate` as a crash would.
stop_rabbitmq() {
    local home=$DIR/rabbitmq pid port status=0 signals=(TERM KILL)
    [[ $1 == fast ]] || signals=(KILL)
    if [[ -r $home/pid ]]; then
        end "$(head -n 1 "$home/pid")" "$home" "${signals[@]}" || status=1
    fi
    if [[ -r $home/script ]]; then
        end "$(cat "$home/script")" rabbitmq TERM KILL || status=1
    fi
    if [[ -r $home/epmd ]]; then
        read -r pid port <"$home/epmd"
        end "$pid" "-port $port" TERM KILL || status=1
    fi
    return "$status"
}

# --- commands -----------------------------------------------------------------------------------

stop_all() {
    local status=0
    stop_rabbitmq fast || status=1
    stop_postgres fast || status=1
    return "$status"
}

start() {
    local own_rabbitmq='' own_postgres=''
    [[ -n ${AMQP_URL:-} ]] || own_rabbitmq=yes
    [[ -n ${DATABASE_URL:-} ]] || own_postgres=yes
    mkdir -p "$DIR"
    [[ ! -e $DIR/postgres && ! -e $DIR/rabbitmq ]] || die "$DIR is in use already"
    chmod 711 "$DIR" # PostgreSQL's user passes through it
    [[ -n $own_postgres ]] || check_postgres
    [[ -n $own_rabbitmq ]] || check_rabbitmq
    # Run between two commands, so that apt-get is never left half way.
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    install_missing
    trap 'stop_all || true' EXIT
    if [[ -n $own_rabbitmq ]]; then
        configure_rabbitmq
        launch_rabbitmq
    fi
    [[ -z $own_postgres ]] || new_postgres
    [[ -z $own_rabbitmq ]] || await_new_rabbitmq
    trap - EXIT
    printf 'export DATABASE_URL=%q\nexport AMQP_URL=%q\n' "$DATABASE_URL" "$AMQP_URL"
}

stop() {
    [[ -d $DIR ]] || die "there is no folder $DIR"
    stop_all
    rm -rf "$DIR"
}

# Fails unless DIR holds the private server $1, `postgres` or `rabbitmq`.
require_private() {
    [[ -r $DIR/$1/port ]] || die "there is no private $1 in $DIR"
}

usage() {
    die "usage: bash tests/services.sh start|stop DIR" \
        "| stop-postgres|restart-postgres DIR [fast|immediate|kill]" \
        "| stop-rabbitmq DIR [fast|immediate]" \
        "| start-postgres|start-rabbitmq DIR | rabbitmqctl DIR ARGS..."
}

[[ $# -ge 2 && -n $2 ]] || usage
command=$1
case $2 in
    /*) DIR=$2 ;;
    *) DIR=$PWD/$2 ;;
esac
shift 2
case $command in
    start | stop | start-postgres | start-rabbitmq) [[ $# -eq 0 ]] || usage ;;
    stop-postgres | restart-postgres)
        [[ $# -le 1 && ${1:-fast} =~ ^(fast|immediate|kill)$ ]] || usage
        ;;
    stop-rabbitmq)
        [[ $# -le 1 && ${1:-fast} =~ ^(fast|immediate)$ ]] || usage
        ;;
    rabbitmqctl) ;;
    *) usage ;;
esac
case $command in
    *-postgres) require_private postgres ;;
    *-rabbitmq | rabbitmqctl) require_private rabbitmq ;;
esac
case $command in
    start) start ;;
    stop) stop ;;
    start-postgres) start_postgres ;;
    stop-postgres) stop_postgres "${1:-fast}" ;;
    restart-postgres)
        stop_postgres "${1:-fast}"
        start_postgres
        ;;
    start-rabbitmq) start_rabbitmq ;;
    stop-rabbitmq) stop_rabbitmq "${1:-fast}" ;;
    rabbitmqctl) rabbitmqctl "$@" ;;
esac
