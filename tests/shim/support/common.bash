# shellcheck shell=bash disable=SC2034 # the tests use what is set here
#
# What the shim's test files share. Loaded by each of them.

bats_require_minimum_version 1.5.0

repository=$(cd "${BASH_SOURCE[0]%/*}/../../.." && pwd)
shim=${MEDIATOR_SHIM:-$repository/bash_shim/securechange-shim} # MEDIATOR_SHIM tests another file
python=${MEDIATOR_PYTHON:-$repository/.venv/bin/python}
samples=$repository/tests/samples
# MEDIATOR_BASH runs the shim under another bash than this one.
bash=${MEDIATOR_BASH:-$BASH}
key='grün-geheim-0123456789-0123456789-0123456789'

start_server() { # file-that-says-ready program argument...: in the background; stop_servers ends it
    local ready=$1 tries
    shift
    "$python" "$repository/tests/shim/support/$1" "${@:2}" >"$BATS_FILE_TMPDIR/server.log" 2>&1 3>&- &
    printf '%s\n' "$!" >>"$BATS_FILE_TMPDIR/servers"
    for ((tries = 0; tries < 300; tries++)); do
        [[ ! -e $ready ]] || return 0
        sleep 0.1
    done
    cat "$BATS_FILE_TMPDIR/server.log" >&2
    return 1
}

stop_servers() {
    local pid
    while read -r pid; do kill "$pid" || true; done <"$BATS_FILE_TMPDIR/servers"
}

start_intake() { # [--tls certificate key] -> intake, where it keeps what it receives
    intake=$BATS_FILE_TMPDIR/intake${1:-}
    mkdir -p "$intake"
    start_server "$intake/url" intake.py "$intake" "$@"
}

use_intake() { # [--tls]: a place of this test's own at the intake -> url, received
    local name=test$BATS_TEST_NUMBER
    received=$BATS_FILE_TMPDIR/intake${1:-}/$name
    url=$(<"$BATS_FILE_TMPDIR/intake${1:-}/url")/$name
    mkdir -p "$received"
}

answer_with() { # JSON...: what the intake answers, one after another
    printf '%s\n' "$@" >"$received/answers"
}

commands() { # name... -> path: a PATH with only these commands
    path=$BATS_TEST_TMPDIR/commands
    mkdir -p "$path"
    local name
    for name in "$@"; do ln -sf "$(type -P "$name")" "$path/$name"; done
}

# With env -i a test starts what it tests, and with --default-signal it hears its signals: bats, a Python program, lets everything
# ignore PIPE, bash what is in the background INT, and nohup HUP.
call() { # [NAME=value]... [--] argument...: the shim named notify -> status, said; files out, err
    local settings=()
    while [[ ${1-} == [A-Za-z]*=* ]]; do
        settings+=("$1")
        shift
    done
    [[ ${1-} != -- ]] || shift
    out=$BATS_TEST_TMPDIR/out err=$BATS_TEST_TMPDIR/err status=0
    [[ -e ${called:=$BATS_TEST_TMPDIR/notify} ]] || cp "$shim" "$called"
    env -i --default-signal=HUP,INT,QUIT,PIPE,TERM "SHIM_TEST=$BATS_TEST_TMPDIR" PATH="${path-}" MEDIATOR_URL="${url-}" MEDIATOR_KEY_ID=securechange \
        MEDIATOR_KEY="$key" MEDIATOR_TIMEOUT=100 "${settings[@]}" "$bash" "$called" "$@" >"$out" 2>"$err" 3>&- ||
        status=$?
    said=$(<"$err")
    printf 'status %s, said: %s\n' "$status" "$said" # shown when the test fails
}

leaves_nothing_running() { # no process of this test's call is left
    local left
    # grep's status also tells of processes that ended meanwhile, so what it prints counts.
    left=$(grep -lsF "SHIM_TEST=$BATS_TEST_TMPDIR" /proc/[0-9]*/environ) || true
    [[ -n $left ]] || return 0
    printf 'still running: %s\n' "$left"
    return 1
}

field() { # number expression: of the recorded request, as Python sees it (request["headers"]...)
    "$python" -c 'import json, sys
request = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$received/$1.json" "$2"
}

source_shim() { # its functions, here. bats traces every command of a function, which makes SHA-256 slow: not of these
    set +o functrace
    # shellcheck source=/dev/null # checked by itself
    source "$shim"
}
