#!/usr/bin/env bash
# Installs the system packages that building and testing need, where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

has_all() {
  local program
  for program; do
    command -v "$program" >/dev/null || return 1
  done
}

# Root may install packages for a user who has Rust.
if [[ $EUID -ne 0 ]] && ! has_all cargo; then
  echo "Rust is missing: install it from https://rustup.rs, then run this again." >&2
  exit 1
fi

pg_config=${PG_CONFIG:-$(scripts/find-pg-config.sh)}
server=
[[ -z $pg_config ]] || server=$("$pg_config" --bindir)/postgres
documents=/usr/share/iso-codes/json
has_libclang() {
  ! has_all dpkg-query ||
    dpkg-query -W -f '${Status}\n' libclang-dev 2>/dev/null | grep -q 'ok installed'
}
if [[ -n $pg_config && -x $server && -d $documents ]] && has_all clang cc ip pkg-config &&
  has_libclang; then
  exit 0
fi

if ! has_all apt-get; then
  cat >&2 <<EOF
There is no apt here to install what is missing. Install, under your system's names:
  a C compiler, clang with libclang, pkg-config, the headers of OpenSSL,
  PostgreSQL 14 to 18 with its server headers (pg_config in PATH),
  iproute2, with which the benchmark slows a link down,
  and iso-codes, whose documents the demo sends from $documents.
EOF
  exit 1
fi

as_root=()
if [[ $EUID -ne 0 ]]; then
  as_root=(sudo)
  if ! has_all sudo || ! sudo apt-get --version >/dev/null; then
    cat >&2 <<EOF
System packages are missing, and sudo cannot install them. Let root run, once:
  $PWD/scripts/setup.sh
EOF
    exit 1
  fi
fi

# apt fails instead of waiting for another one, such as that of a second clone.
exec 9</var/lib/dpkg
flock 9
"${as_root[@]}" apt-get update -qq
packages=(build-essential clang iproute2 iso-codes libclang-dev libssl-dev pkg-config)
if [[ -n $pg_config ]]; then
  major=$("$pg_config" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
  [[ -x $server ]] || packages+=("postgresql-$major")
else
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
  -o DPkg::Lock::Timeout=300 --no-install-recommends "${packages[@]}"

if ! has_all cargo; then
  echo "For root, Rust is missing too: install it from https://rustup.rs." >&2
  exit 1
fi
