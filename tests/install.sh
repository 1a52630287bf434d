#!/usr/bin/env bash
# Installs from Debian what is missing for building and testing, and nothing that is there.
# Usage: tests/install.sh [build|test|full]   build: to build and to run the playground; test (default): also for the tests
# of the default tier; full: for all tests
set -euo pipefail

case "${1:-test}" in
    build|test|full) tier="${1:-test}" ;;
    *) sed -n '2,4s/^# //p' "$0"; exit 2 ;;
esac

packages=(gcc libc6-dev ninja-build pkg-config librdkafka-dev libpq-dev libuv1-dev libjansson-dev
    libmicrohttpd-dev libssl-dev libcmocka-dev postgresql postgresql-client python3 python3-psycopg2 git ca-certificates)
if [ "$tier" != build ]; then
    packages+=(clang libclang-rt-dev clang-format clang-tidy cppcheck python3-pytest python3-pytest-xdist python3-jsonschema zsh fish
        python3-prometheus-client python3-alembic)
fi
if [ "$tier" = full ]; then
    packages+=(debootstrap sqitch libdbd-pg-perl python3-django)
fi

# Programs may come from elsewhere: what counts is that they answer with a version that will do.
java_major() { "$1" -version 2>&1 | sed -n '1s/[^0-9]*\([0-9]*\).*/\1/p'; }
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

missing=()
while read -r name; do missing+=("$name"); done < <(
    present=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' "${packages[@]}" 2>/dev/null || true) "
    for name in "${packages[@]}"; do
        case "$present" in *" installed:$name "*) ;; *) echo "$name" ;; esac
    done)
cmake_version="$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*//p')" || true
{ [ -n "$cmake_version" ] && at_least 3.25 "$cmake_version"; } || missing+=(cmake)
# javac of the same kit; asking it for its version takes too long.
major="$(command -v java >/dev/null && java_major java)" || true
if ! [ "${major:-0}" -ge 17 ] || ! command -v javac >/dev/null; then missing+=(default-jdk-headless); fi
command -v mvn >/dev/null || missing+=(maven)
if [ "$tier" != build ]; then
    # The examples of docs/writing.md and docs/reading.md, and the migration runners.
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    { command -v node && command -v npm; } >/dev/null || missing+=(nodejs npm)
    command -v go >/dev/null || missing+=(golang-go)
    ruby -e 'require "active_record"; require "pg"' 2>/dev/null || missing+=(ruby ruby-activerecord ruby-pg)
fi

# tests/servers/promtool.py takes one file of a package that is not installed: for that the package lists must be there.
lists=yes
if [ "$tier" != build ] && ! command -v promtool >/dev/null && ! apt-cache show prometheus >/dev/null 2>&1; then lists=no; fi

[ ${#missing[@]} -gt 0 ] || [ $lists = no ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "install.sh: needs root or sudo for: ${missing[*]:-apt-get update}" >&2; exit 1; }
    as_root=(sudo)
fi

echo "Installing from Debian (a few minutes, if it is much): ${missing[*]:-package lists}"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

quietly() {
    "$@" </dev/null >>"$log" 2>&1 || { cat "$log" >&2; echo "install.sh: failed: $*" >&2; exit 1; }
}

# Debian would make and start a cluster of its own on port 5432; nobody asked for one. Only before the
# server's first installation: a machine that has PostgreSQL keeps its ways.
case " ${missing[*]} " in
    *" postgresql "*)
        if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            quietly "${as_root[@]}" mkdir -p /etc/postgresql-common
            echo "create_main_cluster = false" |
                "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
        elif ! ls -d /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then
            quietly "${as_root[@]}" sed -i \
                's/^#\? *create_main_cluster *=.*/create_main_cluster = false/' \
                /etc/postgresql-common/createcluster.conf
        fi ;;
esac

apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold
    -o DPkg::Lock::Timeout=300)
quietly "${apt[@]}" update
[ ${#missing[@]} -eq 0 ] || quietly "${apt[@]}" install --no-install-recommends "${missing[@]}"
