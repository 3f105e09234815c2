#!/usr/bin/env bash
# Runs every test of the workspace and ends with their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

log=target/test.log
status=0
{
  failed=0
  cargo test -p notify-json-client --lib --no-default-features || failed=1
  cargo test --workspace --exclude notify_json --doc --no-fail-fast || failed=1
  cargo test --workspace --exclude notify_json --lib --bins --tests --benches --no-fail-fast || failed=1
  cargo test -p notify-json-tests --test metrics --features metrics || failed=1
  exit $failed
} 2>&1 | tee "$log" || status=$?

awk '/^test result:/ { passed += $4; failed += $6 }
     END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit "$status"
