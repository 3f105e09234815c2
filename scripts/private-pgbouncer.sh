#!/usr/bin/env bash
# Prints the path of PgBouncer, which the tests need: the system's, or else a private copy.
#
# The copy is of Debian's package, which would start a daemon if it were installed. It comes with
# those of its libraries that the system lacks. Nothing here needs root.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

for program in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer; do
  if [[ -x $program ]]; then
    echo "$program"
    exit
  fi
done

root=$(scripts/private-folder.sh)/pgbouncer
program=$root/pgbouncer
mkdir -p "$root"
exec 9>"$root/lock"
flock 9
works() {
  "$program" --version >/dev/null 2>&1
}

# Downloads the package, and those of its libraries that are not installed.
download() {
  local packages
  packages=$(apt-get "$@" install --simulate --no-install-recommends pgbouncer |
    awk '$1 == "Inst" && $2 ~ /^(pgbouncer|lib.*)$/ { print $2 }') &&
    # shellcheck disable=SC2086 # names of packages, to be split
    (cd "$root/packages" && apt-get "$@" -o APT::Sandbox::User=root download $packages) >&2
}

if ! works; then
  if ! command -v apt-get >/dev/null; then
    echo "There is no apt here to fetch PgBouncer, which the tests need. Install pgbouncer." >&2
    exit 1
  fi
  find "$root" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  mkdir -p "$root"/{packages,lists/partial,cache/archives/partial}
  # The system's lists of packages may be missing or old; only root could renew them.
  lists=(-o "Dir::State::Lists=$root/lists" -o "Dir::Cache=$root/cache")
  if ! download; then
    apt-get "${lists[@]}" -o APT::Sandbox::User=root update -qq >&2
    download "${lists[@]}"
  fi
  for package in "$root"/packages/*.deb; do
    dpkg-deb --extract "$package" "$root/files"
  done
  rm -rf "$root"/{packages,lists,cache}
  libraries=$(find "$root/files" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd :)
  install -m 755 /dev/stdin "$program" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$root/files/usr/sbin/pgbouncer' "\$@"
END
  works || "$program" --version >&2
fi
echo "$program"
