#!/usr/bin/env bash
# Makes of the stand-in that base.sh made one with more packages: more.sh ARCHIVE BASE PACKAGE...
#
# Needs root and the mirror.
set -euo pipefail

main() {
  local archive=${1:?the archive to write} base=${2:?the archive of base.sh} folder
  shift 2
  folder=$(mktemp -d "${TMPDIR:-/tmp}/edge-more-XXXXXX")
  # shellcheck disable=SC2064  # the folder of this moment
  trap "rm -rf --one-file-system '$folder'" EXIT
  mkdir "$folder/tree"
  tar -C "$folder/tree" --numeric-owner -xf "$base"
  cp -L /etc/resolv.conf "$folder/tree/etc/resolv.conf"
  local proxy
  proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
  [[ -z $proxy ]] || export http_proxy=$proxy
  # Mounts are gone with their namespace, before the folder is.
  # shellcheck disable=SC2016  # it is that shell's
  unshare --mount --pid --fork --kill-child sh -euc '
    mount -t proc proc "$0/proc"
    export DEBIAN_FRONTEND=noninteractive
    printf "#!/bin/sh\nexit 101\n" >"$0/usr/sbin/policy-rc.d"
    chmod +x "$0/usr/sbin/policy-rc.d"
    chroot "$0" apt-get update -qq
    chroot "$0" apt-get install -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"
    chroot "$0" apt-get clean
    rm -rf "$0"/var/lib/apt/lists/* "$0"/usr/share/doc/*' "$folder/tree" "$@" >/dev/null
  tar -C "$folder/tree" --numeric-owner --one-file-system -c . >"$archive.part"
  mv "$archive.part" "$archive"
}

main "$@"
