#!/usr/bin/env bash
# Installs the system packages that building and testing need, where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo >/dev/null || {
  echo "Rust is missing: install it from https://rustup.rs, then run this again." >&2
  exit 1
}

installed() {
  dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed'
}

has_all() {
  local program
  for program; do
    command -v "$program" >/dev/null || return 1
  done
}

pg_config=${PG_CONFIG:-$(scripts/find-pg-config.sh)}
documents=/usr/share/iso-codes/json
if [[ -n $pg_config && -d $documents ]] && has_all clang cc pkg-config &&
  { ! command -v dpkg-query >/dev/null || installed libclang-dev; }; then
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  cat >&2 <<EOF
There is no apt here to install what is missing. Install, under your system's names:
  a C compiler, clang with libclang, pkg-config, the headers of OpenSSL,
  PostgreSQL 14 to 18 with its server headers (pg_config in PATH),
  and iso-codes, whose documents the demo sends from $documents.
EOF
  exit 1
fi

as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || {
    echo "System packages are missing and there is no sudo: run 'make setup' once as root." >&2
    exit 1
  }
  as_root=(sudo)
fi

"${as_root[@]}" apt-get update -qq
packages=(build-essential clang iso-codes libclang-dev libssl-dev pkg-config)
if [[ -z $pg_config ]]; then
  major=$(apt-cache search --names-only '^postgresql-server-dev-1[4-8]$' |
    sed -E 's/^postgresql-server-dev-([0-9]+) .*/\1/' | sort -n | tail -n 1)
  packages+=("postgresql-$major" "postgresql-server-dev-$major")
fi
echo "Installing ${packages[*]}"
# Without this the package would create a cluster on port 5432 and start it.
no_cluster=/etc/postgresql-common/createcluster.d/notify_json.conf
"${as_root[@]}" install -D /dev/stdin "$no_cluster" <<<'create_main_cluster = false'
trap '"${as_root[@]}" rm -f "$no_cluster"' EXIT
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
  --no-install-recommends "${packages[@]}"
