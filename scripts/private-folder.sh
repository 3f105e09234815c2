#!/usr/bin/env bash
# Prints the folder of the private servers: target/, unless their user cannot enter the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

folder=$PWD/target
mkdir -p "$folder"
# Root starts servers as user postgres.
if [[ $EUID -eq 0 ]] && ! runuser -u postgres -- test -x "$folder"; then
  folder=/var/tmp/notify_json-$(cksum <<<"$PWD" | cut -d ' ' -f 1)
  mkdir -p "$folder"
  # Programs are run from here, so it must not be a folder that somebody else has prepared.
  if [[ -L $folder || ! -O $folder ]]; then
    echo "$folder is not root's: remove it, then run this again." >&2
    exit 1
  fi
fi
echo "$folder"
