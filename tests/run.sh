#!/usr/bin/env bash
# Runs every test of the repository from a fresh clone: ./tests/run.sh
#
#   --list         names the suites
#   --only NAME    runs one of them (may be given again)
#   --keep-logs    keeps every log under tests/.cache/logs, not only those of a failed run
#
# Installs what is missing (Debian packages as root or by sudo; npm and Python packages below
# tests/), builds once, starts and stops every service itself, and ends with one line:
# `N passed, N failed`. The exit code is 0 only if nothing failed. The suites `nginx` and `stack` make
# what they need below tests/.cache: nginx of the images' version, compiled, and docker-compose v2,
# of a Debian release that has it.
set -euo pipefail
# Debian keeps dockerd, debootstrap and iptables where only root looks.
export PATH=$PATH:/usr/sbin:/sbin

TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$TESTS")
CACHE=$TESTS/.cache
LOGS=$CACHE/logs
SUITES=(rust nginx conformance client-side sdk-ts sdk-py1 sdk-py2 matrix servers browser stack deploy)

declare -A TIMEOUT_S=(
  [rust]=2400 [conformance]=1500 [client-side]=600 [sdk-ts]=900 [sdk-py1]=900 [sdk-py2]=900 [servers]=600
  [browser]=480 [matrix]=900 [nginx]=2400 [stack]=2100 [deploy]=120
)

main() {
  local keep_logs=no only=()
  while (($#)); do
    case $1 in
      --list) printf '%s\n' "${SUITES[@]}"; return 0 ;;
      --only) only+=("${2:?--only takes the name of a suite}"); shift 2 ;;
      --keep-logs) keep_logs=yes; shift ;;
      *) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; return 2 ;;
    esac
  done
  for name in "${only[@]}"; do
    [[ -n ${TIMEOUT_S[$name]:-} ]] || { echo "no suite is called $name (--list names them)"; return 2; }
  done
  ((${#only[@]})) || only=("${SUITES[@]}")

  cd "$ROOT"
  rm -rf "$LOGS"
  mkdir -p "$LOGS"
  section "install"
  install_packages
  install_npm
  install_python .venv1 python/requirements1.txt
  install_python .venv2 python/requirements2.txt
  section "build"
  build

  local summary=() passed=0 failed=0
  for name in "${only[@]}"; do
    section "$name"
    run_suite "$name"
    summary+=("$(printf '%-12s %5d passed  %5d failed  %4d s' "$name" "$PASSED" "$FAILED" "$TOOK")")
    passed=$((passed + PASSED)) failed=$((failed + FAILED))
  done
  section "summary"
  printf '%s\n' "${summary[@]}"
  if ((failed == 0)) && [[ $keep_logs == no ]]; then rm -rf "$LOGS"; else echo "logs: tests/.cache/logs"; fi
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}

section() {
  printf '\n== %s\n' "$1"
}

# Debian packages, only those whose program is missing.
install_packages() {
  local missing=()
  have cargo || { echo "Rust is missing: install it with rustup or Debian's cargo, then come again"; return 1; }
  have cc || missing+=(build-essential)
  have git || missing+=(git)
  have npm || missing+=(npm)
  have node || missing+=(nodejs)
  have timeout || missing+=(coreutils)
  have nginx || missing+=(nginx-light)
  have envsubst || missing+=(gettext-base)
  have openssl || missing+=(openssl)
  have redis-server || missing+=(redis-server)
  have redis-cli || missing+=(redis-tools)
  have promtool || missing+=(prometheus)
  have systemd-analyze || missing+=(systemd)
  have chromium-headless-shell || missing+=(chromium-headless-shell)
  have dockerd || missing+=(docker.io)
  have docker-compose || missing+=(docker-compose)
  have debootstrap || missing+=(debootstrap)
  have iptables || missing+=(iptables)
  have ip || missing+=(iproute2)
  have curl || missing+=(curl)
  have make || missing+=(make)
  # For nginx of the images' version.
  [[ -e /usr/include/openssl/ssl.h ]] || missing+=(libssl-dev)
  [[ -e /usr/include/pcre2.h ]] || missing+=(libpcre2-dev)
  [[ -e /usr/include/zlib.h ]] || missing+=(zlib1g-dev)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  if ((${#missing[@]} == 0)); then echo "Debian packages: nothing is missing"; return; fi
  local root=()
  [[ $(id -u) == 0 ]] || root=(sudo)
  echo "Debian packages: ${missing[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # Debian starts the services that it installs; the tests start their own.
  if [[ " ${missing[*]} " == *" prometheus "* && -d /run/systemd/system ]]; then
    "${root[@]}" systemctl disable --now --quiet prometheus
  fi
}

have() {
  command -v "$1" >/dev/null
}

# Installs again only when the lock file is another one than last time.
install_npm() {
  local stamp=$CACHE/npm.stamp wanted
  wanted=$(sha256sum <"$TESTS/node/package-lock.json")
  if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $TESTS/node/node_modules/node/bin/node ]]; then
    echo "npm packages: as they were"
    return
  fi
  echo "npm packages: installing"
  (cd "$TESTS/node" && timeout 600 npm ci --no-audit --no-fund --loglevel=error)
  echo "$wanted" >"$stamp"
}

install_python() {
  local venv=$TESTS/$1 requirements=$TESTS/$2 stamp=$CACHE/$1.stamp wanted
  wanted=$(sha256sum <"$requirements")
  if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $venv/bin/python ]]; then
    echo "Python packages, $1: as they were"
    return
  fi
  echo "Python packages, $1: installing"
  python3 -m venv --clear "$venv"
  timeout 600 "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  echo "$wanted" >"$stamp"
}

# The suites run what cargo leaves in target/debug.
build() {
  timeout 2400 cargo build --workspace --bins
}

# Sets PASSED, FAILED and TOOK.
run_suite() {
  local name=$1 log=$LOGS/$1.log begun=$SECONDS code=0 command=()
  case $name in
    rust) command=(cargo test --workspace --no-fail-fast) ;;
    nginx) command=(python3 "$TESTS/suites/nginx.py") ;;
    conformance) command=(python3 "$TESTS/suites/conformance.py") ;;
    client-side) command=(python3 "$TESTS/suites/client_side.py") ;;
    sdk-*) command=(python3 "$TESTS/suites/sdk.py" "${name#sdk-}") ;;
    matrix) command=(python3 "$TESTS/suites/matrix.py") ;;
    servers) command=("$TESTS/.venv1/bin/python" "$TESTS/suites/servers.py") ;;
    browser) command=(python3 "$TESTS/suites/browser.py") ;;
    deploy) command=("$TESTS/.venv1/bin/python" "$TESTS/suites/deploy.py") ;;
    stack) command=(python3 "$TESTS/suites/stack.py") ;;
  esac
  EDGE_LOGS=$LOGS timeout --kill-after=40 "${TIMEOUT_S[$name]}" "${command[@]}" \
    >"$log" 2>&1 </dev/null || code=$?
  TOOK=$((SECONDS - begun))
  if [[ $name == rust || $name == nginx ]]; then count_rust "$log"; else count_suite "$log"; fi
  # A suite that ended badly without a failed check to show has failed itself, and so has one that
  # checked nothing.
  if ((FAILED == 0 && (code != 0 || PASSED == 0))); then
    FAILED=1
    echo "$name ended with $code after $PASSED checks; its last lines:"
    tail -n 30 "$log"
  elif ((FAILED > 0)) && [[ $name == rust || $name == nginx ]]; then
    show_rust "$log"
  else
    grep -E '^(not ok|#)' "$log" | head -n 200 || true
  fi
  echo "$PASSED passed, $FAILED failed"
}

count_rust() {
  PASSED=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$1")
  FAILED=$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$1")
}

# What each failed test said, as far as a screen or two hold it, and what did not compile.
show_rust() {
  awk '/^failures:$/ { said = 1 } /^test result:/ { said = 0 } /^---- / { lines = 0 }
    said && lines++ < 80; /^error/ { print }' "$1" | head -n 600
}

count_suite() {
  local last
  last=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1 || true)
  PASSED=$(awk '{ print $1 + 0 }' <<<"$last")
  FAILED=$(awk '{ print $3 + 0 }' <<<"$last")
}

main "$@"
