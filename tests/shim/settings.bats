#!/usr/bin/env bats
# The settings file beside the shim, and the environment over it.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup() {
    directory=$BATS_TEST_TMPDIR/scripts
    mkdir "$directory"
    cp "$shim" "$directory/notify"
    conf=$directory/securechange-shim.conf
}

loaded() { # setting [NAME=value]...: what it is after loading, in a fresh bash
    local name=$1
    shift
    # shellcheck disable=SC2016 # the other bash expands it
    env -i --default-signal=HUP,INT,QUIT,PIPE,TERM "$@" "$bash" -c 'source "$1"; load_settings "$2"; printf "%s" "${!3-}"' bash "$shim" "$conf" "$name"
}

refused() { # expected words: the settings end the shim with 78 and say so
    run --separate-stderr env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH= "$bash" "$directory/notify" </dev/null
    printf '%s\n' "$stderr"
    ((status == 78))
    [[ -z $output && $stderr == *"$1"* && $stderr != *$'\n'* ]]
}

good_conf() { # [line]...: settings that pass the check, and these lines
    printf '%s\n' MEDIATOR_URL=http://127.0.0.1:1 MEDIATOR_KEY_ID=a "MEDIATOR_KEY=$key" "$@" >"$conf"
}

@test "comments, blank lines, quotes, spaces and CRLF" {
    printf '%s\r\n' '# MEDIATOR_URL=no' '' '   ' '  MEDIATOR_URL = "http://a:1  http://b:2"  ' "MEDIATOR_KEY_ID='x y'" \
        'MEDIATOR_TIMEOUT=7' >"$conf"
    printf 'MEDIATOR_CONNECT_TIMEOUT=3' >>"$conf"
    [[ $(loaded MEDIATOR_URL) == 'http://a:1  http://b:2' ]]
    [[ $(loaded MEDIATOR_KEY_ID) == 'x y' ]]
    [[ $(loaded MEDIATOR_TIMEOUT) == 7 ]]
    [[ $(loaded MEDIATOR_CONNECT_TIMEOUT) == 3 ]]
}

@test "a value is taken as it is, and nothing of the file is executed" {
    # shellcheck disable=SC2016 # nothing is to be expanded
    printf '%s\n' 'MEDIATOR_KEY=$(touch pwned)`touch pwned`${HOME}*#=\n"' >"$conf"
    cd "$directory"
    # shellcheck disable=SC2016
    [[ $(loaded MEDIATOR_KEY) == '$(touch pwned)`touch pwned`${HOME}*#=\n"' ]]
    [[ ! -e pwned ]]
}

@test "the environment wins over the file" {
    printf '%s\n' MEDIATOR_TIMEOUT=7 MEDIATOR_URL=http://file >"$conf"
    [[ $(loaded MEDIATOR_TIMEOUT MEDIATOR_TIMEOUT=9) == 9 ]]
    [[ $(loaded MEDIATOR_URL MEDIATOR_TIMEOUT=9) == http://file ]]
}

@test "a key of the environment hides the key file of the file, and the other way round" {
    printf '%s\n' MEDIATOR_KEY_FILE=file.key >"$conf"
    [[ -z $(loaded MEDIATOR_KEY_FILE MEDIATOR_KEY=x) ]]
    printf '%s\n' MEDIATOR_KEY=x >"$conf"
    [[ -z $(loaded MEDIATOR_KEY MEDIATOR_KEY_FILE=y) ]]
}

@test "relative paths start from the file's directory, absolute ones stay" {
    printf '%s\n' MEDIATOR_KEY_FILE=keys/a.key MEDIATOR_CA_FILE=/etc/ca.pem >"$conf"
    [[ $(loaded MEDIATOR_KEY_FILE) == "$directory/keys/a.key" ]]
    [[ $(loaded MEDIATOR_CA_FILE) == /etc/ca.pem ]]
}

@test "an unknown setting is refused, with its line and what there is" {
    good_conf '# a comment' MEDIATOR_URI=http://x
    refused "securechange-shim.conf line 5: unknown setting MEDIATOR_URI; there are MEDIATOR_URL MEDIATOR_KEY_ID"
}

@test "a line that sets nothing is refused" {
    good_conf 'export MEDIATOR_URL=x'
    refused "line 4: expected KEY=value"
}

@test "a quote that is not closed is refused" {
    good_conf 'MEDIATOR_CA_FILE="/etc'
    refused "line 4: the quote is not closed"
}

@test "a settings file that cannot be read is refused" {
    mkdir "$conf"
    refused "cannot be read"
}

@test "no address, no key id, no key" {
    printf '' >"$conf"
    refused "MEDIATOR_URL is not set"
    printf '%s\n' MEDIATOR_URL=http://a >"$conf"
    refused "MEDIATOR_KEY_ID must be set"
    printf '%s\n' MEDIATOR_URL=http://a MEDIATOR_KEY_ID=a >"$conf"
    refused "neither MEDIATOR_KEY_FILE nor MEDIATOR_KEY is set"
}

@test "a short key, two keys, a key file that is not there; none is ever printed" {
    good_conf MEDIATOR_KEY=short-secret
    refused "shorter than 32 characters"
    [[ $stderr != *short-secret* ]]
    good_conf MEDIATOR_KEY=üüüüüüüüüüüüüüüüüüüü
    refused "shorter than 32 characters"
    good_conf MEDIATOR_KEY_FILE=x
    refused "not both"
    printf '%s\n' MEDIATOR_URL=http://a MEDIATOR_KEY_ID=a MEDIATOR_KEY_FILE=none >"$conf"
    refused "MEDIATOR_KEY_FILE: $directory/none cannot be read"
}

@test "a key id that would break the signature is refused" {
    good_conf 'MEDIATOR_KEY_ID=a"b'
    refused "MEDIATOR_KEY_ID must be set"
}

@test "times that are not whole seconds are refused" {
    local wrong
    for wrong in 0 -1 1.5 5s x 100000 08; do
        good_conf "MEDIATOR_TIMEOUT=$wrong"
        refused "MEDIATOR_TIMEOUT must be whole seconds"
        good_conf "MEDIATOR_CONNECT_TIMEOUT=$wrong"
        refused "MEDIATOR_CONNECT_TIMEOUT must be whole seconds"
    done
}

@test "user names in an address are refused, and the password is not printed" {
    good_conf 'MEDIATOR_URL=http://user:pa55@host:80/x'
    refused "a user name or password in the address is not used"
    [[ $stderr != *pa55* ]]
}

@test "an address that is none is refused" {
    local wrong
    for wrong in mediator:8080 ftp://a http:// http://a:b http://a:123456 'http://a?b' http://a#b 'http://a/%0{' \
        http://[1.2.3.4 http://a/../$'\e'; do
        good_conf "MEDIATOR_URL=$wrong"
        refused "is not an address like"
    done
}

@test "addresses come apart" {
    source_shim
    parse_url 'http://mediator.example'
    [[ "$scheme $host $port $authority '$prefix'" == "http mediator.example 80 mediator.example ''" ]]
    parse_url 'https://10.0.0.1:8443/a/b@c/'
    [[ "$scheme $host $port $authority '$prefix'" == "https 10.0.0.1 8443 10.0.0.1:8443 '/a/b@c'" ]]
    parse_url 'https://[fe80::1]/'
    [[ "$scheme $host $port $authority '$prefix'" == "https fe80::1 443 [fe80::1] ''" ]]
}

@test "a certificate file that is not there is refused" {
    good_conf MEDIATOR_CA_FILE=none.pem
    refused "MEDIATOR_CA_FILE: $directory/none.pem cannot be read"
}

@test "a relative spool starts from the settings' directory" {
    printf '%s\n' MEDIATOR_SPOOL_DIR=spool >"$conf"
    [[ $(loaded MEDIATOR_SPOOL_DIR) == "$directory/spool" ]]
}
