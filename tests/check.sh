#!/bin/bash
# Static checks, with no list of exempted places. One line a check at the end; exit status 1 if any failed.
#
#   tests/check.sh                  all of them, about two minutes (most of it clang-tidy)
#   tests/check.sh --changed        clang-tidy only over files that differ from the last commit
#   tests/check.sh format sizes     only those named
#
# Checks: format sizes core_is_pure ranks words cppcheck tidy
set -u
cd "$(dirname "$0")/.."
build=build/check
log=$build/log
changed=no
results=()
failed=0

sources() { git ls-files --cached --others --exclude-standard -- 'relay/*.c' 'relay/*.h' 'include/*.h' 'tests/*.c' 'tests/*.h'; }
program_sources() { git ls-files --cached --others --exclude-standard -- 'relay/*.c' 'relay/*.h' 'include/*.h'; }

# The compile database is clang's, since clang-tidy reads it; what is generated has to be there.
prepare()
{
    cmake -G Ninja -S . -B $build -DCMAKE_C_COMPILER=clang -DBOXRELAY_FAULTS=ON -DCMAKE_BUILD_TYPE=Debug &&
        ninja -C $build room_core room_base generated/pg/statements.c generated/pg/migrations.c
}

check_format() { sources | xargs clang-format --dry-run -Werror; }

# Tests are as formatted as the rest, but a table of cases may be long: only the program's functions are measured.
check_sizes() { program_sources | xargs python3 tests/check_sizes.py; }

# Core decides; it has no clock, log, memory, thread or socket. The one FILE * is publisher_table_dump's.
check_core_is_pure()
{
    local allowed='__assert_fail|__stack_chk_fail|__(memcpy|memmove|memset|v?snprintf|fprintf)_chk'
    allowed+='|bcmp|mem(chr|cmp|cpy|move|set)|str(chr|cmp|len|ncmp)|v?snprintf|fprintf|__asan_\w+|__ubsan_\w+'
    allowed+='|(snapshot|window|position|publisher|start|tick_ring|backoff|poll_delay)_\w+'
    allowed+='|error_(set|hint|prefix|class_name)|uuid_(equal|parse|format)|fault_planted'
    ! nm -u $build/libroom_core.a | sed -n 's/^ *U //p' | sort -u | grep -vxE "$allowed"
}

# An include of a room above must not compile, and the same unit with an include of its own room must.
check_ranks()
{
    local room header
    rank_compiles base base/error.h && rank_compiles core core/position.h && rank_compiles pg pg/session.h &&
        rank_compiles kafka kafka/client.h && rank_compiles outbox kafka/client.h || return 1
    while read -r room header; do
        if rank_compiles "$room" "$header" 2>/dev/null; then
            echo "a file of $room can include $header"
            return 1
        fi
    done <<'END'
base core/position.h
core pg/session.h
core kafka/client.h
core outbox/service.h
pg kafka/client.h
kafka pg/session.h
pg outbox/service.h
outbox inbox/service.h
inbox outbox/service.h
core libpq-fe.h
END
}

# Compiles one include with the flags that the build gives to a file of that room.
rank_compiles()
{
    python3 - "$build" "$1" "$2" <<'END'
import json, shlex, subprocess, sys
build, room, header = sys.argv[1:]
unit = next(u for u in json.load(open(build + "/compile_commands.json")) if f"/relay/{room}/" in u["file"])
words = shlex.split(unit["command"])
flags = [word for word in words if word.startswith(("-I", "-D"))]
flags += [flag for i, word in enumerate(words) if word == "-isystem" for flag in words[i:i + 2]]
command = [words[0], *flags, "-std=gnu11", "-fsyntax-only", "-xc", "-"]
sys.exit(subprocess.run(command, input=f'#include "{header}"\n', text=True, cwd=unit["directory"]).returncode)
END
}

# Nothing of one machine, and no package registry by its host, in any tracked file.
check_words()
{
    local hosts='repo1?[.]maven|repo[.]maven|deb[.]debian[.]org|security[.]debian[.]org|pypi[.]org|pythonhosted[.]org'
    hosts+='|registry[.]npmjs|docker[.]io|ghcr[.]io|quay[.]io|gcr[.]io|proxy[.]golang|crates[.]io'
    ! git grep -nIE "$hosts" -- . && ! git grep -nIE '/(home|root|Users)/[a-z]|/wor[k]/' -- .
}

# __VA_OPT__ in base/log.h is more than cppcheck 2.10 can read: to it the log functions are ordinary ones.
check_cppcheck()
{
    cppcheck --quiet --std=c11 -j "$(nproc)" --enable=warning,performance,portability --error-exitcode=1 \
        --suppress=missingIncludeSystem -I include -D_GNU_SOURCE -DBOXRELAY_FAULTS -DBASE_LOG_H relay include
}

check_tidy()
{
    local pattern='/relay/.*\.c$'
    if [ $changed = yes ]; then
        pattern=$(git diff --name-only --diff-filter=d HEAD -- 'relay/*.c' | sed 's/[.]/\\./g; s/$/$/' | paste -sd'|')
        [ -n "$pattern" ] || return 0
    fi
    run-clang-tidy -quiet -p $build -j "$(nproc)" -extra-arg=-Wno-unknown-warning-option "$pattern" >$log.tidy_raw 2>&1
    local status=$?
    sed -i 's/\x1b\[[0-9;]*m//g' $log.tidy_raw
    grep -E '(error|warning): ' $log.tidy_raw | sort -u
    return $status
}

run()
{
    local name=$1 began=$SECONDS
    if "check_$name" >$log.$name 2>&1; then
        results+=("$(printf '%-14s ok      %3ss  %s' "$name" $((SECONDS - began)) "$([ "$name" = sizes ] && head -1 $log.sizes)")")
    else
        results+=("$(printf '%-14s FAILED  %3ss' "$name" $((SECONDS - began)))")
        failed=1
        echo "== $name =="
        head -60 $log.$name
    fi
}

names=()
for argument in "$@"; do
    case $argument in
    --changed) changed=yes ;;
    format | sizes | core_is_pure | ranks | words | cppcheck | tidy) names+=("$argument") ;;
    *)
        sed -n '2,9s/^# \?//p' "$0" >&2
        exit 2
        ;;
    esac
done
[ ${#names[@]} -gt 0 ] || names=(format sizes core_is_pure ranks words cppcheck tidy)

mkdir -p $build
if ! prepare >$log.prepare 2>&1; then
    tail -40 $log.prepare
    echo "prepare        FAILED"
    exit 1
fi
for name in "${names[@]}"; do
    run "$name"
done
printf '%s\n' "${results[@]}"
exit $failed
