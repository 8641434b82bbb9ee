#!/usr/bin/env bats
# What the shim makes of bytes: percent-encoding, hexadecimal, JSON strings; and its clock and chance.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup() {
    source_shim
}

@test "percent-encoding: every byte but NUL, under any locale" {
    local n byte expected locale
    for locale in C C.UTF-8; do
        local LC_ALL=$locale
        for n in {1..255}; do
            printf -v byte '\\x%02x' "$n"
            printf -v byte '%b' "$byte"
            printf -v expected '%%%02X' "$n"
            case $n in
                45 | 46 | 95 | 126) expected=$byte ;;
                *) if ((n > 47 && n < 58 || n > 64 && n < 91 || n > 96 && n < 123)); then expected=$byte; fi ;;
            esac
            url_encode "$byte"
            [[ $REPLY == "$expected" ]]
        done
    done
}

@test "percent-encoding: a text of several bytes, and none" {
    url_encode $'a b\nü%2F"\'c'
    [[ $REPLY == a%20b%0A%C3%BC%252F%22%27c ]]
    url_encode ''
    [[ -z $REPLY ]]
}

@test "hexadecimal: runs of the byte 255, and lengths that are no multiple of 16" {
    text_to_hex $'\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffoff\xff'
    [[ $REPLY == ffffffffffffffffffff6f6666ff ]]
    text_to_hex "0123456789abcdef0"
    [[ $REPLY == 3031323334353637383961626364656630 ]]
}

@test "problem detail: plain" {
    problem_detail '{"type": "about:blank", "title": "no", "detail" : "The script notify is not there.", "status": 404}'
    [[ $REPLY == "The script notify is not there." ]]
}

@test "problem detail: escapes become one line without control characters" {
    problem_detail '{"detail":"a \"b\" \\ \/ c\td\r\n\u000ae\u001b[31m\u007f\u0085."}'
    [[ $REPLY == 'a "b" \ / c d   e [31m  .' ]]
}

@test "problem detail: \u escapes become UTF-8, a broken pair a question mark" {
    problem_detail '{"detail":"\u00fc \u20AC \uD83D\ude00 \ud83d! \ude00 \uzz"}'
    [[ $REPLY == 'ü € 😀 ?! ? uzz' ]]
}

@test "problem detail: a detail quoted in another member does not count, an absent one is empty" {
    problem_detail '{"title": "\"detail\": \"wrong\"", "detail": "right"}'
    [[ $REPLY == right ]]
    problem_detail '{"title": "x"}' || true
    [[ -z $REPLY ]]
    problem_detail 'not JSON' || true
    [[ -z $REPLY ]]
}

@test "what is said is one line, whatever is in it" {
    # shellcheck disable=SC2034 # say reads it
    script=notify
    run say $'a\nb\e[31m\tc\x7f'
    [[ $output == 'securechange-shim: notify: a b [31m c ' ]]
}

@test "chunk sizes" {
    chunk_size 0 && [[ $REPLY == 0 ]]
    chunk_size 1aF && [[ $REPLY == 431 ]]
    chunk_size 'A ;name="va;lue"' && [[ $REPLY == 10 ]]
    local wrong
    for wrong in '' ' 5' -5 0x5 5g '5 6' 123456789 ';x'; do
        run chunk_size "$wrong"
        ((status != 0))
    done
}

@test "pauses double up to ten seconds, less up to a half" {
    local round whole
    for round in {0..40}; do
        whole=$((round < 5 ? 500 << round : 10000))
        backoff_ms "$round"
        ((REPLY >= whole / 2 && REPLY <= whole))
    done
}

@test "pauses are jittered" {
    local n
    declare -A seen=()
    for n in {1..50}; do
        backoff_ms 9
        seen[$REPLY]=yes
    done
    ((${#seen[@]} > 10))
}

@test "a random value is 32 hexadecimal digits, and another one each time" {
    local n
    declare -A seen=()
    for n in {1..100}; do
        random_hex
        [[ $REPLY =~ ^[0-9a-f]{32}$ ]]
        seen[$REPLY]=yes
    done
    ((${#seen[@]} == 100))
}

@test "milliseconds are those of the clock" {
    now_ms
    local before after
    before=$(date +%s)
    now_ms
    after=$(date +%s)
    ((before <= REPLY / 1000 && REPLY / 1000 <= after))
}

@test "a Date header is told as a difference, over leap days and turns of the year" {
    local date now REPLY
    for date in 2000-02-29T23:59:59 2023-12-31T23:59:59 2024-01-01T00:00:00 2024-02-29T12:00:00 2024-03-01T00:00:01 2026-07-04T08:09:07; do
        now=$(date +%s)
        clock_difference "$(LC_ALL=C date -u -d "$date" '+%a, %d %b %Y %H:%M:%S GMT')"
        REPLY=${REPLY#its clock is } REPLY=${REPLY%% s*}
        ((now = REPLY + now - $(date -u -d "$date" +%s), now >= -1 && now <= 1))
    done
    clock_difference 'not a date'
    [[ $REPLY == "it does not say its time" ]]
}
