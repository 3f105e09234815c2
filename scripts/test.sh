#!/usr/bin/env bash
# Runs every test of the workspace and ends with their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

# Once, and not while tests measure and wait.
scripts/private-postgres.sh >/dev/null
cargo build --release -p notify-json-cli

log=target/test.log
status=0
{
  cargo test --workspace --doc --no-fail-fast
  cargo test --workspace --lib --bins --tests --benches --no-fail-fast
} 2>&1 | tee "$log" || status=$?

awk '/^test result:/ { passed += $4; failed += $6 }
     END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
