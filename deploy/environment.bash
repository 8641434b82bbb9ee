# shellcheck shell=bash
#
# Makes a Python environment from a requirements file with hashes. Sourced by tests/run and deploy/quickstart.
#
# Functions leave results in REPLY. What they do is told on stderr, in a line each.

note() { # text...
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

fail() { # text...
    note "$*"
    exit 1
}

need_commands() { # command=debian-package...: there, or installed where that is possible; for command see is_there
    local pair missing=() packages=()
    for pair in "$@"; do
        ! is_there "${pair%%=*}" || continue
        missing+=("${pair%%=*}")
        [[ " ${packages[*]} " == *" ${pair#*=} "* ]] || packages+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    install_packages "${packages[@]}" || fail "this needs ${missing[*]}: install the packages ${packages[*]}"
}

is_there() { # command: a name on PATH, the pattern of a path, or several of these with | between them
    local one choice
    IFS='|' read -r -a choice <<<"$1"
    for one in "${choice[@]}"; do
        if [[ $one == */* ]]; then
            ! compgen -G "$one" >/dev/null || return 0
        else
            ! type -P "$one" >/dev/null || return 0
        fi
    done
    return 1
}

install_packages() { # package...: by apt-get; false where only somebody else can do it
    local log
    ((EUID == 0)) && type -P apt-get >/dev/null || return
    note "installing $* with apt-get"
    # Without what packages only recommend, which can be a compiler: what is needed is asked for.
    log=$({ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } 2>&1 </dev/null) || {
        printf '%s\n' "$log" >&2
        return 1
    }
}

find_python() { # -> REPLY: the newest Python from 3.11 on that can make environments; false without
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        type -P "$name" >/dev/null || continue
        # A name can be there and not work: version managers put such names on PATH.
        "$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        REPLY=$name
        return 0
    done
    return 1
}

need_python() { # -> REPLY
    find_python && return
    install_packages python3-venv && find_python && return
    fail "this needs Python 3.11 or newer with its venv module: on Debian install python3-venv, on RHEL python3.11"
}

environment_works() { # directory: also after the checkout was moved, which commands in it do not survive
    [[ -f $1/installed && $(<"$1/installed") != "$1 "* ]] && return 1
    [[ -x $1/bin/python ]] && "$1/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_environment() { # directory, requirements file, other file whose change matters...: installs only what changed
    local directory=$1 requirements=$2 log stamp
    [[ ! -L $directory ]] || fail "$directory is a link, and what it leads to may be another's: remove the link"
    environment_works "$directory" || {
        need_python
        note "making ${directory##*/} with $REPLY"
        log=$("$REPLY" -m venv --clear "$directory" 2>&1) || fail "$REPLY cannot make $directory: $log"
    }
    stamp="$directory $("$directory/bin/python" -VV) $(cat -- "${@:2}" | sha256sum)" || fail "${*:2} cannot be read"
    [[ ! -f $directory/installed || $(<"$directory/installed") != "$stamp" ]] || return 0
    note "installing the packages of $requirements, which takes a minute"
    pip_install "$directory" --require-hashes -r "$requirements"
    after_install "$directory"
    printf '%s\n' "$stamp" >"$directory/installed"
}

pip_install() { # directory, pip's arguments...
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "${@:2}" </dev/null >&2 ||
        fail "the packages could not be installed; pip says why above"
}
