#!/usr/bin/env bats
# The shim against the real mediator, as both are delivered.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() {
    home=$BATS_FILE_TMPDIR/mediator
    mkdir -p "$home/scripts" "$home/seen"
    printf '%s\n' "$key" >"$home/securechange.key"
    printf '%s\n' "another-$key" >"$home/limited.key"
    chmod 600 "$home"/*.key
    write_settings 0
    # What a script is given goes where the tests look for it.
    write_script notify.sh "printf '%s\\0' \"\$SCW_EVENT\" \"\$@\" >$home/seen/arguments; cat >$home/seen/ticket"
    # shellcheck disable=SC2016 # the script expands it
    write_script condition.sh 'cat; printf "%s\n" "$SCW_EVENT:$*" >&2; printf "\0\377"; exit 7'
    write_script slow.sh 'exec sleep 60'
    start_mediator
}

write_settings() { # port
    printf '%s\n' "http: {host: 127.0.0.1, port: $1, body_limit: 1MiB}" 'auth:' '  keys:' \
        '    - {id: securechange, secret_file: securechange.key}' \
        '    - {id: limited, secret_file: limited.key, scripts: [condition.sh]}' \
        'policies: {condition.sh: {kind: condition}, slow.sh: {kind: condition, timeout: 1s}}' >"$home/mediator.yaml"
}

write_script() { # name line
    printf '#!/bin/bash\n%s\n' "$2" >"$home/scripts/$1"
    chmod +x "$home/scripts/$1"
}

start_mediator() { # -> file ready, once it is
    local tries
    "$python" -m mediator serve --config "$home/mediator.yaml" >"$home/ready" 2>"$home/log" 3>&- &
    printf '%s\n' "$!" >>"$BATS_FILE_TMPDIR/servers"
    for ((tries = 0; tries < 600; tries++)); do
        [[ ! -s $home/ready ]] || return 0
        sleep 0.1
    done
    cat "$home/log" >&2
    return 1
}

teardown_file() { stop_servers; }

setup() {
    home=$BATS_FILE_TMPDIR/mediator
    url=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["url"])' "$home/ready")
}

as() { # script: what the next call is named
    called=$BATS_TEST_TMPDIR/$1
    cp "$shim" "$called"
}

until_seen() { # file
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        [[ ! -s $1 ]] || return 0
        sleep 0.1
    done
    return 1
}

@test "a trigger is accepted, its script gets the ticket and the arguments as they were" {
    as notify
    path='' call SCW_EVENT=ADVANCE -- '' 'a b' $'ü\n%41' <"$samples/ticket_info_hostile_values.xml"
    ((status == 0))
    [[ ! -s $out && $said == "securechange-shim: notify: accepted as delivery "* ]]
    until_seen "$home/seen/ticket"
    cmp "$home/seen/ticket" "$samples/ticket_info_hostile_values.xml"
    cmp "$home/seen/arguments" <(printf '%s\0' ADVANCE '' 'a b' $'ü\n%41')
}

@test "the same ticket once more is told as a duplicate of the same delivery" {
    as notify
    call SCW_EVENT=CREATE -- once <"$samples/trigger_create.xml"
    ((status == 0))
    local first=${said##* }
    call SCW_EVENT=CREATE -- once <"$samples/trigger_create.xml"
    ((status == 0))
    [[ $said == *"accepted as delivery $first (duplicate)" ]]
}

@test "an interactive script's stdout, stderr and exit code come back" {
    as condition
    call SCW_EVENT=ADVANCE -- 4711 <"$samples/scripted_condition_stdin.xml"
    ((status == 7))
    cat "$samples/scripted_condition_stdin.xml" <(printf '\0\377') | cmp "$out" -
    [[ $said == "ADVANCE:4711" ]]
}

@test "an interactive script without a ticket" {
    as condition.sh
    call -- test </dev/null
    ((status == 7))
    [[ $said == ":test" ]]
}

@test "the Test button" {
    as condition
    call SCW_EVENT=TEST <"$samples/trigger_test.xml"
    ((status == 7))
    [[ $said == "TEST:" ]]
}

@test "an interactive script that takes too long" {
    as slow
    call SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 75))
    [[ ! -s $out && $said == *"the script ran out of time: HTTP 504: "* ]]
}

@test "a script that is not there" {
    as nothing
    call SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 78))
    [[ $said == *"HTTP 404: "*"condition.sh"* ]]
}

@test "a key that differs, one that is unknown, one for another script" {
    as notify
    call MEDIATOR_KEY=0123456789-0123456789-0123456789 SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 77))
    [[ $said == *"HTTP 401: "* ]]
    call MEDIATOR_KEY_ID=unknown SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 77))
    call MEDIATOR_KEY_ID=limited MEDIATOR_KEY="another-$key" SCW_EVENT=ADVANCE <"$samples/trigger_advance.xml"
    ((status == 77))
    [[ $said == *"HTTP 403: "* ]]
}

@test "what is no ticket is refused" {
    as notify
    call SCW_EVENT=ADVANCE < <(printf 'no XML')
    ((status == 65))
    [[ $said == *"the mediator refused the ticket: HTTP 400: "* ]]
}

@test "a ticket beyond the limit is refused, although most of it was not read" {
    commands sha256sum
    as notify
    "$python" -c 'print("<ticket_info>" + "x" * 5_000_000 + "</ticket_info>")' >"$BATS_TEST_TMPDIR/body"
    call SCW_EVENT=ADVANCE <"$BATS_TEST_TMPDIR/body"
    ((status == 65))
    [[ $said == *"HTTP 413: "* ]]
}

@test "a mediator that starts late gets the ticket" {
    home=$BATS_TEST_TMPDIR/late
    mkdir -p "$home/scripts"
    cp "$BATS_FILE_TMPDIR"/mediator/*.key "$home"
    cp -p "$BATS_FILE_TMPDIR"/mediator/scripts/condition.sh "$home/scripts"
    local port
    port=$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    write_settings "$port"
    sed -i 's/, slow.sh.*/}/' "$home/mediator.yaml"
    { sleep 1 && start_mediator; } &
    as condition
    url=http://127.0.0.1:$port call MEDIATOR_TIMEOUT=90 SCW_EVENT=ADVANCE -- 4711 <"$samples/scripted_condition_stdin.xml"
    wait "$!"
    ((status == 7))
}

@test "tickets of the spool are taken, also those of interactive scripts" {
    local spool=$BATS_TEST_TMPDIR/spool
    mkdir "$spool"
    as notify
    call MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_TIMEOUT=2 MEDIATOR_SPOOL_DIR="$spool" SCW_EVENT=ADVANCE -- kept \
        <"$samples/trigger_advance.xml"
    ((status == 75))
    as slow
    call MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_TIMEOUT=2 MEDIATOR_SPOOL_DIR="$spool" SCW_EVENT=ADVANCE \
        <"$samples/trigger_advance.xml"
    ((status == 75))
    as notify
    call MEDIATOR_SPOOL_DIR="$spool" SCW_EVENT=ADVANCE -- own <"$samples/trigger_advance.xml"
    ((status == 0))
    [[ $said == *"spool: 2 sent, 0 still kept" ]]
}

@test "--self-test" {
    as securechange-shim
    call -- --self-test </dev/null
    ((status == 0))
    [[ $(<"$out") == *"$url: reachable, its clock is "*" s from the one here"$'\n'"$url: key securechange is accepted" ]]
    call MEDIATOR_KEY_ID=unknown -- --self-test </dev/null
    ((status == 77))
    [[ $(<"$out") == *"$url: key unknown is refused: "*"unknown"* ]]
}
