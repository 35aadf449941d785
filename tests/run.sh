#!/usr/bin/env bash
# Runs every test against a real PostgreSQL and a real RabbitMQ.
#
#   bash tests/run.sh [filter arguments for the test runner]
#
# DATABASE_URL (a superuser URL: tests make their own databases) and AMQP_URL are used when set.
# What they do not name is started privately by tests/services.sh, and stopped here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d "${TMPDIR:-/tmp}/redrive-tests.XXXXXX")
chmod 755 "$scratch"
child=
services=

finish() {
    local status=$?
    trap '' INT TERM
    if [[ -n $child ]]; then
        kill -s TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    if [[ -n $services ]]; then
        kill -s TERM "$services" 2>/dev/null || true
        wait "$services" 2>/dev/null || true
    fi
    bash tests/services.sh stop "$scratch" || status=1
    rm -rf "$scratch"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command in a process group of its own and waits, so that a signal is answered at once.
run() {
    local status=0
    set -m
    "$@" </dev/null &
    child=$!
    set +m
    wait "$child" || status=$?
    child=
    return "$status"
}

# The servers start while the tests compile.
bash tests/services.sh start "$scratch" </dev/null >"$scratch/env" &
services=$!

if cargo nextest --version >/dev/null 2>&1; then
    runner=(cargo nextest run --locked)
else
    runner=(cargo test --locked)
fi
run "${runner[@]}" --no-run

started=0
wait "$services" || started=$?
services=
if ((started != 0)); then
    exit "$started"
fi
# shellcheck disable=SC1091
source "$scratch/env"

run "${runner[@]}" "$@"
if (($# == 0)); then
    run cargo test --doc --locked
fi
