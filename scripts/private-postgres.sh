#!/usr/bin/env bash
# Makes a private copy of the installed PostgreSQL with the extension in it, and prints where.
# With --no-install the extension in it stays as it is, so nothing is built.
#
# The copy needs no rights on the system's files. PostgreSQL finds its own by the path of its
# programs, so these are copied and everything else is linked.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

: "${PG_CONFIG:=$(scripts/find-pg-config.sh)}"
export PG_CONFIG
bin=$("$PG_CONFIG" --bindir)
lib=$("$PG_CONFIG" --pkglibdir)
share=$("$PG_CONFIG" --sharedir)

root=$(scripts/private-folder.sh)/postgres
mkdir -p "$root"
exec 9>"$root/lock"
flock 9
version=$("$bin/postgres" --version)
if [[ ! -e $root/version || $(<"$root/version") != "$version $bin" ]]; then
  find "$root" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  mkdir -p "$root$bin" "$root$lib" "$root$share"
  cp -rL "$bin/." "$root$bin"
  cp -rs "$lib/." "$root$lib"
  cp -rs "$share/." "$root$share"
  echo "$version $bin" >"$root/version"
fi
[[ ${1-} == --no-install ]] || make --no-print-directory install DESTDIR="$root" >&2
echo "$root$bin"
