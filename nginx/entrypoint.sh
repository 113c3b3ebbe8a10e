#!/bin/sh
# Fills in the templates from the environment, has nginx check them, and becomes nginx.
#
#   entrypoint.sh           runs
#   entrypoint.sh --check   only checks what it was told, and says where the result is
#
# Everything is written below RUN_DIR (/tmp/nginx), so the root may be read-only and the user any.
# An empty variable counts as one that is not set.
#
#   GATEWAY_UPSTREAM     mcp-gateway:3000  a name that is looked up again every RESOLVER_VALID, or
#                                          addresses: "10.0.0.1:3000 10.0.0.2:3000". To these
#                                          connections are kept: a POST on one that ends at that
#                                          moment is not sent again, its outcome is not known
#   RESOLVER             of resolv.conf    DNS servers, separated by spaces
#   RESOLVER_VALID       2s                how long an address of a name is believed
#   RESOLVER_IPV6        off               on: IPv6 addresses of names are used too
#   SERVER_NAME          localhost         names of the server; any other is answered as well
#   LISTEN_ADDRESS       all of them       one address to listen on
#   HTTP_PORT            8080              off: none
#   HTTPS_PORT           8443              off: none, then no certificate is needed
#   STATUS_PORT          8081              off: none; /nginx_status for private addresses
#   PUBLIC_HTTPS_PORT    443               the port of HTTPS as clients see it, for FORCE_HTTPS
#   CERT_CHECK           10                seconds between looks whether the certificate is another one,
#                                          which is then read by a reload; off: never
#   TLS_CERT, TLS_KEY    nginx.crt and nginx.key of SSL_DIR, else /certs/tls.crt and /certs/tls.key
#   FORCE_HTTPS          false             true: plain HTTP is sent to HTTPS, but for /health
#   HSTS                 off               on: a year; or seconds. Only with a certificate browsers trust
#   TRUSTED_PROXIES      none              balancers in front: addresses or networks
#   BASIC_AUTH_FILE      none              htpasswd file for /, /console, /docs, /redoc, /servers; and
#                                          /health names no server to who has no password, and is
#                                          limited, as all are where passwords can be tried
#   RATE_LIMIT           100r/s            requests of one address: r/s or r/m; off: none
#   RATE_BURST           200               how many may come at once
#   CONNECTION_LIMIT     256               streams of one address; off: none
#   BODY_LIMIT           4194304           bytes of a body; the gateway's limits.body_bytes
#   ACCESS_LOG           /dev/stdout       a file; off: none
#   ERROR_LOG            emerg             a level. At any other one, lines about requests have the
#                                          whole request line in them, tickets and session ids too
#   SHUTDOWN_TIMEOUT     25s               what a reload or a stop leaves to open streams
#   WORKER_PROCESSES     one a CPU, 8 at most
#   WORKER_CONNECTIONS   8192              of each process; a stream takes two
#   BIND_ADDRESS         not known         where Docker publishes it: only for a warning
#   CONF_DIR, SSL_DIR    /etc/nginx/conf.d, /etc/nginx/ssl: what operators add
set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
NEW_LINE='
'
# What is wrong with the environment: sysexits.h EX_CONFIG.
FAULT=78
FAULTS=0

main() {
  read_environment
  [ "$FAULTS" -eq 0 ] || exit "$FAULT"
  work_out
  render
  check
  case ${1:-} in
    '')
      warn
      case $HTTPS_PORT:$CERT_CHECK in
        *off*) ;;
        *) watch_certificate </dev/null >/dev/null 2>&1 & ;;
      esac
      exec nginx -e stderr -p "$RUN_DIR/" -c "$RUN_DIR/nginx.conf"
      ;;
    --check) say "the configuration in $RUN_DIR is good" ;;
    *) exec "$@" ;;
  esac
}

# What nginx takes, and is most likely not what was meant.
warn() {
  case ${BIND_ADDRESS:-localhost} in
    127.*|::1|'[::1]'|localhost) ;;
    *) say "warning: other machines reach this at $BIND_ADDRESS, and nobody is asked who they are:" \
      "whoever comes may call every tool. Put something in front that asks, or see docs/operate.md" ;;
  esac
  for file in "$CONF_DIR"/*.conf; do
    [ -e "$file" ] || continue
    for port in 80 443; do
      [ "$port" != "$HTTP_PORT" ] && [ "$port" != "$HTTPS_PORT" ] || continue
      if grep -Eq "^[[:space:]]*listen[[:space:]]+([^;[:space:]]*:)?$port([[:space:]]|;)" "$file"; then
        say "warning: $file listens on $port, where nobody comes: clients of port 80 come to" \
          "$HTTP_PORT here, those of 443 to $HTTPS_PORT. Without that file the gateway is served as well"
      fi
    done
  done
}

# Has nginx, whose process this shell becomes, read a certificate that was renewed. It ends with it.
watch_certificate() {
  had=$(cksum "$TLS_CERT" "$TLS_KEY")
  while sleep "$CERT_CHECK" && kill -0 $$; do
    has=$(cksum "$TLS_CERT" "$TLS_KEY") || continue
    if [ "$has" != "$had" ] && kill -HUP $$; then had=$has; fi
  done
}

say() {
  printf 'nginx: %s\n' "$*" >&2
}

# fault NAME VALUE EXPECTED: all of them are told, not only the first.
fault() {
  say "$1=$2 cannot be used: expected $3"
  FAULTS=$((FAULTS + 1))
}

# take NAME DEFAULT PATTERN EXPECTED: sets NAME to its value or to the default, if it is of the
# pattern, a whole extended regular expression. No pattern lets through what means something to nginx.
take() {
  eval "value=\${$1:-}"
  [ -n "$value" ] || value=$2
  case $value in
    *"$NEW_LINE"*) fault "$1" "$value" "one line"; return ;;
  esac
  if printf '%s\n' "$value" | grep -Eqx -e "$3"; then
    eval "$1=\$value"
  else
    fault "$1" "$value" "$4"
  fi
}

# within NAME LEAST MOST
within() {
  eval "value=\$$1"
  [ "$value" = off ] && return
  if [ "${#value}" -gt 10 ] || [ "$value" -lt "$2" ] || [ "$value" -gt "$3" ]; then
    fault "$1" "$value" "a number from $2 to $3"
  fi
}

read_environment() {
  ADDRESS='([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)'
  FILE='/[A-Za-z0-9._/@+,=-]+'
  host='([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9a-fA-F:.]+\])'

  take RUN_DIR "/tmp/nginx" "$FILE" "a folder"
  take CONF_DIR /etc/nginx/conf.d "$FILE" "a folder"
  take SSL_DIR /etc/nginx/ssl "$FILE" "a folder"
  name='[A-Za-z0-9._*:-]+'
  take SERVER_NAME localhost "$name([ ,]+$name)*" "host names, separated by spaces or commas"
  at='([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}'
  take GATEWAY_UPSTREAM mcp-gateway:3000 "$host:[0-9]{1,5}|$at( +$at)+" \
    "one name, as host:port, that has the addresses of all replicas, or addresses separated by spaces"
  server="($ADDRESS|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?"
  take RESOLVER "$(nameservers)" "$server( +$server)*" "addresses of DNS servers, separated by spaces"
  take RESOLVER_VALID 2s '[0-9]{1,6}(ms|s|m)' "a time such as 2s"
  take RESOLVER_IPV6 off 'on|off' "on or off"
  take LISTEN_ADDRESS '*' "\\*|$ADDRESS" "an address"
  for name in HTTP_PORT:8080 HTTPS_PORT:8443 STATUS_PORT:8081; do
    take "${name%:*}" "${name#*:}" '[0-9]{1,5}|off' "a port, or off"
  done
  take PUBLIC_HTTPS_PORT 443 '[0-9]{1,5}' "a port"
  take FORCE_HTTPS false 'true|false' "true or false"
  take HSTS off 'off|on|[0-9]{1,10}' "off, on, or a number of seconds"
  take TRUSTED_PROXIES "" "($ADDRESS(/[0-9]{1,3})?([ ,]+$ADDRESS(/[0-9]{1,3})?)*)?" \
    "addresses or networks such as 10.0.0.0/8, separated by spaces or commas"
  take RATE_LIMIT 100r/s '[1-9][0-9]{0,6}r/[sm]|off' "a rate such as 100r/s or 600r/m, or off"
  take RATE_BURST 200 '[0-9]{1,7}' "a number of requests"
  take CONNECTION_LIMIT 256 '[0-9]{1,6}|off' "a number of streams, or off"
  take BODY_LIMIT 4194304 '[0-9]{1,12}' "a number of bytes"
  take ACCESS_LOG /dev/stdout "$FILE|off" "a file, or off"
  take ERROR_LOG emerg 'debug|info|notice|warn|error|crit|alert|emerg' \
    "a level: debug, info, notice, warn, error, crit, alert or emerg"
  take CERT_CHECK 10 '[1-9][0-9]{0,4}|off' "a number of seconds, or off"
  take SHUTDOWN_TIMEOUT 25s '[0-9]{1,6}(s|m|h)' "a time such as 25s"
  take WORKER_PROCESSES "$(processors)" '[1-9][0-9]{0,3}|auto' "a number, or auto"
  take WORKER_CONNECTIONS 8192 '[0-9]{1,7}' "a number of connections"
  [ "$FAULTS" -eq 0 ] || return 0

  for name in HTTP_PORT HTTPS_PORT STATUS_PORT PUBLIC_HTTPS_PORT; do within "$name" 1 65535; done
  within CONNECTION_LIMIT 1 65535
  within WORKER_CONNECTIONS 16 1048576
  if [ "$HTTP_PORT$HTTPS_PORT" = offoff ]; then fault HTTP_PORT off "a port, since HTTPS_PORT is off"; fi
  if [ "$HTTPS_PORT" != off ]; then
    if [ -z "${TLS_CERT:-}" ] && [ -z "${TLS_KEY:-}" ] && [ -e "$SSL_DIR/nginx.crt" ]; then
      TLS_CERT=$SSL_DIR/nginx.crt
      TLS_KEY=$SSL_DIR/nginx.key
    fi
    take TLS_CERT /certs/tls.crt "$FILE" "a file"
    take TLS_KEY /certs/tls.key "$FILE" "a file"
    readable TLS_CERT "a certificate with its chain, PEM (or HTTPS_PORT=off)"
    readable TLS_KEY "the certificate's key, PEM"
  fi
  take BASIC_AUTH_FILE "" "($FILE)?" "a file"
  [ -z "$BASIC_AUTH_FILE" ] || readable BASIC_AUTH_FILE "an htpasswd file"
  if [ -e "$ACCESS_LOG" ] && [ ! -w "$ACCESS_LOG" ]; then
    fault ACCESS_LOG "$ACCESS_LOG" "a file that user $(id -u) can write to, or off"
  fi
}

# readable NAME WHAT
readable() {
  eval "value=\$$1"
  if [ ! -f "$value" ] || [ ! -r "$value" ]; then
    fault "$1" "$value" "a file that user $(id -u) can read: $2"
    # openssl makes keys that only whoever called it reads.
    if [ -f "$value" ]; then
      say "it is there, and not readable: chown $(id -u) ${value##*/} && chmod 400 ${value##*/}"
    fi
  fi
}

# Those of the system, without the zones of IPv6 addresses; else that of Docker's networks.
nameservers() {
  awk '$1 == "nameserver" && count < 3 {
    sub(/%.*/, "", $2)
    printf "%s%s", (count++ ? " " : ""), $2
  } END { if (!count) printf "127.0.0.11" }' /etc/resolv.conf 2>/dev/null || echo 127.0.0.11
}

processors() {
  count=$(nproc 2>/dev/null || echo 1)
  if [ "$count" -gt 8 ]; then echo 8; else echo "$count"; fi
}

# version_at_least MAJOR MINOR PATCH
version_at_least() {
  version=$(nginx -v 2>&1 | sed -n 's/.*\/\([0-9][0-9]*\)\.\([0-9][0-9]*\)\.\([0-9][0-9]*\).*/\1 \2 \3/p')
  [ -n "$version" ] || return 1
  printf '%s %s\n' "$version" "$*" | awk '{
    for (part = 1; part <= 3; part++) if ($part + 0 != $(part + 3) + 0) exit !($part + 0 > $(part + 3) + 0)
    exit 0
  }'
}

# What the templates are filled with but for what was told as it is.
work_out() {
  # nginx takes the soft limit; what is above it up to the hard one is nobody else's here.
  ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
  files=$(ulimit -n)
  if [ "$files" != unlimited ] && [ "$files" -lt "$WORKER_CONNECTIONS" ]; then
    say "WORKER_CONNECTIONS=$files, since no more files than that may be open"
    WORKER_CONNECTIONS=$files
  fi

  SERVER_NAMES=$(printf '%s' "$SERVER_NAME" | tr ',' ' ')
  HTTP2='' ssl=' ssl http2'
  if version_at_least 1 25 1; then HTTP2='http2 on;' ssl=' ssl'; fi
  # From then on nginx takes a certificate for the one of before when it was written over within the
  # same second.
  TLS_CACHE=''
  if version_at_least 1 27 4; then TLS_CACHE='ssl_object_cache_inheritable off;'; fi
  # One for each port: what turns HTTP/2 on counts for a whole server, plain ports too.
  SERVERS='' STATUS_SERVER=''
  if [ "$HTTP_PORT" != off ]; then SERVERS=$(server "$HTTP_PORT" ""); fi
  if [ "$HTTPS_PORT" != off ]; then
    SERVERS="$SERVERS$NEW_LINE$(server "$HTTPS_PORT" "$ssl" "include $RUN_DIR/tls.conf;")"
  fi
  if [ "$STATUS_PORT" != off ]; then
    STATUS_SERVER="server {
    $(listens "$STATUS_PORT" "")
    access_log off;
    location = /nginx_status {
        stub_status;
        allow 127.0.0.0/8; allow 10.0.0.0/8; allow 172.16.0.0/12; allow 192.168.0.0/16;
        allow ::1; allow fc00::/7;
        deny all;
    }
    location / { return 404; }
}"
  fi

  PUBLIC_HTTPS_SUFFIX=''
  if [ "$PUBLIC_HTTPS_PORT" != 443 ]; then PUBLIC_HTTPS_SUFFIX=:$PUBLIC_HTTPS_PORT; fi
  case $HSTS in
    on) HSTS=31536000 ;;
  esac

  TRUSTED_GEO='' REAL_IP=''
  for network in $(printf '%s' "$TRUSTED_PROXIES" | tr ',' ' '); do
    TRUSTED_GEO="$TRUSTED_GEO $network 1;"
    REAL_IP="${REAL_IP}set_real_ip_from $network;$NEW_LINE"
  done
  if [ -n "$REAL_IP" ]; then REAL_IP="${REAL_IP}real_ip_header X-Forwarded-For;${NEW_LINE}real_ip_recursive on;"; fi

  BASIC_AUTH=''
  # The gateway has no use for this password, and would take it for a token.
  if [ -n "$BASIC_AUTH_FILE" ]; then
    BASIC_AUTH="auth_basic \"MCP gateway\"; auth_basic_user_file $BASIC_AUTH_FILE;
    proxy_set_header Authorization \"\";"
  fi

  LIMIT_ZONES='limit_req_status 429; limit_conn_status 429; limit_req_log_level notice; limit_conn_log_level notice;'
  LIMIT_REQUESTS='' LIMIT_PASSWORDS='' LIMIT_STREAMS='' LIMIT_STREAMS_OF_MCP=''
  if [ "$RATE_LIMIT" != off ]; then
    # Reconnects after a replica is gone come all at once, and must not use up what requests need.
    LIMIT_ZONES="$LIMIT_ZONES
    limit_req_zone \$limit_key zone=requests:10m rate=$RATE_LIMIT;
    limit_req_zone \$limit_key zone=streams:10m rate=$RATE_LIMIT;"
    LIMIT_REQUESTS="limit_req zone=requests burst=$RATE_BURST nodelay;"
    LIMIT_STREAMS="limit_req zone=streams burst=$RATE_BURST nodelay;"
    if [ -n "$BASIC_AUTH_FILE" ]; then LIMIT_PASSWORDS=$LIMIT_REQUESTS; fi
  fi
  if [ "$CONNECTION_LIMIT" != off ]; then
    LIMIT_ZONES="$LIMIT_ZONES limit_conn_zone \$stream_key zone=open_streams:10m;"
    LIMIT_STREAMS_OF_MCP="limit_conn open_streams $CONNECTION_LIMIT;"
    LIMIT_STREAMS="$LIMIT_STREAMS $LIMIT_STREAMS_OF_MCP"
  fi

  case $ACCESS_LOG in
    off) ;;
    *) ACCESS_LOG="$ACCESS_LOG edge if=\$is_logged" ;;
  esac
  work_out_upstream
}

# server PORT OPTIONS MORE
server() {
  printf '    server {\n        %s\n        server_name %s;\n        %s\n        include %s/server.conf;\n    }\n' \
    "$(listens "$1" "$2 default_server so_keepalive=60s:10s:3")" "$SERVER_NAMES" "${3:-}" "$RUN_DIR"
}

# listens PORT OPTIONS: on every address, also of IPv6 where the system has any.
listens() {
  case $LISTEN_ADDRESS in
    '*')
      printf 'listen %s%s;\n' "$1" "$2"
      if [ -s /proc/net/if_inet6 ]; then printf 'listen [::]:%s%s;\n' "$1" "$2"; fi
      ;;
    *:*) printf 'listen [%s]:%s%s;\n' "$LISTEN_ADDRESS" "$1" "$2" ;;
    *) printf 'listen %s:%s%s;\n' "$LISTEN_ADDRESS" "$1" "$2" ;;
  esac
}

# One name is asked of DNS again and again, so replicas come and go. That goes by a variable, with a
# connection for each request. An upstream with `resolve` would keep connections, and fail calls: on
# one that was kept a POST may meet its end and is not sent again; and whoever has to be asked of another
# replica while the addresses change is told that there is none. Its hash knows names, not addresses.
work_out_upstream() {
  servers=$(printf '%s' "$RESOLVER" | awk '{
    for (i = 1; i <= NF; i++) printf "%s%s", (i > 1 ? " " : ""), ($i ~ /:.*:/ && $i !~ /^\[/) ? "[" $i "]" : $i
  }')
  resolver="resolver $servers valid=$RESOLVER_VALID ipv6=$RESOLVER_IPV6;${NEW_LINE}resolver_timeout 2s;"
  case $GATEWAY_UPSTREAM in
    *' '*) ;;
    *)
      if ! is_address "${GATEWAY_UPSTREAM%:*}"; then
        GATEWAY="\$gateway_by_name"
        UPSTREAM="$resolver
map \$host \$gateway_by_name { default \"$GATEWAY_UPSTREAM\"; }"
        return
      fi
      ;;
  esac
  GATEWAY=gateway
  UPSTREAM="$resolver
upstream gateway {
    zone gateway 512k;
    hash \$session_key consistent;"
  # No replica is left out after a failure: nginx counts one as well again only when a request to it
  # has ended, and a stream does not end. One that takes no connection costs a moment, and the next
  # one is asked.
  for server in $GATEWAY_UPSTREAM; do
    UPSTREAM="$UPSTREAM
    server $server max_fails=0;"
  done
  # The gateway closes what rests for 75 s: this side has to be the first.
  UPSTREAM="$UPSTREAM
    keepalive 64;
    keepalive_requests 10000;
    keepalive_timeout 60s;
}"
}

is_address() {
  case $1 in
    \[*\]) return 0 ;;
    *[!0-9.]*) return 1 ;;
  esac
}

# Only what is named here is filled in: the templates are full of nginx's own variables.
NAMES='RUN_DIR CONF_DIR SERVERS STATUS_SERVER HTTP2 TLS_CACHE TLS_CERT TLS_KEY FORCE_HTTPS HSTS
  PUBLIC_HTTPS_SUFFIX TRUSTED_GEO REAL_IP BASIC_AUTH BODY_LIMIT LIMIT_ZONES LIMIT_REQUESTS
  LIMIT_PASSWORDS LIMIT_STREAMS LIMIT_STREAMS_OF_MCP ACCESS_LOG ERROR_LOG SHUTDOWN_TIMEOUT WORKER_PROCESSES
  WORKER_CONNECTIONS GATEWAY UPSTREAM'

render() {
  umask 027
  mkdir -p "$RUN_DIR" || { say "RUN_DIR=$RUN_DIR cannot be written to by user $(id -u)"; exit "$FAULT"; }
  list=''
  for name in $NAMES; do
    list="$list \${$name}"
    eval "export $name=\"\${$name:-}\""
  done
  for template in "$HERE"/templates/*.template; do
    name=$(basename "$template" .template)
    if [ "$name" = tls.conf ] && [ "$HTTPS_PORT" = off ]; then
      : >"$RUN_DIR/$name"
      continue
    fi
    envsubst "$list" <"$template" >"$RUN_DIR/$name"
  done
}

check() {
  if ! said=$(nginx -e stderr -p "$RUN_DIR/" -c "$RUN_DIR/nginx.conf" -t 2>&1); then
    say "nginx does not take this configuration (files of your own are in $CONF_DIR):"
    printf '%s\n' "$said" >&2
    exit "$FAULT"
  fi
  # Warnings are told, that all is well is not.
  printf '%s\n' "$said" | grep -E '\[(warn|alert|crit)\]' >&2 || true
}

main "$@"
