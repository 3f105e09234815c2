#!/usr/bin/env bash
# Fuzzes every target of wire/fuzz for SECONDS each (default 60), on the stable toolchain and
# without cargo-fuzz. Exits non-zero when a target finds something.
#
#   scripts/fuzz.sh [SECONDS]
set -euo pipefail
seconds=${1:-60}
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then # libFuzzer takes 0 for "for ever"
    echo "usage: scripts/fuzz.sh [SECONDS]" >&2
    exit 2
fi
cd "$(dirname "$0")/../wire/fuzz"

host=$(rustc -vV | sed -n 's/^host: //p')
coverage=(
    -sanitizer-coverage-level=4
    -sanitizer-coverage-inline-8bit-counters
    -sanitizer-coverage-pc-table
    -sanitizer-coverage-trace-compares
)
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module ${coverage[*]/#/-Cllvm-args=}"
# With --target, RUSTFLAGS leaves build scripts and macros alone.
cargo=(--quiet --release --locked --target "$host")
cargo build "${cargo[@]}"

status=0
summary=()
for source in fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target.log
    if cargo run "${cargo[@]}" --bin "$target" -- "corpus/$target" \
        -max_total_time="$seconds" -rss_limit_mb=512 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        summary+=("$target: no finding in $runs runs")
    else
        status=1
        tail -n 40 "$log"
        summary+=("$target: FINDING, see wire/fuzz/$log and wire/fuzz/artifacts/$target/")
    fi
done
printf '%s\n' "${summary[@]}"
exit "$status"
