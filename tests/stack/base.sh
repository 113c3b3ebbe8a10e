#!/usr/bin/env bash
# Makes a stand-in for every base image of the stack from Debian packages: base.sh ARCHIVE
#
# For machines and tests without an image registry. The release and the mirror are those that apt
# uses here, so programs that were built here run in it. Needs root, debootstrap and the mirror;
# one to five minutes.
set -euo pipefail

# What the images that it stands in for have: certificates, Redis, nginx with envsubst and the tools of
# Alpine, Prometheus.
PACKAGES=busybox-static,ca-certificates,curl,gettext-base,nginx-light,prometheus,redis-server

main() {
  local archive=${1:?the archive to write} release mirror folder
  if ! read -r mirror release < <(source_of_main); then
    echo "apt knows no mirror with a component main" >&2
    return 1
  fi
  folder=$(mktemp -d "${TMPDIR:-/tmp}/edge-base-XXXXXX")
  # shellcheck disable=SC2064  # the folder of this moment
  trap "rm -rf --one-file-system '$folder'" EXIT
  local proxy
  proxy=$(apt-config dump --format '%v%n' Acquire::http::Proxy)
  [[ -z $proxy ]] || export http_proxy=$proxy
  debootstrap --variant=minbase --include="$PACKAGES" "$release" "$folder/tree" "$mirror"
  rm -rf "$folder"/tree/var/cache/apt/archives/*.deb "$folder"/tree/var/lib/apt/lists/* \
    "$folder"/tree/usr/share/{doc,man,locale}
  # The user of the official Redis image, and the folders that those images keep their data in.
  chroot "$folder/tree" /bin/sh -euc '
    useradd --uid 999 --no-create-home --user-group data
    install -d -o 999 -g 999 /data
    install -d -o 65534 -g 65534 /prometheus
    rm -f /etc/nginx/conf.d/*'
  tar -C "$folder/tree" --numeric-owner --one-file-system -c . >"$archive.part"
  mv "$archive.part" "$archive"
}

# The mirror and the release of the first list of packages that is neither of updates nor of
# backports.
source_of_main() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' |
    awk '$3 == "main" && $2 !~ /-/ { print $1, $2; exit }'
}

main "$@"
