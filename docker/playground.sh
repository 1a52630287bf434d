#!/bin/bash
# The first minutes with boxrelay: builds it, starts a throw-away PostgreSQL and a throw-away Kafka, shows one business
# transaction on its way out and one message on its way in, and keeps running with sample traffic until Ctrl-C. See --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log=$here/build/playground.log

usage() {
    cat <<'TEXT'
usage: docker/playground.sh [--once] [--keep]

Builds boxrelay, starts a PostgreSQL and a Kafka broker of its own on free ports of 127.0.0.1,
and shows one business transaction going out and one message coming in. Then sample traffic until Ctrl-C.

  --once   stop after the show; exit 0 only if every step was seen to work
  --keep   leave data and logs of servers and relay where they are, and say where

Installs Debian packages that are missing (root or sudo). All it makes is below build/.
TEXT
}

# What, why, what next.
fail() {
    printf '\nplayground: %s\n  what to do: %s\n' "$1" "$2" >&2
    exit 1
}

# step TITLE COMMAND...: quiet, with its time; the end of its log when it fails.
step() {
    local title=$1 begin=$SECONDS
    shift
    printf '  %-10s ' "$title"
    if ! "$@" >"$log" 2>&1 </dev/null; then
        printf 'failed\n\n' && tail -n 30 "$log" >&2
        fail "$title failed: $*" "the lines above say why; all of them are in ${log#"$here"/}"
    fi
    step_seconds=$((SECONDS - begin))
}

options=()
for argument in "$@"; do
    case $argument in
    --once | --keep) options+=("$argument") ;;
    -h | --help) usage && exit 0 ;;
    *) printf 'playground: unknown option %s\n\n' "$argument" >&2 && usage >&2 && exit 2 ;;
    esac
done

[ -r /etc/debian_version ] ||
    fail "this is no Debian" "run it on Debian 12 or 13, or build by hand as docs/contributing.md says"
cd "$here"
mkdir -p build || fail "cannot write to $here/build" "run it as the owner of the checkout"

printf 'boxrelay playground\n\n'
tests/install.sh build ||
    fail "the packages it needs are not there" "see above; without root, let somebody run: tests/install.sh build"
step build bash -c 'cmake --preset release && cmake --build --preset release --target boxrelay'
printf 'build/release/boxrelay (%s s)\n' "$step_seconds"
exec /usr/bin/python3 docker/playground.py "${options[@]}"
