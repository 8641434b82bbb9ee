#!/usr/bin/env bats
# What arrives at the mediator: a real server verifies every signature with the library the mediator uses.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() { start_intake; }
teardown_file() { stop_servers; }
setup() { use_intake; }

@test "with an empty PATH a ticket arrives, byte for byte and signed" {
    path='' call SCW_EVENT=ADVANCE -- <"$samples/trigger_advance.xml"
    ((status == 0))
    [[ ! -s $out && $said == "securechange-shim: notify: accepted as delivery d-1" ]]
    cmp "$received/1.body" "$samples/trigger_advance.xml"
    [[ $(field 1 'request["signature"]["alg"], request["signature"]["tag"], request["signature"]["keyid"]') == "('hmac-sha256', 'mediator', 'securechange')" ]]
    leaves_nothing_running
}

@test "with a PATH that leads nowhere, and with none" {
    path=/nonexistent call <"$samples/trigger_test.xml"
    ((status == 0))
    # bash gives itself a PATH when the environment has none.
    env -i --default-signal=HUP,INT,QUIT,PIPE,TERM -u PATH MEDIATOR_URL="$url" MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" "$bash" "$called" \
        <"$samples/trigger_test.xml"
    cmp "$received/2.body" "$samples/trigger_test.xml"
}

@test "a small ticket starts no command, even where there are some" {
    commands
    local name
    for name in sha256sum openssl curl cat sleep date mktemp readlink; do
        # shellcheck disable=SC2016 # it is the script's
        printf '#!%s\nprintf "%%s\\n" "$0" >>"%s"\n' "$bash" "$BATS_TEST_TMPDIR/started" >"$path/$name"
        chmod +x "$path/$name"
    done
    call <"$samples/trigger_test.xml"
    ((status == 0))
    [[ ! -e $BATS_TEST_TMPDIR/started ]]
}

@test "every sample ticket arrives unchanged" {
    local sample number=0
    for sample in "$samples"/*.xml; do
        call SCW_EVENT=CREATE <"$sample"
        ((status == 0))
        cmp "$received/$((++number)).body" "$sample"
    done
    ((number > 20))
}

@test "bytes that are no text: invalid UTF-8, quotes, percent signs, newlines at the end, no newline" {
    local body number=0
    # shellcheck disable=SC2016 # nothing is to be expanded
    for body in '\xff\xfe\x80%%s\\n"\x27$(x)`y`\n\n\n' '\xc3' '\n' ' ' '\r\n\r\n' '%%' '\x01\x7f\x1b'; do
        # shellcheck disable=SC2059 # the format is the test
        printf "$body" >"$BATS_TEST_TMPDIR/body"
        call <"$BATS_TEST_TMPDIR/body"
        ((status == 0))
        cmp "$received/$((++number)).body" "$BATS_TEST_TMPDIR/body"
    done
}

@test "all 255 bytes that bash can hold, under a UTF-8 locale, from a pipe" {
    "$python" -c 'import sys; sys.stdout.buffer.write(bytes(range(1, 256)) * 9)' >"$BATS_TEST_TMPDIR/body"
    call LC_ALL=C.UTF-8 LANG=C.UTF-8 < <(cat "$BATS_TEST_TMPDIR/body")
    ((status == 0))
    cmp "$received/1.body" "$BATS_TEST_TMPDIR/body"
}

@test "five megabytes, from a file and from a pipe, with sha256sum" {
    commands sha256sum
    "$python" -c 'import random, sys; r = random.Random(1)
sys.stdout.buffer.write(r.randbytes(5_000_000).replace(b"\0", b"\1"))' >"$BATS_TEST_TMPDIR/body"
    call MEDIATOR_TIMEOUT=100 <"$BATS_TEST_TMPDIR/body"
    ((status == 0))
    cmp "$received/1.body" "$BATS_TEST_TMPDIR/body"
    call MEDIATOR_TIMEOUT=100 < <(cat "$BATS_TEST_TMPDIR/body")
    ((status == 0))
    cmp "$received/2.body" "$BATS_TEST_TMPDIR/body"
}

@test "a hundred kilobytes with only openssl, and ten in pure bash" {
    "$python" -c 'print("<ticket_info>" + "ü" * 50000)' >"$BATS_TEST_TMPDIR/body"
    commands openssl
    call <"$BATS_TEST_TMPDIR/body"
    ((status == 0))
    cmp "$received/1.body" "$BATS_TEST_TMPDIR/body"
    head -c 10000 "$BATS_TEST_TMPDIR/body" >"$BATS_TEST_TMPDIR/smaller"
    path='' call MEDIATOR_TIMEOUT=100 <"$BATS_TEST_TMPDIR/smaller"
    ((status == 0))
    cmp "$received/2.body" "$BATS_TEST_TMPDIR/smaller"
}

@test "an empty stdin, a closed one and a terminal are an empty ticket" {
    call </dev/null
    ((status == 0))
    call <&-
    ((status == 0))
    [[ $said == "securechange-shim: notify: accepted as delivery d-2" ]]
    "$python" -c 'import os, pty, sys
pid, terminal = pty.fork()
if not pid:
    os.execve(sys.argv[1], sys.argv[1:3], dict(MEDIATOR_URL=sys.argv[3], MEDIATOR_KEY_ID="securechange", MEDIATOR_KEY=sys.argv[4]))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))' "$bash" "$BATS_TEST_TMPDIR/notify" "$url" "$key"
    local number
    for number in 1 2 3; do [[ -e $received/$number.body && ! -s $received/$number.body ]]; done
}

@test "a NUL byte is refused, wherever it is, and nothing is sent" {
    local body
    for body in '\0' 'a\0' '\0a' '<ticket_info>\0</ticket_info>'; do
        # shellcheck disable=SC2059 # the format is the test
        call < <(printf "$body")
        ((status == 65))
        [[ ! -s $out && $said == *"holds a NUL byte after byte"*"nothing was sent" ]]
    done
    call < <(printf 'abc\0def')
    [[ $said == *"after byte 3,"* ]]
    [[ ! -e $received/1.json ]]
}

@test "a stdin that never ends is given up in time" {
    local before=$SECONDS
    call MEDIATOR_TIMEOUT=1 < <(printf '<ticket' && exec sleep 60)
    ((status == 75 && SECONDS - before < 30))
    [[ $said == *"stdin did not end within 1 s"* && ! -e $received/1.json ]]
}

@test "arguments arrive in their order, whatever is in them" {
    local arguments=('' 'a b' $'new\nline\n' 'ü€😀' $'\xff\xfe' 'a=b&arg=c' '%41+;#?/' --version -n '*' "it's \"q\"")
    call SCW_EVENT=CREATE -- "${arguments[@]}" </dev/null
    ((status == 0))
    [[ $(field 1 '[name for name, _ in request["query"]] == ["SCW_EVENT"] + ["arg"] * 11') == True ]]
    [[ $(field 1 'request["query"][1][1] == "" and request["query"][2][1] == "a b"') == True ]]
    [[ $(field 1 'request["query"][3][1] == "new\nline\n" and request["query"][4][1] == "ü€😀"') == True ]]
    [[ $(field 1 'request["query"][5][1].encode("utf-8", "surrogateescape")') == *ufffd* ||
    $(field 1 'request["target"]') == *'&arg=%FF%FE&'* ]]
    [[ $(field 1 '[v for _, v in request["query"][6:]]') == "['a=b&arg=c', '%41+;#?/', '--version', '-n', '*', 'it\\'s \"q\"']" ]]
}

@test "every SCW_ variable arrives under its name, and no other variable" {
    call SCW_EVENT=REDO SCW_MULTI=$'one\ntwo=2\n' SCW_EMPTY= SCW_x1=$'\xfc&' SCWX=no OTHER=no </dev/null
    ((status == 0))
    [[ $(field 1 'request["target"].split("?")[1]') == 'SCW_EMPTY=&SCW_EVENT=REDO&SCW_MULTI=one%0Atwo%3D2%0A&SCW_x1=%FC%26' ]]
}

@test "without variables and arguments there is no query" {
    call </dev/null
    [[ $(field 1 'request["target"]') == "/test$BATS_TEST_NUMBER/v1/scripts/notify/deliveries" ]]
}

@test "the request says what it is" {
    call <"$samples/trigger_test.xml"
    [[ $(field 1 'request["method"], request["headers"]["content-type"], request["headers"]["connection"]') == "('POST', 'application/xml', 'close')" ]]
    [[ $(field 1 'request["headers"]["user-agent"]') == securechange-shim/* ]]
    [[ $(field 1 'request["headers"]["content-length"]') == 14 ]]
}

@test "each call has an idempotency key of its own" {
    call </dev/null
    call </dev/null
    local first second
    first=$(field 1 'request["headers"]["idempotency-key"]') second=$(field 2 'request["headers"]["idempotency-key"]')
    [[ $first =~ ^[0-9a-f]{32}$ && $second =~ ^[0-9a-f]{32}$ && $first != "$second" ]]
}

@test "re-sends are one delivery: the same idempotency key, a fresh signature each time" {
    answer_with '{"status": 500}' '{"status": 502}' '{"status": 503}' '{"status": 429}' \
        '{"status": 202, "headers": {"Mediator-Delivery": "d-9"}}'
    call <"$samples/trigger_create.xml"
    ((status == 0))
    [[ $said == *"accepted as delivery d-9" && -e $received/5.json && ! -e $received/6.json ]]
    local number
    for number in 1 2 3 4 5; do
        field "$number" 'request["headers"]["idempotency-key"]' >>"$BATS_TEST_TMPDIR/keys"
        field "$number" 'request["signature"]["nonce"]' >>"$BATS_TEST_TMPDIR/nonces"
        cmp "$received/$number.body" "$samples/trigger_create.xml"
    done
    [[ $(sort -u "$BATS_TEST_TMPDIR/keys" | wc -l) -eq 1 && $(sort -u "$BATS_TEST_TMPDIR/nonces" | wc -l) -eq 5 ]]
}

@test "several addresses are tried in turn, as one delivery" {
    call MEDIATOR_URL="http://127.0.0.1:1 http://no-such-host.invalid:80 $url" </dev/null
    ((status == 0))
    [[ -e $received/1.json && ! -e $received/2.json ]]
}

@test "an address that answers 503 is followed by the next at once" {
    answer_with '{"status": 503, "headers": {"Retry-After": "20"}}' '{"status": 202, "headers": {"Mediator-Delivery": "d-2"}}'
    local before=$SECONDS
    call MEDIATOR_URL="$url $url" </dev/null
    ((status == 0 && SECONDS - before < 15))
    [[ $(field 1 'request["headers"]["idempotency-key"]') == "$(field 2 'request["headers"]["idempotency-key"]')" ]]
}

@test "proxies of the environment are not used" {
    local dead=http://127.0.0.1:1
    call http_proxy=$dead HTTP_PROXY=$dead https_proxy=$dead HTTPS_PROXY=$dead all_proxy=$dead ALL_PROXY=$dead </dev/null
    ((status == 0))
}

@test "variables that steer bash do not steer the shim" {
    call TMOUT=1 POSIXLY_CORRECT=1 SHELLOPTS=errexit:nounset:noglob:posix BASHOPTS=nocasematch IFS=/ LC_ALL=de_DE.UTF-8 \
        -- 'a b' '*' <"$samples/trigger_test.xml"
    ((status == 0))
    [[ $(field 1 '[v for _, v in request["query"]]') == "['a b', '*']" ]]
}

@test "the key is in nobody's arguments and in no helper's environment" {
    commands openssl
    rm "$path/openssl"
    # shellcheck disable=SC2016 # it is the script's
    printf '#!%s\nprintf "%%s " "$@" "${MEDIATOR_KEY-unset}" >>%q\nexec %q "$@"\n' "$bash" "$BATS_TEST_TMPDIR/seen" \
        "$(type -P openssl)" >"$path/openssl"
    chmod +x "$path/openssl"
    "$python" -c 'print("x" * 3000)' >"$BATS_TEST_TMPDIR/body"
    call <"$BATS_TEST_TMPDIR/body"
    ((status == 0))
    [[ $(<"$BATS_TEST_TMPDIR/seen") == "dgst -sha256 -r unset " ]]
}

@test "settings from the file beside the shim, with a key file of one line and more" {
    local directory=$BATS_TEST_TMPDIR/scripts
    mkdir "$directory"
    cp "$shim" "$directory/notify.sh"
    printf '%s\r\n%s\n' "$key" "second line" >"$directory/the.key"
    printf '%s\n' "MEDIATOR_URL = \"$url\"" MEDIATOR_KEY_ID=securechange MEDIATOR_KEY_FILE=the.key \
        >"$directory/securechange-shim.conf"
    cd /
    run --separate-stderr env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH= "$bash" "$directory/notify.sh" <"$samples/trigger_test.xml"
    ((status == 0))
    [[ $stderr == "securechange-shim: notify: accepted as delivery d-1" ]]
}

@test "a key that differs is refused, with what the mediator says" {
    answer_with '{"status": 202}'
    call MEDIATOR_KEY=0123456789-0123456789-0123456789-0 </dev/null
    ((status == 77))
    [[ $said == "securechange-shim: notify: the mediator does not accept key securechange: HTTP 401" ]]
    [[ ! -e $received/2.json ]]
}

@test "the trace that the environment names is passed on" {
    local parent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    call TRACEPARENT="$parent" TRACESTATE='rojo=1,congo=t61 x' <"$samples/trigger_test.xml"
    ((status == 0))
    [[ $(field 1 'request["headers"]["traceparent"], request["headers"]["tracestate"]') == "('$parent', 'rojo=1,congo=t61 x')" ]]
}

@test "what is no trace is not sent, and nothing can be smuggled in by it" {
    local parent number=0 good=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    for parent in '' none "$good"$'\r\nX-Evil: 1' "${good^^}" "x$good"; do
        call TRACEPARENT="$parent" TRACESTATE=a=1 <"$samples/trigger_test.xml"
        ((status == 0 && ++number))
        [[ $(field "$number" '[n for n in request["headers"] if n.startswith("trace") or "evil" in n]') == '[]' ]]
    done
    call TRACEPARENT="$good" TRACESTATE=$'a=1\r\nX-Evil: 1' <"$samples/trigger_test.xml"
    [[ $(field "$((number + 1))" '[n for n in request["headers"] if n.startswith("trace") or "evil" in n]') == "['traceparent']" ]]
}
