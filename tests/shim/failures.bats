#!/usr/bin/env bats
# Servers and networks on a bad day. Each failure ends in time, is told in one line, and leaves nothing running.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() {
    hostile=$BATS_FILE_TMPDIR/hostile
    mkdir "$hostile"
    start_server "$hostile/ready" hostile.py "$hostile"
}
teardown_file() { stop_servers; }
setup() { hostile=$BATS_FILE_TMPDIR/hostile; }

call_at() { # behaviour [NAME=value]... [--] argument...
    local behaviour=$1 before=$SECONDS
    shift
    url=http://127.0.0.1:$(<"$hostile/$behaviour") call "$@"
    took=$((SECONDS - before))
    leaves_nothing_running
}

count() { # behaviour: connections so far
    cat "$hostile/$1.count"
}

fails_in_time() { # behaviour words [limit]: well within 30 s; two tries want 5, where all takes long, and one wants 2
    call_at "$1" MEDIATOR_TIMEOUT="${3-2}" <"$samples/trigger_advance.xml"
    ((status == 75 && took < 30))
    [[ ! -s $out && $said == "securechange-shim: notify: the mediator did not take the ticket ("*"$2"* ]]
    [[ $said != *$'\n'* ]]
}

@test "these tests would find a process that is left" {
    SHIM_TEST=$BATS_TEST_TMPDIR sleep 60 3>&- &
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        run leaves_nothing_running
        ((status == 0)) || break
        sleep 0.1
    done
    ((status == 1))
    kill "$!"
    wait "$!" || true
    leaves_nothing_running
}

@test "nobody listens" {
    url=http://127.0.0.1:1 call MEDIATOR_TIMEOUT=5 </dev/null # time for two tries, also where all takes long
    ((status == 75))
    [[ $said == *"): 127.0.0.1:1: "*"Connection refused" && $said != *"(tries: 1)"* ]]
    leaves_nothing_running
}

@test "the name does not exist" {
    url=http://no-such-host.invalid call MEDIATOR_TIMEOUT=1 </dev/null
    ((status == 75))
    [[ $said == *"no-such-host.invalid"* ]]
}

@test "a connect that hangs ends after the time to connect" {
    call_at black_hole MEDIATOR_CONNECT_TIMEOUT=1 MEDIATOR_TIMEOUT=6 </dev/null
    ((status == 75 && took < 30))
    [[ $said == *"(tries: "[2-9]")"* ]] # what ended the last one may be either limit
}

@test "a connect that hangs does not keep the next address from its turn" {
    hostile_url=http://127.0.0.1:$(<"$hostile/interim")
    call_at black_hole MEDIATOR_CONNECT_TIMEOUT=1 MEDIATOR_URL="http://127.0.0.1:$(<"$hostile/black_hole") $hostile_url" </dev/null
    ((status == 0 && took < 20))
}

@test "a connect that hangs ends with the whole call, when that is shorter" {
    call_at black_hole MEDIATOR_CONNECT_TIMEOUT=500 MEDIATOR_TIMEOUT=1 </dev/null
    ((status == 75 && took < 30))
}

@test "a server that accepts and stays silent" {
    fails_in_time silent "no answer within the 2 s of MEDIATOR_TIMEOUT"
}

@test "a server that does not read five megabytes" {
    commands sha256sum
    "$python" -c 'print("x" * 5_000_000)' >"$BATS_TEST_TMPDIR/body"
    call_at silent MEDIATOR_TIMEOUT=5 <"$BATS_TEST_TMPDIR/body"
    ((status == 75 && took < 60))
    [[ $said == *"no answer within"* ]]
}

@test "a server that closes at once" {
    fails_in_time closes "" 5
    (($(count closes) > 1))
}

@test "a server that resets" {
    fails_in_time resets "" 5
    (($(count resets) > 1))
}

@test "a server that answers a byte a second" {
    fails_in_time drips "no answer within"
}

@test "an answer that ends within its headers" {
    fails_in_time half_head "the answer ended in the middle" 5
    (($(count half_head) > 1))
}

@test "an accepted ticket whose answer is cut short is sent again" {
    fails_in_time half_202 "the answer ended in the middle" 5
    (($(count half_202) > 1))
}

@test "a last try that ran out of time does not hide what went wrong before" {
    fails_in_time breaks_off_then_silent \
        "no answer within the 5 s of MEDIATOR_TIMEOUT; before that: the answer ended in the middle" 5
}

@test "half a result is never passed on" {
    fails_in_time half_200 "the answer ended in the middle"
    fails_in_time short_200 "the answer ended in the middle"
    fails_in_time half_chunk "the answer ended in the middle"
    fails_in_time no_last_chunk "the answer ended in the middle"
}

@test "a result that was cut short is taken whole at the second try" {
    call_at resent_200 </dev/null
    ((status == 3))
    [[ $(<"$out") == hello && ! -s $err ]]
}

@test "broken chunks and lengths" {
    fails_in_time bad_chunk "a chunk of the answer has no length"
    fails_in_time long_chunk "a chunk of the answer has a wrong length"
    fails_in_time bad_length "the answer has a length that cannot be read"
    fails_in_time bad_coding "the answer has a length that cannot be read"
}

@test "an answer that is not HTTP" {
    fails_in_time garbage "the answer is not HTTP"
}

@test "an endless header line" {
    fails_in_time long_line "a line of the answer is too long"
}

@test "200 and 202 of something that is no mediator" {
    fails_in_time foreign_200 "the answer does not come from a mediator"
    fails_in_time foreign_202 "the answer does not come from a mediator"
}

@test "a redirect is not followed" {
    call_at redirects </dev/null
    ((status == 78 && $(count redirects) == 1))
}

@test "100 and 103 before the answer are skipped, with their headers" {
    call_at interim </dev/null
    ((status == 0))
    [[ $said == *"accepted as delivery d-1" ]]
}

@test "chunks with extensions and trailers, NUL bytes, headers in any case" {
    call_at chunks </dev/null
    ((status == 4))
    cmp "$out" <(printf 'hel\0o, ')
    cmp "$err" <(printf 'world!\r\n')
}

@test "a result that comes slowly, where TMOUT would end every read of bash" {
    call_at slow_body TMOUT=1 </dev/null
    ((status == 3))
    [[ $(<"$out") == hello ]]
}

@test "a result that ends with the connection" {
    call_at until_close </dev/null
    ((status == 3))
    cmp "$out" <(printf hello)
    cmp "$err" <(printf ' world\0')
}

@test "an answer is complete although the connection stays open" {
    call_at stays </dev/null
    ((status == 3))
    cmp "$out" <(printf hello)
    cmp "$err" <(printf '\0!')
    call_at stays_chunked </dev/null
    ((status == 3))
    cmp "$out" <(printf hello)
}

@test "lines that end without a carriage return" {
    call_at bare_newlines </dev/null
    ((status == 0))
}

@test "a refusal before the body was read is understood" {
    commands sha256sum
    "$python" -c 'print("x" * 5_000_000)' >"$BATS_TEST_TMPDIR/body"
    call_at refuses_early <"$BATS_TEST_TMPDIR/body"
    ((status == 65))
    [[ $said == *"HTTP 413: The limit is 1 MiB." ]]
}

@test "a server that fails twice gets the ticket at the third try" {
    call_at closes_twice </dev/null
    ((status == 0 && $(count closes_twice) == 3))
}

@test "Retry-After is waited for" {
    call_at retry_after_2 </dev/null
    ((status == 0 && took >= 1 && $(count retry_after_2) == 2))
}

@test "a Retry-After beyond the call's time is not waited for" {
    call_at retry_after_900 </dev/null
    ((status == 75 && took < 20 && $(count retry_after_900) == 1))
    [[ $said == *"HTTP 429" ]]
}

@test "a shim that is ended by a signal leaves nothing behind" {
    local signal tries pid
    for signal in TERM INT HUP; do
        cp "$shim" "$BATS_TEST_TMPDIR/notify"
        env -i --default-signal=HUP,INT,QUIT,PIPE,TERM "SHIM_TEST=$BATS_TEST_TMPDIR" MEDIATOR_URL="http://127.0.0.1:$(<"$hostile/silent")" \
            MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" "$bash" "$BATS_TEST_TMPDIR/notify" </dev/null >/dev/null 2>&1 3>&- &
        pid=$!
        for ((tries = 0; tries < 100; tries++)); do
            [[ -n $(pgrep -P "$pid") ]] && break
            sleep 0.1
        done
        sleep 0.3
        kill -"$signal" "$pid"
        status=0
        wait "$pid" || status=$?
        ((status > 128))
        leaves_nothing_running
    done
}

@test "a caller that waits for the end of its pipes is not kept waiting" {
    cp "$shim" "$BATS_TEST_TMPDIR/notify"
    local before=$SECONDS
    run env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL="http://127.0.0.1:$(<"$hostile/silent")" MEDIATOR_TIMEOUT=1 MEDIATOR_KEY_ID=securechange \
        MEDIATOR_KEY="$key" "$bash" "$BATS_TEST_TMPDIR/notify" </dev/null
    ((status == 75 && SECONDS - before < 30))
}
