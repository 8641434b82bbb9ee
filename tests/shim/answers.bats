#!/usr/bin/env bats
# What the shim makes of the mediator's answers: output, exit status, and its one line on stderr.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() { start_intake; }
teardown_file() { stop_servers; }
setup() { use_intake; }

problem() { # status sentence
    answer_with "{\"status\": $1, \"headers\": {\"Content-Type\": \"application/problem+json\"}, \"body\": \"{\\\"title\\\": \\\"t\\\", \\\"detail\\\": \\\"$2\\\"}\"}"
}

result() { # exit code, stdout length, body as JSON text, chunked
    answer_with "{\"status\": 200, \"chunked\": ${4:-false}, \"body\": \"$3\", \"headers\": {\"Mediator-Delivery\": \"d-1\", \"Mediator-Exit-Code\": \"$1\", \"Mediator-Stdout-Length\": \"$2\"}}"
}

settles() { # expected status, words of the line: at the first answer, with nothing on stdout
    call <"$samples/trigger_advance.xml"
    ((status == $1))
    [[ ! -s $out && $said == "securechange-shim: notify: "*"$2"* && $said != *$'\n'* ]]
    [[ -e $received/1.json && ! -e $received/2.json ]]
}

@test "202: accepted, nothing on stdout" {
    settles 0 "accepted as delivery d-1"
}

@test "202: a duplicate is told" {
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-7", "Mediator-Duplicate": "true"}}'
    settles 0 "accepted as delivery d-7 (duplicate)"
}

@test "200: the script's stdout, stderr and exit code, and no line of the shim's own" {
    result 3 6 'hello\nproblem\n'
    call </dev/null
    ((status == 3))
    [[ $(od -An -c "$out") == "$(printf 'hello\n' | od -An -c)" ]]
    [[ $said == problem ]]
}

@test "200: any bytes, also NUL, on both sides of the border" {
    local chunked
    for chunked in false true; do
        result 0 9 '\u0000a\u0000\u0000\u00ff\u0080\n\u0000\u0000\u0000b\u0000' "$chunked"
        call </dev/null
        ((status == 0))
        cmp "$out" <(printf '\0a\0\0\xff\x80\n\0\0')
        cmp "$err" <(printf '\0b\0')
    done
}

@test "200: no output, only stdout, only stderr" {
    result 0 0 ''
    call </dev/null
    [[ $status == 0 && ! -s $out && ! -s $err ]]
    result 0 4 'out\n'
    call </dev/null
    [[ $status == 0 && $(<"$out") == out && ! -s $err ]]
    result 1 0 'err\n'
    call </dev/null
    [[ $status == 1 && ! -s $out && $(<"$err") == err ]]
}

@test "200: a big result, in chunks and at once, byte for byte" {
    local chunked
    for chunked in false true; do
        "$python" - "$received/answers" "$BATS_TEST_TMPDIR/expected" "$chunked" <<'END'
import json, random, sys
body = random.Random(2).randbytes(300_000)
open(sys.argv[2], "wb").write(body)
json.dump({"status": 200, "chunked": sys.argv[3] == "true", "body": body.decode("latin-1"),
           "headers": {"Mediator-Exit-Code": "0", "Mediator-Stdout-Length": "200001"}}, open(sys.argv[1], "w"))
END
        call </dev/null
        ((status == 0))
        cat "$out" "$err" | cmp - "$BATS_TEST_TMPDIR/expected"
        (($(wc -c <"$out") == 200001))
    done
}

@test "200: exit codes, also of a script that a signal ended" {
    local case
    for case in 0:0 1:1 75:75 255:255 -9:137 -15:143 256:255 007:7; do
        result "${case%:*}" 0 ''
        call </dev/null
        ((status == ${case#*:}))
    done
}

@test "200: stdout goes on when stderr is closed, and the other way round" {
    result 0 3 outerr
    call </dev/null
    env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL="$url" MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" "$bash" "$called" </dev/null >"$out" 2>&-
    [[ $(<"$out") == out ]]
    env -i --default-signal=HUP,INT,QUIT,PIPE,TERM MEDIATOR_URL="$url" MEDIATOR_KEY_ID=securechange MEDIATOR_KEY="$key" "$bash" "$called" </dev/null 2>"$err" >&-
    [[ $(<"$err") == err ]]
}

@test "400 is a refused ticket" {
    problem 400 "This is not a ticket."
    settles 65 "the mediator refused the ticket: HTTP 400: This is not a ticket."
}

@test "413 and 422 are refused tickets" {
    problem 413 "The limit is 8 MiB."
    settles 65 "HTTP 413: The limit is 8 MiB."
    rm "$received/1.json" && problem 422 "No."
    call </dev/null
    ((status == 65))
}

@test "401 is not authorised, and says what the mediator says" {
    problem 401 "Its clock is 900 s ahead."
    settles 77 "the mediator does not accept key securechange: HTTP 401: Its clock is 900 s ahead."
}

@test "403 is not authorised" {
    problem 403 "The key is not for this script."
    settles 77 "HTTP 403: The key is not for this script."
}

@test "404 is a matter of settings" {
    problem 404 "There is no script notify; there are a and b."
    settles 78 "HTTP 404: There is no script notify; there are a and b."
}

@test "409 is a script that is not ready: try again, but not at once" {
    problem 409 "Its dependencies are being installed."
    settles 75 "the script is not ready: HTTP 409: Its dependencies are being installed."
}

@test "504 is a script that ran out of time: it is not run again at once" {
    problem 504 "It did not end within 30 s."
    settles 75 "the script ran out of time: HTTP 504: It did not end within 30 s."
}

@test "other answers: 501 is the mediator's failure, 405 and 302 are settings" {
    local case
    for case in 501:75 405:78 302:78; do
        answer_with "{\"status\": ${case%:*}}"
        call </dev/null
        ((status == ${case#*:}))
        [[ $said == *"HTTP ${case%:*}"* ]]
    done
}

@test "500, 502, 503 and 429 are sent again" {
    local wanted
    for wanted in 500 502 503 429; do
        answer_with "{\"status\": $wanted}" '{"status": 202, "headers": {"Mediator-Delivery": "d-2"}}'
        call </dev/null
        ((status == 0))
        [[ $said == *"accepted as delivery d-2" ]]
    done
}

@test "an answer that stays 503 is told when the time is over" {
    problem 503 "It is draining."
    call MEDIATOR_TIMEOUT=5 </dev/null # time for two tries
    ((status == 75))
    [[ $said == *"the mediator did not take the ticket (tries: "*"HTTP 503: It is draining." ]]
    [[ -e $received/2.json ]]
}

@test "a detail cannot steer the terminal or make a second line" {
    problem 400 'a\\u001b[2Jb\\nc\\u009bd'
    settles 65 "HTTP 400: a [2Jb c d"
    [[ $said != *$'\e'* ]]
}

@test "202: several deliveries, or none, where the routes chose" {
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "d-1, d-2"}}'
    settles 0 "accepted as deliveries d-1, d-2"
}

@test "202: no route is no failure" {
    answer_with '{"status": 202, "headers": {"Mediator-Delivery": "none"}}'
    settles 0 "accepted; no route of the mediator wants this event"
}

@test "500, 502 and 503 of a delivery that is kept are not sent again" {
    local answer
    for answer in 500 502 503; do
        answer_with "{\"status\": $answer, \"headers\": {\"Mediator-Delivery\": \"d-1\", \"Content-Type\": \"application/problem+json\"}, \"body\": \"{\\\"detail\\\": \\\"It printed nothing.\\\"}\"}"
        call </dev/null
        ((status == 70))
        [[ $said == *"the script gave no answer that can be used: HTTP $answer: It printed nothing." ]]
    done
    [[ -e $received/3.json && ! -e $received/4.json ]]
}
