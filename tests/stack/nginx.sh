#!/usr/bin/env bash
# Makes the nginx of the version that the images have: nginx.sh PROGRAM
#
# Debian's own is older: nginx/entrypoint.sh turns HTTP/2 on in another way there. Its sources are a
# crate that nginx/Cargo.lock pins. Needs cargo, make, a C compiler, and the headers of OpenSSL, PCRE2
# and zlib; one to two minutes.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What the templates use, and what the official image is built with as well.
MODULES=(--with-http_ssl_module --with-http_v2_module --with-http_realip_module
  --with-http_stub_status_module --with-pcre-jit --with-threads)

main() {
  local program=${1:?the program to write} folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/edge-nginx-XXXXXX")
  # shellcheck disable=SC2064  # the folder of this moment
  trap "rm -rf --one-file-system '$folder'" EXIT
  mkdir -p "$(dirname "$program")"
  cargo vendor --quiet --locked --respect-source-config --manifest-path "$HERE/nginx/Cargo.toml" "$folder/crates" >/dev/null
  cd "$folder/crates/nginx-src/nginx"
  sh auto/configure --prefix=/etc/nginx --with-cc-opt='-O1 -pipe -Wno-error' "${MODULES[@]}" >/dev/null
  make --silent --jobs "$(nproc)" >/dev/null
  strip --strip-debug objs/nginx
  cp objs/nginx "$program.part"
  mv "$program.part" "$program"
}

main "$@"
