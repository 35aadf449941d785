#!/usr/bin/env bash
# The chaos suite: real PostgreSQL, RabbitMQ and processes, killed, stopped, cut off and lied to, and
# an auditor that looks at what comes of it. See docs/chaos.md for each row.
#
#   bash tests/chaos.sh                     every row, as in every change
#   bash tests/chaos.sh --full              every row at the size of a night, with a released program
#   bash tests/chaos.sh --seed N            repeats what was left to chance
#   bash tests/chaos.sh --minutes M         ... and then everything at once, seed after seed, so long
#   bash tests/chaos.sh --report DIR        where the report goes (default: target/chaos)
#   bash tests/chaos.sh [...] ROW...        only tests whose names contain one of these
#
# It prints a table in the end, which is also in DIR/report.md; DIR/log has what the tests said. The
# exit status is 0 only if every row has passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
here=$PWD

usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
number() { [[ $1 =~ ^[0-9]+$ ]] || usage; }

full='' seed='' minutes=0 report=$here/target/chaos rows=()
while (($#)); do
    case $1 in
        --full) full=yes ;;
        --seed) seed=${2:-} && number "$seed" && shift ;;
        --minutes) minutes=${2:-} && number "$minutes" && shift ;;
        --report) report=${2:-} && [[ -n $report ]] || usage && shift ;;
        -*) usage ;;
        *) rows+=("$1") ;;
    esac
    shift
done
[[ -n $seed ]] || seed=$((RANDOM * 32768 + RANDOM))

# The rows: what is named for chaos, and the pool's.
all=(chaos pool:: broker_faults storage_gone clocks poison)
# Those that leave more to chance than a seed can repeat, for a night.
again=(dies_at_every_point stands_still postgres_is_restarted rabbitmq_goes trouble_with_the_broker)
storm=everything_at_once

mkdir -p "$report"
report=$(cd "$report" && pwd)
log=$report/log
: >"$log"
: >"$report/rows.jsonl"
export REDRIVE_CHAOS_REPORT=$report/rows.jsonl NEXTEST_PROFILE=chaos
unset CI # its profile gives a row five minutes

sow() {
    export REDRIVE_POOL_SEED=$1 REDRIVE_STORM_SEED=$1 REDRIVE_CHAOS_SEED=$1
}

# The nightly column.
if [[ -n $full ]]; then
    export REDRIVE_POOL_FULL=1 \
        REDRIVE_POOL_ACCEPTS=5000 REDRIVE_POOL_API_KILLS=100 \
        REDRIVE_POOL_HANG_UPS=20000 \
        REDRIVE_POOL_OUTAGE=120 \
        REDRIVE_POOL_SLOW_RETRIES=60 \
        REDRIVE_POOL_LETTERS=400 REDRIVE_POOL_MALFORMED=100000 \
        REDRIVE_POOL_CROWDS=100 REDRIVE_POOL_CROWD=500 \
        REDRIVE_POOL_STOPS=100 REDRIVE_POOL_STOP_EVERY_MS=5000 \
        REDRIVE_POOL_WAVES=60 \
        REDRIVE_STORM_STEPS=2000 REDRIVE_STORM_RETRIES=6000 \
        REDRIVE_CHAOS_RETRIES=5000 REDRIVE_CHAOS_KILLS=200
    # With the points to die at, which the rows of the failpoints need; otherwise as released.
    cargo build --release --locked --features faults
    export REDRIVE_TEST_PROGRAM=$here/target/release/redrive
fi

failed=0
# Runs the tests whose names contain one of these.
run() {
    local filter
    echo "chaos.sh: seed $REDRIVE_STORM_SEED: $*"
    if cargo nextest --version >/dev/null 2>&1; then
        filter=$(printf ' | test(%s)' "$@")
        bash tests/run.sh --no-fail-fast -E "${filter# | }" >>"$log" 2>&1 || failed=1
    else
        bash tests/run.sh --no-fail-fast -- --test-threads 1 "$@" >>"$log" 2>&1 || failed=1
    fi
}

table() {
    python3 - "$report/rows.jsonl" "$1" <<'PYTHON'
import json, sys

columns = [
    ("row", "row"), ("seed", "seed"), ("scale", "scale"), ("faults", "faults"), ("lost", "lost"),
    ("secondRuns", "second runs"), ("repeatedSuccesses", "recorded, run again"),
    ("repeatedInFlight", "repeated in flight"), ("repeatedNotInFlight", "repeated otherwise"),
    ("thawed", "sent while frozen"), ("zombieWrites", "zombie writes"),
    ("settledSeconds", "last fault to last end, s"), ("seconds", "took, s"),
]
rows = [json.loads(line) for line in open(sys.argv[1])]
print("| " + " | ".join(title for _, title in columns) + " | |")
print("|" + "---|" * (len(columns) + 1))
for row in rows:
    cells = [str(row.get(name, "")) for name, _ in columns]
    print("| " + " | ".join(cells) + f" | {'pass' if row['passed'] else '**FAIL**'} |")
bad = sum(not row["passed"] for row in rows)
print(f"\n{len(rows)} rows reported, {bad} failed; the tests "
      + ("passed." if sys.argv[2] == "0" else "FAILED: see the log."))
PYTHON
}

finish() {
    local status=$?
    trap - EXIT
    ((status == 0)) || failed=1
    table "$failed" | tee "$report/report.md"
    grep -E '^ +(FAIL|TIMEOUT|SIGTERM|ABORT) ' "$log" | sort -u || true
    echo "chaos.sh: $report/report.md, $log"
    exit "$failed"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

began=$SECONDS
sow "$seed"
if ((${#rows[@]})); then run "${rows[@]}"; else run "${all[@]}"; fi
if [[ -n $full ]] && ((${#rows[@]} == 0)); then
    unset REDRIVE_POOL_OUTAGE # once is enough for the long one
    for ((turn = 1; turn <= 5; turn++)); do
        sow $((seed + turn))
        run "${again[@]}"
    done
fi
for ((turn = 100; SECONDS - began < minutes * 60; turn++)); do
    sow $((seed + turn))
    run "$storm"
done
