#!/usr/bin/env bash
# Runs every test, with a PostgreSQL and a RabbitMQ that live as long as the run.
#
#   bash tests/run.sh            everything, doc tests included
#   bash tests/run.sh ARGS...    arguments for the test runner, for instance the name of a test
#
# DATABASE_URL and AMQP_URL, when set, name servers to use instead of private ones: the PostgreSQL
# user must be allowed to create databases. See tests/services.sh for what is started otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch='' # holds the servers
starter='' # the process that starts them
child=''   # the process group of the build or the tests

# In a process group of its own and waited for: a signal reaches the traps at once, and ending the
# group ends the tests, not only cargo.
in_group() {
    local status=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "$child" || status=$?
    child=''
    return "$status"
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    trap - EXIT
    if [[ -n $child ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if [[ -n $starter ]]; then
        kill -TERM "$starter" 2>/dev/null || true
        wait "$starter" 2>/dev/null || true
    fi
    if [[ -n $scratch ]]; then
        bash tests/services.sh stop "$scratch" || status=1
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# A folder that PostgreSQL's user can enter too, when root runs the tests.
make_scratch() {
    local base
    for base in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        scratch=$(mktemp -d "$base/redrive-tests.XXXXXX" 2>/dev/null) || continue
        [[ $EUID -ne 0 ]] && return
        chmod 711 "$scratch"
        if setpriv --reuid=65534 --clear-groups --regid=65534 test -x "$scratch" 2>/dev/null ||
            su nobody -s /bin/sh -c "test -x '$scratch'" 2>/dev/null; then
            return
        fi
        rmdir "$scratch"
        scratch=''
    done
    echo "run.sh: no folder for temporary files that every user can enter" >&2
    exit 1
}

start_servers() {
    bash tests/services.sh start "$scratch" >"$scratch/env" </dev/null &
    starter=$!
}

await_servers() {
    local status=0
    wait "$starter" || status=$?
    starter=''
    if ((status != 0)); then
        echo "run.sh: no servers, so no tests" >&2
        exit 1
    fi
    # shellcheck source=/dev/null
    source "$scratch/env"
}

# With the points to die at and the bugs to plant, which only tests have: see src/faults.rs.
build=(cargo test --locked --features faults --no-run)
tests=(cargo test --locked --features faults)
if cargo nextest --version >/dev/null 2>&1; then
    build=(cargo nextest run --locked --features faults --no-run)
    tests=(cargo nextest run --locked --features faults)
    [[ ${CI:-} != true ]] || tests+=(--profile ci)
elif [[ $# -eq 0 ]]; then
    tests+=(--all-targets) # the doc tests come last
fi

describe() {
    if [[ -n $1 ]]; then printf 'yours'; else printf 'private, stopped with this run'; fi
}
postgres=$(describe "${DATABASE_URL:-}")
rabbitmq=$(describe "${AMQP_URL:-}")

make_scratch
start_servers
in_group "${build[@]}"
await_servers

status=0
in_group "${tests[@]}" "$@" || status=$?
if [[ $# -eq 0 ]]; then
    in_group cargo test --locked --features faults --doc || status=$?
fi
echo "run.sh: PostgreSQL ${DATABASE_URL##*@} ($postgres), RabbitMQ ${AMQP_URL##*@} ($rabbitmq); status $status"
exit "$status"
