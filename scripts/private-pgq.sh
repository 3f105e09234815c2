#!/usr/bin/env bash
# Puts PgQ, of Debian's package for the server's version, into the private PostgreSQL. The benchmark
# measures beside it. Nothing here needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

bin=$(scripts/private-postgres.sh --no-install)
lib=$("$bin/pg_config" --pkglibdir)
share=$("$bin/pg_config" --sharedir)
# That of the system was linked into it.
[[ ! -e $share/extension/pgq.control ]] || exit 0

major=$("$bin/pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Its client programs are not wanted.
scripts/extract-packages.sh "$folder" "postgresql-$major-pgq3" 'none'
cp "$folder/files/usr/lib/postgresql/$major/lib/"*.so "$lib"
# The control file last, since it tells that all is there.
cp "$folder/files/usr/share/postgresql/$major/extension/pgq--"*.sql "$share/extension"
cp "$folder/files/usr/share/postgresql/$major/extension/pgq.control" "$share/extension"
