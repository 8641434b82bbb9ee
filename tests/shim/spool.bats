#!/usr/bin/env bats
# The spool: what could not be handed over is kept, and sent by a later call. Nothing is lost, whenever a call dies.

# shellcheck disable=SC2154,SC2030,SC2031,SC2034 # support/common.bash and setup set what the tests share
load support/common

setup_file() { start_intake; }
teardown_file() { stop_servers; }
setup() {
    use_intake
    spool=$BATS_TEST_TMPDIR/spool
    mkdir -m 700 "$spool"
}

call_down() { # as call, with nobody listening
    call MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_TIMEOUT=2 MEDIATOR_SPOOL_DIR="$spool" "$@"
}

call_up() {
    call MEDIATOR_SPOOL_DIR="$spool" "$@"
}

kept() { # how many files of the spool hold something
    find "$spool" -name 'ticket-*' -size +0 | wc -l
}

keep() { # number body...: that many calls that fail, one after another
    local body
    for body in "$@"; do
        call_down SCW_EVENT=ADVANCE -- "$body" < <(printf '%s' "$body")
        ((status == 75))
        [[ $said == *"; kept in the spool" ]]
    done
}

all_are_sent() { # -> again: how many more calls it took, where so much takes longer than one has time for
    for ((again = 0; again < 20; again++)); do
        [[ $(kept) != 0 ]] || return 0
        call_up < <(printf last)
    done
    return 1
}

by_hand() { # slot milliseconds body [key]: a ticket as the shim keeps it
    local digest
    digest=$(printf '%s' "$3" | openssl dgst -sha256 -binary | base64)
    printf 'securechange-ticket 1 %s %s %s sha-256=:%s: notify\n?arg=%s\n%s\nend %s\n' "$2" "${4-$(printf '%032x' "$1")}" \
        "${#3}" "$digest" "$1" "$3" "${4-$(printf '%032x' "$1")}" >"$spool/ticket-$1"
}

now() { "$python" -c 'import time; print(time.time_ns() // 1000000)'; }

bodies() { # of all requests in the order of their arrival, a line each
    local number
    for ((number = 1; ; number++)); do
        [[ -e $received/$number.body ]] || break
        printf '%s\n' "$(<"$received/$number.body")"
    done
}

@test "a ticket that nobody takes is kept, told in the one line, and still 75" {
    call_down SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 75 && $(kept) == 1))
    [[ ! -s $out && $said == *"the mediator did not take the ticket (tries: "*"; kept in the spool" && $said != *$'\n'* ]]
    leaves_nothing_running
}

@test "the next call that is taken sends it, byte for byte, with its own arguments, variables and idempotency key" {
    # shellcheck disable=SC2016 # nothing is to be expanded
    printf 'ü€😀 "quotes" '\''single'\'' %%s \\n $(x) `y`\n\xff\xfe\x01\x7f\x1b\r\n\nend 0\n\n\n' >"$BATS_TEST_TMPDIR/body"
    call_down SCW_EVENT=ADVANCE SCW_X=$'a\nb&' -- '' 'a b' $'ü\n%41' <"$BATS_TEST_TMPDIR/body"
    ((status == 75))
    call_up SCW_EVENT=CREATE -- other <"$samples/trigger_create.xml"
    ((status == 0 && $(kept) == 0))
    [[ ! -s $out && ${said%%$'\n'*} == *"accepted as delivery d-1" && ${said#*$'\n'} == "securechange-shim: notify: spool: 1 sent, 0 still kept" ]]
    cmp "$received/1.body" "$samples/trigger_create.xml"
    cmp "$received/2.body" "$BATS_TEST_TMPDIR/body"
    [[ $(field 2 'request["target"].split("?")[1]') == 'SCW_EVENT=ADVANCE&SCW_X=a%0Ab%26&arg=&arg=a%20b&arg=%C3%BC%0A%2541' ]]
    [[ $(field 2 'request["headers"]["idempotency-key"]') != "$(field 1 'request["headers"]["idempotency-key"]')" ]]
    # The mediator is not to run an interactive script while this call waits.
    [[ $(field 2 'request["headers"]["prefer"]') == respond-async ]]
    leaves_nothing_running
}

@test "empty, long and strange tickets are kept as they are" {
    local number=1 body
    commands sha256sum
    "$python" -c 'print("ü" * 500_000)' >"$BATS_TEST_TMPDIR/long"
    : >"$BATS_TEST_TMPDIR/empty"
    printf '\n\n' >"$BATS_TEST_TMPDIR/newlines"
    for body in long empty newlines; do call_down -- "$body" <"$BATS_TEST_TMPDIR/$body"; done
    (($(kept) == 3))
    call_up MEDIATOR_TIMEOUT=60 </dev/null
    for body in long empty newlines; do cmp "$received/$((++number)).body" "$BATS_TEST_TMPDIR/$body"; done
}

@test "the oldest goes first" {
    keep one two three
    by_hand 40 1 oldest # too old to be sent
    by_hand 41 "$(($(now) - 60000))" older
    call_up < <(printf own)
    [[ $(bodies) == $'own\nolder\none\ntwo\nthree' ]]
}

@test "all sendings of a kept ticket are one delivery: its key is the one of the call that failed" {
    answer_with '{"status": 503}'
    call_up MEDIATOR_TIMEOUT=1 </dev/null
    ((status == 75 && $(kept) == 1))
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1"}}'
    call_up < <(printf own)
    local last
    for ((last = 2; ; last++)); do [[ -e $received/$((last + 1)).json ]] || break; done
    [[ $(field 1 'request["headers"]["idempotency-key"]') == "$(field "$last" 'request["headers"]["idempotency-key"]')" ]]
    [[ $(field 1 'request["signature"]["nonce"]') != "$(field "$last" 'request["signature"]["nonce"]')" ]]
}

@test "the files are the owner's alone, also under a generous umask, and the key is in none" {
    umask 000
    keep one
    [[ $(find "$spool" -type f ! -perm 600) == "" ]]
    [[ $(grep -rlF "$key" "$spool") == "" ]]
}

@test "with an empty PATH it is the same" {
    path='' keep one two
    path='' call_up < <(printf own)
    [[ $(bodies) == $'own\none\ntwo' && $(kept) -eq 0 ]]
}

@test "a slot is used again" {
    local round
    for round in 1 2 3; do
        keep "a$round"
        call_up < <(printf 'own%s' "$round")
        ((status == 0 && $(kept) == 0))
    done
    [[ $(find "$spool" -name 'ticket-*' | wc -l) -eq 1 && $(bodies) == $'own1\na1\nown2\na2\nown3\na3' ]]
}

@test "SecureChange calls again for the same ticket: it is kept once" {
    keep one
    call_down SCW_EVENT=ADVANCE -- one < <(printf one)
    ((status == 75 && $(kept) == 1))
    [[ $said == *"; it is in the spool already" ]]
}

@test "SecureChange calls again and is taken: the kept copy is not sent" {
    keep one
    call_up SCW_EVENT=ADVANCE -- one < <(printf one)
    ((status == 0 && $(kept) == 0))
    [[ $(bodies) == one ]]
}

@test "without a success nothing of the spool is sent" {
    keep one
    local answer
    for answer in 400 401 404 409 504; do
        answer_with "{\"status\": $answer}"
        call_up < <(printf '%s' "$answer")
        (($(kept) == 1))
    done
    [[ $(bodies) == $'400\n401\n404\n409\n504' ]]
}

@test "only what a later call may change is kept" {
    local answer
    for answer in 400 401 403 404 409 413 422 501 504; do
        answer_with "{\"status\": $answer}"
        call_up MEDIATOR_TIMEOUT=1 </dev/null
        (($(kept) == 0))
    done
    for answer in 408 425 429 500 502 503; do
        answer_with "{\"status\": $answer}"
        call_up MEDIATOR_TIMEOUT=1 -- "$answer" </dev/null
        ((status == 75))
        [[ $said == *"; kept in the spool" ]]
    done
    (($(kept) == 6))
}

@test "the Test button is not for later" {
    call_down SCW_EVENT=TEST <"$samples/trigger_test.xml"
    ((status == 75 && $(kept) == 0))
    [[ $said == *"; not kept: it is the Test button's" ]]
}

@test "what the mediator refuses for good is dropped, and told" {
    keep bad good
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1"}}' '{"status": 400}' \
        '{"status": 202, "headers": {"Mediator-Delivery": "d-2"}}'
    call_up < <(printf own)
    ((status == 0 && $(kept) == 0))
    [[ $said == *"spool: 1 sent, 0 still kept; dropped notify of "*": the mediator refused it: HTTP 400" ]]
}

@test "what may be repaired stays, keeps its script's other tickets back, and no other script's" {
    keep one two
    called=$BATS_TEST_TMPDIR/other
    keep three
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1"}}' '{"status": 404}' \
        '{"status": 202, "headers": {"Mediator-Delivery": "d-2"}}'
    call_up < <(printf own)
    ((status == 0 && $(kept) == 2))
    [[ $(bodies) == $'own\none\nthree' && $said == *"spool: 1 sent, 2 still kept (HTTP 404)" ]]
}

@test "a mediator that is busy again is left alone" {
    keep one two
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1"}}' '{"status": 503}'
    call_up < <(printf own)
    ((status == 0 && $(kept) == 2))
    [[ $(bodies) == $'own\none' && $said == *"spool: 0 sent, 2 still kept (HTTP 503)" ]]
}

@test "a delivery that the mediator keeps is taken, whatever became of its script" {
    keep one
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1"}}' '{"status": 502, "headers": {"Mediator-Delivery": "d-2"}}'
    call_up < <(printf own)
    (($(kept) == 0))
}

@test "an interactive answer stays as it is: output, code, and no line about the spool" {
    keep one
    answer_with '{"status": 200, "body": "outerr", "headers": {"Mediator-Delivery": "d-1", "Mediator-Exit-Code": "3", "Mediator-Stdout-Length": "3"}}'
    call_up < <(printf own)
    ((status == 3 && $(kept) == 0))
    [[ $(<"$out") == out && $said == err && $(bodies) == $'own\none' ]]
}

@test "half-written tickets are never sent, and their slots are used again" {
    keep one
    local size number
    size=$(wc -c <"$spool/ticket-00")
    for ((number = 40; number < 60; number++)); do
        head -c "$((size * (number - 39) / 21))" "$spool/ticket-00" >"$spool/ticket-$number"
    done
    head -c "$((size - 1))" "$spool/ticket-00" >"$spool/ticket-60"
    printf 'x' | cat "$spool/ticket-00" - >"$spool/ticket-61"
    tr '\n' '\0' <"$spool/ticket-00" >"$spool/ticket-62"
    head -c 3000 /dev/urandom >"$spool/ticket-63"
    call_up < <(printf own)
    ((status == 0))
    [[ $(bodies) == $'own\none' ]]
    keep two
    call_up < <(printf own)
    [[ $(bodies) == $'own\none\nown\ntwo' ]]
}

@test "a half-written copy of this very ticket does not count as kept" {
    keep one
    local size
    size=$(wc -c <"$spool/ticket-00")
    truncate -s "$((size - 5))" "$spool/ticket-00"
    keep one
    call_up < <(printf own)
    [[ $(bodies) == $'own\none' ]]
}

@test "a full spool says so; what is broken or too old makes room" {
    local number
    for number in {00..63}; do by_hand "$number" "$(now)" "body$number"; done
    call_down </dev/null
    ((status == 75 && $(kept) == 64))
    [[ $said == *"; not kept: the spool is full, with 64 tickets" ]]
    truncate -s -3 "$spool/ticket-17"
    keep new
    by_hand 23 "$(($(now) - 8 * 86400000))" old
    call_down </dev/null
    [[ $said == *"; kept in the spool, in place of one of notify that was more than 7 days old" ]]
    (($(kept) == 64))
}

@test "what is older than a week is dropped, and told" {
    by_hand 05 "$(($(now) - 8 * 86400000))" old
    by_hand 06 "$(($(now) - 6 * 86400000))" young
    call_up < <(printf own)
    ((status == 0 && $(kept) == 0))
    [[ $(bodies) == $'own\nyoung' && $said == *"spool: 1 sent, 0 still kept; dropped notify of "*": it was more than 7 days old" ]]
}

wait_for_calls() { # not for every child: bats has one of its own, which ends with the time of the test
    wait "${calls[@]}" || true
    calls=()
}

@test "twenty calls at once while the mediator is down, then up: every ticket arrives" {
    local number again calls=()
    cp "$shim" "$BATS_TEST_TMPDIR/notify"
    for number in {1..20}; do
        out_of=$BATS_TEST_TMPDIR/said$number
        env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_TIMEOUT=5 MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" \
            MEDIATOR_SPOOL_DIR="$spool" "$bash" "$BATS_TEST_TMPDIR/notify" "$number" < <(printf 'down%s' "$number") 2>"$out_of" 3>&- &
        calls+=("$!")
    done
    wait_for_calls
    (($(kept) == 20))
    [[ $(grep -L "; kept in the spool" "$BATS_TEST_TMPDIR"/said*) == "" ]]
    for number in {1..20}; do
        env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL="$url" MEDIATOR_TIMEOUT=30 MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" \
            MEDIATOR_SPOOL_DIR="$spool" "$bash" "$BATS_TEST_TMPDIR/notify" < <(printf 'up%s' "$number") 2>"$BATS_TEST_TMPDIR/up$number" 3>&- &
        calls+=("$!")
    done
    wait_for_calls
    call_up < <(printf last)
    cat "$BATS_TEST_TMPDIR"/up*
    all_are_sent
    [[ $(bodies | sort -u) == "$({ printf 'up%s\n' {1..20} && printf 'down%s\n' {1..20} && printf 'last\n'; } | sort)" ]]
    # What was sent again, because its answer came too late for that call, is the same delivery.
    [[ $(grep -ho '"idempotency-key": "[0-9a-f]*"' "$received"/*.json | sort -u | wc -l) -eq $((41 + again)) ]]
}

@test "calls that keep and calls that send at once lose nothing" {
    local number calls=()
    cp "$shim" "$BATS_TEST_TMPDIR/notify"
    for number in {1..24}; do
        local to=$url
        ((number % 2)) || to=http://127.0.0.1:1
        env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL="$to" MEDIATOR_TIMEOUT=5 MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" \
            MEDIATOR_SPOOL_DIR="$spool" "$bash" "$BATS_TEST_TMPDIR/notify" "$number" < <(printf 'n%s' "$number") 2>/dev/null 3>&- &
        calls+=("$!")
        sleep 0.1
    done
    wait_for_calls
    call_up < <(printf last)
    call_up < <(printf last)
    (($(kept) == 0))
    [[ $(bodies | sort -u) == "$({ printf 'n%s\n' {1..24} && printf 'last\n'; } | sort)" ]]
}

@test "a call that is killed while it writes or sends leaves a spool that works" {
    local number pid
    # A shim that kills itself in the middle of writing, holding the lock.
    # shellcheck disable=SC2016 # the shim expands it
    sed 's|^write_ticket() .*|&\n    take_lock sending 0; printf "securechange-ticket 1 1" >\|"$MEDIATOR_SPOOL_DIR/$1"; kill -KILL "$$"|' \
        "$shim" >"$BATS_TEST_TMPDIR/killed"
    [[ $(<"$shim") != "$(<"$BATS_TEST_TMPDIR/killed")" ]]
    called=$BATS_TEST_TMPDIR/killed
    call_down </dev/null
    ((status == 137 && $(kept) == 1))
    grep -q . "$spool/lock"
    called=$BATS_TEST_TMPDIR/notify
    keep one two
    # One that kills itself when the mediator has taken a kept ticket, before it knows.
    # shellcheck disable=SC2016
    sed 's|^empty_slot() .*|&\n    kill -KILL "$$"|' "$shim" >"$BATS_TEST_TMPDIR/killed"
    called=$BATS_TEST_TMPDIR/killed
    call_up < <(printf own)
    ((status == 137 && $(kept) == 2))
    grep -q . "$spool/sending"
    called=$BATS_TEST_TMPDIR/notify
    call_up < <(printf own)
    ((status == 0 && $(kept) == 0))
    [[ $(bodies) == $'own\none\nown\none\ntwo' ]]
    [[ $(field 2 'request["headers"]["idempotency-key"]') == "$(field 4 'request["headers"]["idempotency-key"]')" ]]
}

@test "killed at any moment, a call leaves each ticket whole or not at all" {
    local number pid
    commands sha256sum
    "$python" -c 'print("x" * 2_000_000)' >"$BATS_TEST_TMPDIR/body"
    cp "$shim" "$BATS_TEST_TMPDIR/notify"
    for number in {1..12}; do
        # Nobody listens, so that the ticket is written about a second after the start.
        env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH="$path" MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_TIMEOUT=1 MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" \
            MEDIATOR_SPOOL_DIR="$spool" "$bash" "$BATS_TEST_TMPDIR/notify" "$number" <"$BATS_TEST_TMPDIR/body" 2>/dev/null 3>&- &
        pid=$!
        sleep "0.$((number % 4 + 5))"
        [[ $(kept) -ge 1 ]] || sleep "0.$((number % 5))"
        kill -KILL "$pid" || true
        wait "$pid" || true
    done
    keep one
    call_up MEDIATOR_TIMEOUT=60 < <(printf own)
    for ((number = 2; ; number++)); do
        [[ -e $received/$number.body ]] || break
        [[ $(<"$received/$number.body") == one ]] || cmp "$received/$number.body" "$BATS_TEST_TMPDIR/body"
    done
    ((number > 2))
}

@test "a lock of a process that is gone, of another that has its number, and torn lines are nobody's" {
    printf '999999999 5 %032x\n\n%s 1 %032x\n\n12 3' 1 "$$" 2 | tee "$spool/lock" >"$spool/sending"
    keep one
    call_up < <(printf own)
    [[ $(bodies) == $'own\none' && $(kept) -eq 0 ]]
}

@test "a lock that a living process holds is waited for, but not for ever" {
    source_shim
    process_start "$$" || false
    printf '%s %s %032x\n' "$$" "$REPLY" 1 | tee "$spool/lock" >"$spool/sending"
    call_down </dev/null
    ((status == 75))
    [[ $said == *"; not kept: other calls are using the spool" ]]
    by_hand 00 "$(now)" one
    call_up < <(printf own)
    ((status == 0))
    [[ $(bodies) == own && $said == *"accepted as delivery d-1" ]]
}

@test "the call's own answer does not wait long for the spool" {
    keep one two
    # The first answer is the call's own; then nothing comes.
    "$python" - "$BATS_TEST_TMPDIR/port" <<'PYTHON' 3>&- &
import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
open(sys.argv[1] + ".new", "w").write(str(server.getsockname()[1]))
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
first, _ = server.accept()
first.recv(65536)
first.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nMediator-Delivery: d-1\r\n\r\n")
first.close()
time.sleep(60)
PYTHON
    local server=$! tries before
    for ((tries = 0; tries < 100; tries++)); do
        [[ ! -e $BATS_TEST_TMPDIR/port ]] || break
        sleep 0.1
    done
    before=$SECONDS
    call_up MEDIATOR_URL="http://127.0.0.1:$(<"$BATS_TEST_TMPDIR/port")" MEDIATOR_TIMEOUT=3 </dev/null
    kill "$server"
    ((status == 0 && SECONDS - before < 10 && $(kept) == 2))
    [[ $said == *"accepted as delivery d-1"*"spool: 0 sent, 2 still kept (no time was left)" ]]
    leaves_nothing_running
}

@test "when all of several addresses fail the ticket is kept once, and goes to the one that takes the next" {
    call MEDIATOR_URL="http://127.0.0.1:1 http://127.0.0.1:2" MEDIATOR_TIMEOUT=2 MEDIATOR_SPOOL_DIR="$spool" < <(printf one)
    ((status == 75 && $(kept) == 1))
    call MEDIATOR_URL="http://127.0.0.1:1 $url" MEDIATOR_SPOOL_DIR="$spool" < <(printf own)
    ((status == 0 && $(kept) == 0))
    [[ $(bodies) == $'own\none' ]]
}

@test "the routes' choice is kept as such" {
    called=$BATS_TEST_TMPDIR/securechange-shim
    call_down SCW_EVENT=CREATE -- --events first < <(printf one)
    call_up -- --script 'a b.sh' < <(printf own)
    [[ $(field 2 'request["target"]') == "/test$BATS_TEST_NUMBER/v1/events?SCW_EVENT=CREATE&arg=first" ]]
    call_down -- --script 'ü b.sh' < <(printf two)
    call_up -- --events < <(printf own)
    [[ $(field 4 'request["target"]') == "/test$BATS_TEST_NUMBER/v1/scripts/%C3%BC%20b.sh/deliveries" ]]
}

@test "a spool that cannot be used never stops a ticket, and says why it kept none" {
    spool=$BATS_TEST_TMPDIR/none
    call_down </dev/null
    [[ $status == 75 && $said == *"; not kept: the spool $spool is no directory" ]]
    call_up </dev/null
    [[ $status == 0 && $said == *"accepted as delivery d-1" ]]
    : >"$spool"
    call_down </dev/null
    [[ $said == *"; not kept: the spool $spool is no directory" ]]
    spool=/proc
    call_down </dev/null
    [[ $said == *"; not kept: the spool /proc cannot be written" ]]
    spool=/tmp
    call_down </dev/null
    [[ $said == *"; not kept: the spool /tmp is a directory that others share" ]]
}

@test "mkdir makes the directory where it exists, for its owner alone" {
    commands mkdir
    spool=$BATS_TEST_TMPDIR/made
    keep one
    [[ $(stat -c %a "$spool") == 700 ]]
}

@test "a disk that is full is told" {
    # A file may have 512 bytes, as a disk that fills up while the ticket is written.
    cp "$shim" "$BATS_TEST_TMPDIR/notify"
    trap '' XFSZ
    ulimit -Sf 1
    call_down < <(printf '%02000d' 1)
    ulimit -Sf unlimited
    ((status == 75))
    [[ $said == *"; not kept: the spool $spool cannot be written" ]]
    (($(kept) == 0))
}

@test "links in the spool are not followed" {
    printf precious >"$BATS_TEST_TMPDIR/precious"
    ln -s "$BATS_TEST_TMPDIR/precious" "$spool/ticket-00"
    ln -s "$BATS_TEST_TMPDIR/none" "$spool/ticket-01"
    keep one
    call_up < <(printf own)
    [[ $(<"$BATS_TEST_TMPDIR/precious") == precious && ! -e $BATS_TEST_TMPDIR/none && $(bodies) == $'own\none' ]]
}

@test "--self-test counts what is kept" {
    keep one two
    called=$BATS_TEST_TMPDIR/securechange-shim
    call_up -- --self-test </dev/null
    [[ $(<"$out") == *"spool $spool: 2 of 64 slots hold a ticket" ]]
    spool=$BATS_TEST_TMPDIR/none
    call_up -- --self-test </dev/null
    ((status == 78))
    [[ $(<"$out") == *"the spool $spool is no directory" ]]
}

@test "a kept ticket is not sent as a part of another call's trace" {
    keep one
    call_up TRACEPARENT=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 < <(printf 'two')
    ((status == 0))
    [[ $(bodies) == $'two\none' ]]
    [[ $(field 1 '"traceparent" in request["headers"]') == True && $(field 2 '"traceparent" in request["headers"]') == False ]]
}
