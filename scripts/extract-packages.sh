#!/usr/bin/env bash
# Extracts Debian packages into a folder, without installing them: the one named, and those of the
# packages it needs whose names match a pattern and that the system lacks. Needs no root.
#
#     scripts/extract-packages.sh FOLDER PACKAGE PATTERN
set -euo pipefail
folder=$1 package=$2 pattern=$3
umask 022

if ! command -v apt-get >/dev/null; then
  echo "There is no apt here to fetch $package." >&2
  exit 1
fi
mkdir -p "$folder"/{packages,lists/partial,cache/archives/partial}

download() {
  local packages
  packages=$(apt-get "$@" install --simulate --no-install-recommends "$package" |
    awk -v wanted="^($package|$pattern)\$" '$1 == "Inst" && $2 ~ wanted { print $2 }') &&
    # shellcheck disable=SC2086 # names of packages, to be split
    (cd "$folder/packages" && apt-get "$@" -o APT::Sandbox::User=root download $packages) >&2
}

# The system's lists of packages may be missing or old; only root could renew them.
lists=(-o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache")
if ! download; then
  apt-get "${lists[@]}" -o APT::Sandbox::User=root update -qq >&2
  download "${lists[@]}"
fi
for file in "$folder"/packages/*.deb; do
  dpkg-deb --extract "$file" "$folder/files"
done
rm -rf "$folder"/{packages,lists,cache}
