#!/usr/bin/env bats
# https:// by curl or by openssl, with the certificate and the name verified; never without.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() {
    certificates=$BATS_FILE_TMPDIR/certificates
    mkdir "$certificates"
    cd "$certificates" || return
    make_ca ca
    make_ca another-ca
    make_certificate good DNS:localhost,IP:127.0.0.1
    make_certificate elsewhere DNS:mediator.example,IP:192.0.2.1
    start_intake --tls "$certificates/good.pem" "$certificates/good.key"
    start_server "$(new_folder wrong)/url" intake.py "$BATS_FILE_TMPDIR/wrong" \
        --tls "$certificates/elsewhere.pem" "$certificates/elsewhere.key"
    start_server "$(new_folder hostile)/ready" hostile.py "$BATS_FILE_TMPDIR/hostile"
}

new_folder() {
    mkdir "$BATS_FILE_TMPDIR/$1"
    printf '%s' "$BATS_FILE_TMPDIR/$1"
}

make_ca() { # name
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.pem" -days 2 -subj "/CN=$1" \
        -addext keyUsage=critical,keyCertSign 2>/dev/null
}

make_certificate() { # name subjectAltName
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out "$1.pem" \
        -extfile <(printf 'subjectAltName=%s' "$2") 2>/dev/null
}

teardown_file() { stop_servers; }

setup() {
    use_intake --tls
    ca=$BATS_FILE_TMPDIR/certificates/ca.pem
    wrong=$(<"$BATS_FILE_TMPDIR/wrong/url")
}

arrives() { # command: a ticket arrives by it, with everything that is hard to pass on
    commands "$1"
    "$python" -c 'print("<ticket_info>" + "ü\\" * 30000)' >"$BATS_TEST_TMPDIR/body"
    call MEDIATOR_CA_FILE="$ca" SCW_EVENT=ADVANCE -- 'a "b" \c' '' <"$BATS_TEST_TMPDIR/body"
    ((status == 0))
    [[ $said == "securechange-shim: notify: accepted as delivery d-1" ]]
    cmp "$received/1.body" "$BATS_TEST_TMPDIR/body"
    [[ $(field 1 '[v for _, v in request["query"]]') == "['ADVANCE', 'a \"b\" \\\\c', '']" ]]
    [[ $(field 1 'request["headers"]["content-type"]') == application/xml ]]
    leaves_nothing_running
}

by_name() { # command: the name in the address is verified, not only an IP
    commands "$1"
    call MEDIATOR_CA_FILE="$ca" MEDIATOR_URL="${url/127.0.0.1/localhost}" </dev/null
    ((status == 0))
}

result() { # command: stdout, stderr and exit code come back, also the byte NUL
    commands "$1"
    answer_with '{"status": 200, "chunked": true, "body": "a\u0000b\u00ff\nerr\u0000", "headers": {"Mediator-Exit-Code": "3", "Mediator-Stdout-Length": "5"}}'
    call MEDIATOR_CA_FILE="$ca" </dev/null
    ((status == 3))
    cmp "$out" <(printf 'a\0b\xff\n')
    cmp "$err" <(printf 'err\0')
    leaves_nothing_running
}

refuses() { # command address certificates: 78, at once, and nothing was sent
    local before=$SECONDS
    commands "$1"
    call MEDIATOR_URL="$2" MEDIATOR_CA_FILE="$3" </dev/null
    ((status == 78 && SECONDS - before < 20))
    [[ $said == *"the certificate of ${2#https://}"*" was refused: "* || $said == *"the certificate of 127.0.0.1:"*" was refused: "* ]]
    [[ ! -e $received/1.json && ! -e $BATS_FILE_TMPDIR/wrong/1.json ]]
    leaves_nothing_running
}

hangs() { # command: a server that never shakes hands ends in time
    local before=$SECONDS
    commands "$1"
    call MEDIATOR_CONNECT_TIMEOUT=1 MEDIATOR_TIMEOUT=3 MEDIATOR_URL="https://127.0.0.1:$(<"$BATS_FILE_TMPDIR/hostile/$2")" </dev/null
    ((status == 75 && SECONDS - before < 30))
    [[ $said == *"the mediator did not take the ticket"* && $said != *$'\n'* ]]
    leaves_nothing_running
}

@test "curl: a ticket arrives" { arrives curl; }
@test "openssl: a ticket arrives" { arrives openssl; }
@test "curl: by name" { by_name curl; }
@test "openssl: by name" { by_name openssl; }
@test "curl: a result comes back" { result curl; }
@test "openssl: a result comes back" { result openssl; }
@test "curl: a certificate of another authority is refused" { refuses curl "$url" "${ca/ca.pem/another-ca.pem}"; }
@test "openssl: a certificate of another authority is refused" { refuses openssl "$url" "${ca/ca.pem/another-ca.pem}"; }
@test "curl: an authority that the system does not know is refused" { refuses curl "$url" ''; }
@test "openssl: an authority that the system does not know is refused" { refuses openssl "$url" ''; }
@test "curl: the certificate of another address is refused" { refuses curl "$wrong" "$ca"; }
@test "openssl: the certificate of another address is refused" { refuses openssl "$wrong" "$ca"; }
@test "curl: the certificate of another name is refused" { refuses curl "${wrong/127.0.0.1/localhost}" "$ca"; }
@test "openssl: the certificate of another name is refused" { refuses openssl "${wrong/127.0.0.1/localhost}" "$ca"; }
@test "curl: a connect that hangs" { hangs curl black_hole; }
@test "openssl: a connect that hangs" { hangs openssl black_hole; }
@test "curl: a silent server" { hangs curl silent; }
@test "openssl: a silent server" { hangs openssl silent; }
@test "curl: a server that speaks no TLS" { hangs curl closes; }
@test "openssl: a server that speaks no TLS" { hangs openssl garbage; }

@test "a refused address does not keep the next one from its turn" {
    commands openssl
    call MEDIATOR_URL="$wrong $url" MEDIATOR_CA_FILE="$ca" </dev/null
    ((status == 0))
}

@test "neither curl nor openssl: a clear error, and nothing is sent" {
    path='' call MEDIATOR_CA_FILE="$ca" </dev/null
    ((status == 78))
    [[ $said == *"https:// needs the command curl or openssl here, and neither is there" ]]
}

@test "curl and openssl do not use proxies or settings of the environment" {
    local command dead=http://127.0.0.1:1
    printf 'insecure\nproxy = %s\n' $dead >"$BATS_TEST_TMPDIR/.curlrc"
    for command in curl openssl; do
        rm -rf "$BATS_TEST_TMPDIR/commands"
        commands "$command"
        call HOME="$BATS_TEST_TMPDIR" https_proxy=$dead HTTPS_PROXY=$dead all_proxy=$dead ALL_PROXY=$dead MEDIATOR_CA_FILE="$ca" </dev/null
        ((status == 0))
    done
    commands curl
    call HOME="$BATS_TEST_TMPDIR" MEDIATOR_URL="$wrong" MEDIATOR_CA_FILE="$ca" </dev/null
    ((status == 78))
}

@test "no argument, signature or key shows in the list of processes" {
    local command
    for command in curl openssl; do
        rm -rf "$BATS_TEST_TMPDIR/commands"
        mkdir -p "$BATS_TEST_TMPDIR/commands"
        # shellcheck disable=SC2016 # it is the script's
        printf '#!%s\nprintf "%%s " "$@" "${MEDIATOR_KEY-unset}" >>%q\nexec %q "$@"\n' "$bash" "$BATS_TEST_TMPDIR/seen" \
            "$(type -P "$command")" >"$BATS_TEST_TMPDIR/commands/$command"
        chmod +x "$BATS_TEST_TMPDIR/commands/$command"
        path=$BATS_TEST_TMPDIR/commands call MEDIATOR_CA_FILE="$ca" -- private-argument </dev/null
        ((status == 0))
    done
    [[ $(<"$BATS_TEST_TMPDIR/seen") == *-K*-connect* ]]
    [[ $(<"$BATS_TEST_TMPDIR/seen") != *private-argument* && $(<"$BATS_TEST_TMPDIR/seen") != *mediator=* ]]
    [[ $(<"$BATS_TEST_TMPDIR/seen") != *geheim* ]]
}

@test "--self-test over https" {
    cp "$shim" "$BATS_TEST_TMPDIR/securechange-shim"
    local command
    for command in curl openssl; do
        rm -rf "$BATS_TEST_TMPDIR/commands"
        commands "$command"
        called=$BATS_TEST_TMPDIR/securechange-shim call MEDIATOR_CA_FILE="$ca" -- --self-test </dev/null
        ((status == 0))
        [[ $(<"$out") == *"$url: reachable, its clock is "*"$url: key securechange is accepted" ]]
        called=$BATS_TEST_TMPDIR/securechange-shim call MEDIATOR_CA_FILE= -- --self-test </dev/null
        ((status == 78))
    done
}

@test "an empty PATH does not mean the working directory" {
    cd "$BATS_TEST_TMPDIR" || return
    printf '#!%s\nprintf started >%q\n' "$bash" "$BATS_TEST_TMPDIR/started" >curl
    chmod +x curl
    path='' call MEDIATOR_CA_FILE="$ca" </dev/null
    ((status == 78))
    [[ ! -e started ]]
}
