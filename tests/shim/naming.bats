#!/usr/bin/env bats
# Which script a call is for: by the file's own name, by the first argument, by a wrapper.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup_file() { start_intake; }
teardown_file() { stop_servers; }
setup() {
    use_intake
    directory=$BATS_TEST_TMPDIR/scripts
    mkdir "$directory"
}

target() { # the path and query of the last request, after the test's prefix
    local number=1
    while [[ -e $received/$((number + 1)).json ]]; do number=$((number + 1)); done
    field "$number" 'request["target"].partition("/v1/scripts/")[2]'
}

@test "a copy is named after its script, with and without .sh" {
    cp "$shim" "$directory/notify"
    called=$directory/notify call -- a </dev/null
    [[ $(target) == "notify/deliveries?arg=a" ]]
    cp "$shim" "$directory/check-risk.sh"
    called=$directory/check-risk.sh call -- a </dev/null
    [[ $(target) == "check-risk/deliveries?arg=a" ]]
}

@test "another suffix stays, and odd characters are encoded" {
    cp "$shim" "$directory/my script ü.py"
    called="$directory/my script ü.py" call </dev/null
    [[ $(target) == "my%20script%20%C3%BC.py/deliveries" ]]
}

@test "a link is named after the link" {
    ln -s "$shim" "$directory/notify.sh"
    called=$directory/notify.sh call </dev/null
    [[ $(target) == "notify/deliveries" ]]
}

@test "arguments of a copy are the script's own, even if they look like the shim's" {
    cp "$shim" "$directory/notify"
    called=$directory/notify call -- --self-test --version -- </dev/null
    ((status == 0))
    [[ $(target) == "notify/deliveries?arg=--self-test&arg=--version&arg=--" ]]
}

@test "the generic name takes the script from its first argument" {
    local name
    for name in securechange-shim securechange-shim.sh; do
        cp "$shim" "$directory/$name"
        called=$directory/$name call -- notify.py --version b </dev/null
        [[ $(target) == "notify.py/deliveries?arg=--version&arg=b" ]]
    done
}

@test "a wrapper of two lines" {
    cp "$shim" "$directory/securechange-shim"
    # shellcheck disable=SC2016 # it is a line of the shim
    sed -n 's/^# *\(#!\/bin\/bash\|exec "$BASH" .*\)$/\1/p' "$shim" >"$directory/notify.sh"
    (($(wc -l <"$directory/notify.sh") == 2))
    called=$directory/notify.sh call -- a 'b c' <"$samples/trigger_test.xml"
    ((status == 0))
    [[ $(target) == "notify/deliveries?arg=a&arg=b%20c" ]]
    cmp "$received/1.body" "$samples/trigger_test.xml"
}

@test "the generic name without a script, or with a name that is none, is wrong usage" {
    cp "$shim" "$directory/securechange-shim"
    local wrong
    for wrong in '' . .. -x --help a/b; do
        called=$directory/securechange-shim call -- "$wrong" </dev/null
        ((status == 64))
        [[ $said == *"the first argument must name the script"* ]]
    done
    called=$directory/securechange-shim call </dev/null
    ((status == 64))
    [[ ! -e $received/1.json ]]
}

@test "--version" {
    cp "$shim" "$directory/securechange-shim"
    called=$directory/securechange-shim call MEDIATOR_URL= -- --version </dev/null
    ((status == 0))
    [[ $(<"$out") =~ ^securechange-shim\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "--self-test says what is there and whether the addresses answer" {
    cp "$shim" "$directory/securechange-shim"
    called=$directory/securechange-shim call -- --self-test </dev/null
    ((status == 0))
    [[ $(<"$out") == "bash $BASH_VERSION, /dev/tcp works"$'\n'"commands found: none; none is needed"* ]]
    [[ $(<"$out") == *"$url: reachable, its clock is "*" s from the one here"$'\n'"$url: key securechange is accepted" ]]
    commands openssl curl sha256sum
    called=$directory/securechange-shim call MEDIATOR_URL="$url http://127.0.0.1:1" -- --self-test </dev/null
    ((status == 75))
    [[ $(<"$out") == *"commands found: sha256sum openssl curl"*"http://127.0.0.1:1: not reachable: "*"Connection refused" ]]
    called=$directory/securechange-shim call MEDIATOR_KEY="another$key" -- --self-test </dev/null
    ((status == 77))
    [[ $(<"$out") == *"$url: reachable, "*"$url: key securechange is refused: InvalidSignature"* ]]
    called=$directory/securechange-shim call MEDIATOR_KEY_ID= -- --self-test </dev/null
    ((status == 78))
}

@test "sourcing defines functions and does nothing" {
    # shellcheck disable=SC2016 # the other bash expands it
    run --separate-stderr env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH= "$bash" -c 'set -eu; source "$1"; [[ $(type -t main) == function ]]; trap -p; echo "$-"' \
        bash "$shim" </dev/null
    ((status == 0))
    [[ $output == *e*u* && -z $stderr ]]
    [[ ! -e $received/1.json ]]
}

@test "settings beside the file a link points to, where readlink exists" {
    cp "$shim" "$directory/securechange-shim"
    printf '%s\n' "MEDIATOR_URL=$url" MEDIATOR_KEY_ID=securechange "MEDIATOR_KEY=$key" >"$directory/securechange-shim.conf"
    ln -s "$directory/securechange-shim" "$BATS_TEST_TMPDIR/notify.sh"
    commands readlink
    run --separate-stderr env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH="$path" "$bash" "$BATS_TEST_TMPDIR/notify.sh" </dev/null
    ((status == 0))
    run --separate-stderr env -i --default-signal=HUP,INT,QUIT,PIPE,TERM PATH= "$bash" "$BATS_TEST_TMPDIR/notify.sh" </dev/null
    ((status == 78))
}

@test "the only argument may be the whole arguments field of SecureChange" {
    called=$shim call -- "notify.py --mail  x y" </dev/null
    ((status == 0))
    [[ $(target) == "notify.py/deliveries?arg=--mail%20%20x%20y" ]]
    called=$shim call -- "  notify.py  " </dev/null
    [[ $(target) == "notify.py/deliveries" ]]
}

@test "of several arguments the first is a name as it is, with its blanks" {
    called=$shim call -- "my script.py" a </dev/null
    [[ $(target) == "my%20script.py/deliveries?arg=a" ]]
}

@test "--script names a script with blanks, and leaves every argument to it" {
    called=$shim call -- --script "my script.py" </dev/null
    [[ $(target) == "my%20script.py/deliveries" ]]
    called=$shim call -- --script "my script.py" --script "a b" </dev/null
    [[ $(target) == "my%20script.py/deliveries?arg=--script&arg=a%20b" ]]
}

@test "--script without a name is a mistake of usage" {
    called=$shim call -- --script </dev/null
    ((status == 64))
}

@test "--events leaves the choice to the routes" {
    called=$shim call -- --events "Firewall Change" </dev/null
    [[ $(field 1 'request["target"].rpartition("/v1/")[2]') == "events?arg=Firewall%20Change" ]]
}
