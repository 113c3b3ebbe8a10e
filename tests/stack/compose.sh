#!/usr/bin/env bash
# Fetches docker-compose v2, of which Debian 12 has no package: compose.sh PROGRAM
#
# It is the package of another release, from the mirror that apt uses here, and apt vouches for it: in
# folders of its own, so this machine's lists and packages stay as they are. Seconds. A mirror that has
# no such release costs one check of the suite `stack`.
set -euo pipefail

RELEASE=trixie

main() {
  local program=${1:?the program to write} folder mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk '$3 == "main" && $2 !~ /-/ { print $1; exit }')
  [[ -n $mirror ]] || { echo "apt knows no mirror with a component main" >&2; return 1; }
  folder=$(mktemp -d "${TMPDIR:-/tmp}/edge-compose-XXXXXX")
  # shellcheck disable=SC2064  # the folder of this moment
  trap "rm -rf --one-file-system '$folder'" EXIT
  mkdir -p "$folder"/{state/lists/partial,cache/archives/partial} "$(dirname "$program")"
  : >"$folder/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $RELEASE main" >"$folder/sources.list"
  cd "$folder"
  private_apt update -qq
  private_apt download -qq docker-compose
  dpkg-deb --fsys-tarfile docker-compose_*.deb | tar -x ./usr/libexec/docker/cli-plugins/docker-compose
  install -m 755 usr/libexec/docker/cli-plugins/docker-compose "$program.part"
  mv "$program.part" "$program"
}

# apt-get with lists and caches in this folder.
private_apt() {
  local own=(
    "Dir::Etc::sourcelist=$PWD/sources.list" Dir::Etc::sourceparts=-
    "Dir::State=$PWD/state" "Dir::State::status=$PWD/status" "Dir::Cache=$PWD/cache"
    Acquire::Languages=none Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    "APT::Sandbox::User=$(id -un)" Acquire::http::Timeout=20
  )
  apt-get "${own[@]/#/-o}" "$@"
}

main "$@"
