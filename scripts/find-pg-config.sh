#!/usr/bin/env bash
# Prints the pg_config of the newest supported server whose headers are installed.
set -euo pipefail
for candidate in /usr/lib/postgresql/{18,17,16,15,14}/bin/pg_config \
  /usr/pgsql-{18,17,16,15,14}/bin/pg_config "$(command -v pg_config || true)"; do
  if [[ -x $candidate && -f $("$candidate" --includedir-server)/postgres.h ]]; then
    echo "$candidate"
    exit
  fi
done
