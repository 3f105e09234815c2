#!/usr/bin/env bash
# Makes a private copy of the installed PostgreSQL with the extension in it, and prints where.
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

# Root starts servers as user postgres, who may be unable to enter the checkout.
root=$PWD/target/postgres
mkdir -p "$root"
if [[ $EUID -eq 0 ]] && ! runuser -u postgres -- test -x "$root"; then
  root=/var/tmp/notify_json-$(cksum <<<"$PWD" | cut -d ' ' -f 1)/postgres
  mkdir -p "$root"
  # Programs are run from here, so it must not be a folder that somebody else has prepared.
  if [[ -L ${root%/*} || ! -O ${root%/*} || -L $root || ! -O $root ]]; then
    echo "${root%/*} is not root's: remove it, then run this again." >&2
    exit 1
  fi
fi

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
make --no-print-directory install DESTDIR="$root" >&2
echo "$root$bin"
