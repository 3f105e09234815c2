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

if ! works; then
  find "$root" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  if ! scripts/extract-packages.sh "$root" pgbouncer 'lib.*'; then
    echo "The tests need PgBouncer. Install pgbouncer." >&2
    exit 1
  fi
  libraries=$(find "$root/files" -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd :)
  install -m 755 /dev/stdin "$program" <<END
#!/bin/sh
LD_LIBRARY_PATH='$libraries' exec '$root/files/usr/sbin/pgbouncer' "\$@"
END
  works || "$program" --version >&2
fi
echo "$program"
