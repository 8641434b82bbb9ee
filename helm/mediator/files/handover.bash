# shellcheck shell=bash
#
# What `helm test` runs: hands a ticket over as a SecureChange pod does, with the files that `mediator shim bundle` makes for it.
# Reads MEDIATOR_URL, SCRIPT (none: a name that no script has) and EXPECT, text that the answer must hold.

handed_over() { # script: the shim's own status; what it writes is on stdout
    printf '<ticket_info/>' | SCW_EVENT=TEST bash "$pod/securechange-shim" --script "$1" 2>&1
}

pod=$(mktemp -d)
mediator shim bundle "$pod" --url "$MEDIATOR_URL" >/dev/null
bash "$pod/securechange-shim" --self-test

status=0
answer=$(handed_over "${SCRIPT:-helm-test-of-no-script}") || status=$?
printf '%s\n' "$answer"
if [[ -n $SCRIPT ]]; then
    ((status == 0)) || { printf 'helm test: %s exited with %d\n' "$SCRIPT" "$status" && exit 1; }
    [[ $answer == *"$EXPECT"* ]] || { printf 'helm test: the answer does not hold: %s\n' "$EXPECT" && exit 1; }
    printf 'helm test: the script %s took the event TEST\n' "$SCRIPT"
else
    # 78 is the answer of a mediator that took the signature and has no such script; 77 would be a wrong key, 75 no mediator.
    ((status == 78)) && [[ $answer == *helm-test-of-no-script* ]] || { printf 'helm test: status %d\n' "$status" && exit 1; }
    printf 'helm test: address, key and clock are right; set helmTest.script to have a script run\n'
fi
