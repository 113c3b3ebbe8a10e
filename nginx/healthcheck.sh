#!/bin/sh
# Whether this nginx answers: itself, not the gateway behind it, which has a check of its own.
set -eu
port=${STATUS_PORT:-8081}
address=${LISTEN_ADDRESS:-127.0.0.1}
case $address in
  '*') address=127.0.0.1 ;;
  *:*) address="[$address]" ;;
esac
url=http://$address:$port/nginx_status
if [ "$port" = off ] || ! { command -v curl || command -v wget; } >/dev/null 2>&1; then
  # With the shell alone: not every image has a program of that name, or any other.
  read -r master <"${RUN_DIR:-/tmp/nginx}/nginx.pid"
  kill -0 "$master"
  exit
fi
if command -v curl >/dev/null 2>&1; then
  exec curl -fsS -m 2 -o /dev/null "$url"
fi
exec wget -q -T 2 -O /dev/null "$url"
