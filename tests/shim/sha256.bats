#!/usr/bin/env bats
# SHA-256, HMAC and base64 in pure bash, against published vectors.

# shellcheck disable=SC2154 # support/common.bash sets what the tests share
load support/common

setup() {
    source_shim
}

repeat() { # text times -> REPLY
    local power=$1 n
    for ((REPLY = 0, n = $2; n > 0; n >>= 1)); do
        ((n & 1)) && REPLY+=$power
        power+=$power
    done
    REPLY=${REPLY#0}
}

digest_of() { # text -> REPLY
    text_to_hex "$1"
    sha256_hex "$REPLY"
}

hmac_of() { # key in hex, data in hex, expected
    hmac_sha256 "$1" "$2"
    [[ $REPLY == "$3" ]]
}

@test "SHA-256: the empty message" {
    digest_of ''
    [[ $REPLY == e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 ]]
}

@test "SHA-256: abc (FIPS 180)" {
    digest_of abc
    [[ $REPLY == ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad ]]
}

@test "SHA-256: the message of 448 bits (FIPS 180)" {
    digest_of abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq
    [[ $REPLY == 248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1 ]]
}

@test "SHA-256: the message of 896 bits (FIPS 180)" {
    digest_of abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu
    [[ $REPLY == cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1 ]]
}

@test "SHA-256: a million times a, by the command of the helper path (FIPS 180)" {
    repeat a 1000000
    body_digest "$REPLY"
    [[ $REPLY == cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0 ]]
}

@test "SHA-256: a message longer than one piece of the loop" {
    repeat abcdefg 1500
    digest_of "$REPLY"
    [[ $REPLY == "$(printf 'abcdefg%.0s' {1..1500} | sha256sum | cut -d ' ' -f 1)" ]]
}

@test "SHA-256: every length around the ends of one and two blocks" {
    local n expected
    for n in {0..2} {53..66} {117..130} 511 512 513; do
        repeat x "$n"
        expected=$(printf '%s' "$REPLY" | sha256sum)
        digest_of "$REPLY"
        [[ $REPLY == "${expected%% *}" ]]
    done
}

@test "SHA-256: every byte but NUL, in pure bash as by the commands" {
    local all='' n expected
    for n in {1..255}; do
        printf -v n '\\x%02x' "$n"
        all+=$n
    done
    printf -v all '%b' "$all$all$all$all$all"
    expected=$(printf '%s' "$all" | sha256sum)
    PATH='' body_digest "$all"
    [[ $REPLY == "${expected%% *}" ]]
    body_digest "$all"
    [[ $REPLY == "${expected%% *}" ]]
}

@test "a command that does not print a digest is not believed" {
    mkdir "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/bash\necho sorry\n' >"$BATS_TEST_TMPDIR/bin/sha256sum"
    printf '#!/bin/bash\nexit 1\n' >"$BATS_TEST_TMPDIR/bin/openssl"
    chmod +x "$BATS_TEST_TMPDIR"/bin/*
    repeat a 2000
    PATH=$BATS_TEST_TMPDIR/bin body_digest "$REPLY"
    [[ $REPLY == "$(printf 'a%.0s' {1..2000} | sha256sum | cut -d ' ' -f 1)" ]]
}

@test "HMAC-SHA-256: RFC 4231 case 1" {
    repeat 0b 20
    hmac_of "$REPLY" 4869205468657265 b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7
}

@test "HMAC-SHA-256: RFC 4231 case 2, a short key" {
    hmac_of 4a656665 7768617420646f2079612077616e7420666f72206e6f7468696e673f \
        5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843
}

@test "HMAC-SHA-256: RFC 4231 case 3" {
    local key data
    repeat aa 20 && key=$REPLY
    repeat dd 50 && data=$REPLY
    hmac_of "$key" "$data" 773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe
}

@test "HMAC-SHA-256: RFC 4231 case 4" {
    repeat cd 50
    hmac_of 0102030405060708090a0b0c0d0e0f10111213141516171819 "$REPLY" \
        82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b
}

@test "HMAC-SHA-256: RFC 4231 case 5, the first 128 bits" {
    repeat 0c 20
    hmac_sha256 "$REPLY" 546573742057697468205472756e636174696f6e
    [[ ${REPLY:0:32} == a3b6167473100ee06e0c796c2955552b ]]
}

@test "HMAC-SHA-256: RFC 4231 case 6, a key longer than a block" {
    repeat aa 131
    hmac_of "$REPLY" 54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374 \
        60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54
}

@test "HMAC-SHA-256: RFC 4231 case 7, key and data longer than a block" {
    local data
    text_to_hex "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."
    data=$REPLY
    repeat aa 131
    hmac_of "$REPLY" "$data" 9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2
}

@test "base64: RFC 4648, and the two last characters of the alphabet" {
    local case
    for case in := f:Zg== fo:Zm8= foo:Zm9v foob:Zm9vYg== fooba:Zm9vYmE= foobar:Zm9vYmFy; do
        text_to_hex "${case%%:*}"
        hex_to_base64 "$REPLY"
        [[ $REPLY == "${case#*:}" || $case == := ]]
    done
    hex_to_base64 ''
    [[ -z $REPLY ]]
    hex_to_base64 fbff
    [[ $REPLY == +/8= ]]
}

@test "the published signature comes out" {
    local signature vector=$samples/signature_vector.json
    [[ -e $vector ]]
    eval "$("$python" -c '
import json, shlex, sys
v = json.load(open(sys.argv[1]))
for name, value in (("base", v["signature_base"]), ("secret", v["secret"]), ("signature", v["headers"]["Signature"])):
    print(f"{name}={shlex.quote(value)}")' "$vector")"
    text_to_hex "$secret"
    secret=$REPLY
    text_to_hex "$base"
    hmac_sha256 "$secret" "$REPLY"
    hex_to_base64 "$REPLY"
    [[ $signature == *":$REPLY:" ]]
}
