#!/bin/bash
#
# Runs in SecureChange's container: looks at the shim's files, and writes them.
#
#   bash -s -- DIRECTORY <<<"$this_file$requests"
#
# It comes by standard input and so do the requests behind it: what is an argument is in every list of processes.
# A request is a line; CONTENT is SIZE bytes without a NUL right after it. Each is answered by one line on stdout:
#   tools                           tools NAME...                        which of the commands it knows are here
#   look NAME                       absent | other | file RUN MODE HASH  RUN: x or -; MODE: octal or ?; HASH: hex or ?
#   compare SIZE NAME CONTENT       same | differs                       are these the file's bytes?
#   install MODE SIZE NAME CONTENT  done | failed TEXT                   all of it, or nothing
#   end                             bye                                  without it the input was cut off
# What cannot be done at all is the line "stop TEXT". To look needs nothing but bash 4.2; to install needs chmod and mv.

has() { # command
    type -P "$1" >/dev/null
}

stop() { # text...
    printf 'stop %s\n' "$*"
    exit 1
}

content() { # size -> REPLY
    REPLY=
    (($1 > 0)) || return 0
    IFS= read -r -N "$1" REPLY
    ((${#REPLY} == $1)) || stop 'the input was cut off'
}

tools() {
    local name found=
    for name in sha256sum stat chmod mv; do
        ! has "$name" || found+=" $name"
    done
    printf 'tools%s\n' "$found"
}

look() { # name
    local run=- mode='' hash=''
    if [[ ! -e $1 && ! -L $1 ]]; then
        printf 'absent\n'
    elif [[ ! -f $1 || -L $1 ]]; then # a link is not what was put here, wherever it leads
        printf 'other\n'
    else
        [[ ! -x $1 ]] || run=x
        ! has stat || mode=$(stat -c %a -- "$1")
        ! has sha256sum || hash=$(sha256sum <"$1")
        printf 'file %s %s %s\n' "$run" "${mode:-?}" "${hash:0:64}"
    fi
} 2>/dev/null

compare() { # name; what it should hold is in REPLY
    local found=''
    if [[ -r $1 ]] && ! IFS= read -r -d '' found <"$1" && [[ $found == "$REPLY" ]]; then # read succeeds at a NUL
        printf 'same\n'
    else
        printf 'differs\n'
    fi
}

install() { # mode name; the content is in REPLY
    local new=./.$2.keeper-$$ error
    ! has rm || rm -f -- "./.$2.keeper-"* 2>/dev/null # what was killed before its mv left, perhaps with a key in it
    if [[ -d $2 ]]; then
        printf 'failed there is a directory of that name\n'
    elif error=$({ printf %s "$REPLY" >"$new" && chmod "$1" "$new" && mv -f "$new" "./$2"; } 2>&1); then
        printf 'done\n'
    else
        ! has rm || rm -f "$new" 2>/dev/null
        printf 'failed %s\n' "${error//$'\n'/ }"
    fi
}

main() { # directory
    local word first second rest
    export LC_ALL=C # a character is a byte, and errors are in English
    umask 077       # a key is never readable to others, not even half written
    cd -- "$1" 2>/dev/null || stop "there is no directory $1, or this user may not enter it"
    while IFS= read -r rest; do
        word=${rest%% *} rest=${rest#* }
        case $word in
            tools) tools ;;
            look) look "$rest" ;;
            compare)
                first=${rest%% *} rest=${rest#* }
                content "$first"
                compare "$rest"
                ;;
            install)
                first=${rest%% *} rest=${rest#* }
                second=${rest%% *} rest=${rest#* }
                content "$second"
                install "$first" "$rest"
                ;;
            end)
                printf 'bye\n'
                exit # the input of an exec does not end, and is this program
                ;;
            *) stop "unknown request $word" ;;
        esac
    done
    stop 'the input was cut off'
}

main "$1"
