#!/usr/bin/env bash
# Prints the path of pgmq's SQL, which the package for its Python client carries. The benchmark
# measures beside it.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

version=1.1.4
folder=$(scripts/private-folder.sh)/pgmq-$version
sql=$folder/pgmq/sql/pgmq.sql
if [[ ! -e $sql ]]; then
  part=$(mktemp -d "$folder.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  python3 -m pip download --quiet --no-deps --dest "$part" "pgmq==$version" >&2
  python3 -m zipfile --extract "$part"/pgmq-*.whl "$part"
  rm -rf "$folder"
  mv "$part" "$folder"
fi
echo "$sql"
