#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. See tests/run.sh --help.
set -euo pipefail
cd "$(dirname "$0")/.."
tier=test
case " $* " in *" --full "*) tier=full ;; esac
case " $* " in
    *" --help "* | *" -h "*) ;;
    *) tests/install.sh $tier || { echo "tests/install.sh failed"; echo "0 passed, 1 failed"; exit 1; } ;;
esac
exec /usr/bin/python3 -B tests/runner.py "$@"
