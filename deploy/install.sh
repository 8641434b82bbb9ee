#!/bin/bash
#
# Installs, upgrades and removes a mediator as a systemd service. See --help.

set -uo pipefail
shopt -s inherit_errexit

unset -v CDPATH
root=$(cd -- "${BASH_SOURCE[0]%/*}/.." && pwd) || exit
# shellcheck source=deploy/environment.bash
source "$root/deploy/environment.bash" || exit

readonly opt=/opt/mediator etc=/etc/mediator state=/var/lib/mediator srv=/srv/mediator
readonly units=/etc/systemd/system command=/usr/local/bin/mediator
readonly releases=$opt/releases current=$opt/current credentials=$etc/credentials
readonly first_with_credentials=247

usage() {
    printf '%s\n' \
        "usage: deploy/install.sh [--extras] [--strict]" \
        "       deploy/install.sh --uninstall | --purge" \
        "" \
        "Installs the mediator of this checkout as the service mediator.service, and starts it. Run it again to" \
        "upgrade, from a newer checkout: the version before stays until the new one has started, and comes back" \
        "when it does not. What is as it should be is left alone; settings, keys and scripts always." \
        "" \
        "  --extras      the optional parts too: PostgreSQL, Kubernetes, tracing; later runs keep them" \
        "  --strict      close more of the system to the service: deploy/systemd/strict.conf; later runs keep it" \
        "  --uninstall   stop it and remove the program; settings, keys, state and scripts stay" \
        "  --purge       remove those and the user mediator too" \
        "  --help        this text" \
        "" \
        "  $opt          the program, in an environment of its own" \
        "  $etc          settings and keys" \
        "  $srv/scripts  scripts" \
        "  $state      deliveries, and the packages of scripts" \
        "" \
        "Packages come from where pip gets them (pip.conf, PIP_INDEX_URL, or PIP_NO_INDEX with PIP_FIND_LINKS)," \
        "in the versions and with the hashes of deploy/requirements.txt."
}

read_arguments() { # arguments... -> task, extras, strict
    while (($#)); do
        case $1 in
            --extras) extras=yes ;;
            --strict) strict=yes ;;
            --uninstall | --purge) task=${1#--} ;;
            -h | --help) usage && exit ;;
            *) fail "there is no option $1; see --help" ;;
        esac
        shift
    done
    [[ $task == install || -z $extras$strict ]] || fail "--$task takes no other option; see --help"
}

need_host() {
    ((EUID == 0)) || fail "this changes the system, so it needs root: run it by sudo"
    [[ -d /run/systemd/system ]] || fail "systemd does not run here; docs/how-to/deploy.md says what else there is"
    exec {lock}>/run/lock/mediator-install || fail "/run/lock cannot be written"
    flock --nonblock "$lock" || fail "another run of install.sh is at work; wait for its end"
}

change() { # text...: something is not as it should be, and is made so
    note "$*"
    changes+=1
}

must() { # command...: or end, saying what failed
    "$@" || fail "$* failed; what was done so far stays, and another run goes on from there"
}

# ------------------------------------------------------------------------------------------------ what is on disk

ensure_user() {
    getent passwd mediator >/dev/null && return
    change "adding the user mediator"
    must useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin mediator
}

ensure_directory() { # path, mode, group
    [[ -d $1 && $(stat -c '%a %U:%G' "$1") == "${2#0} root:$3" ]] && return
    change "making $1"
    must install -d -m "$2" -o root -g "$3" "$1"
}

ensure_file() { # source, target, mode: the same bytes
    cmp -s -- "$1" "$2" && [[ $(stat -c %a "$2") == "${3#0}" ]] && return 1
    change "writing $2"
    must install -D -m "$3" -o root -g root "$1" "$2"
}

ensure_key() { # file
    if [[ ! -e $1 ]]; then
        change "making the secret $1"
        must "$release/bin/mediator" new-key "$1" >/dev/null
    fi
    if ((systemd < first_with_credentials)); then must chgrp mediator "$1" && must chmod 0640 "$1"; fi
}

ensure_configuration() {
    local readers=root mode=0700
    if ((systemd < first_with_credentials)); then readers=mediator mode=0750; fi
    ensure_directory "$etc" 0755 root
    ensure_directory "$credentials" "$mode" "$readers"
    ensure_directory "$srv" 0755 root
    [[ -d $srv/scripts ]] || ensure_directory "$srv/scripts" 0755 root # its owner may have been changed
    ensure_key "$credentials/securechange.key"
    ensure_key "$credentials/operator.token"
    [[ -e $etc/mediator.yaml ]] || ensure_file "$release/service/mediator.yaml" "$etc/mediator.yaml" 0644
}

# ------------------------------------------------------------------------------------------------ the program

sources() { # prints what the program is made of
    find "$root/mediator" "$root/bash_shim/securechange-shim" "$root/pyproject.toml" "$root/deploy/systemd" \
        "$root/deploy/$requirements" -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z
}

name_release() { # -> release: by its version and everything it is made of
    local digest version
    [[ $(<"$root/mediator/__init__.py") =~ __version__\ =\ \"([^\"]+)\" ]] || fail "$root has no mediator/__init__.py with a version"
    version=${BASH_REMATCH[1]}
    # Without the path of the checkout: another copy of the same version is the same.
    digest=$({ "$python" -VV && cd -- "$root" && sources | sed -z "s#^$root/##" | xargs -0 sha256sum; } | sha256sum) ||
        fail "the checkout $root cannot be read"
    release=$releases/$version-${digest:0:12}
}

make_release() { # release
    local log
    [[ -e $release/complete ]] && return
    change "installing ${release##*/} with $python, which takes a minute"
    must mkdir -p -- "$releases"
    log=$("$python" -m venv --clear "$release" 2>&1) || fail "$python cannot make $release: $log"
    pip_install "$release" --require-hashes -r "$root/deploy/$requirements"
    install_package || fail "$release cannot be written"
    # Its own unit beside it: an older version comes back with the unit it knows.
    must cp -R -- "$root/deploy/systemd" "$release/service"
    [[ -z $extras ]] || must touch -- "$release/extras"
    # Files of a virtual environment are not labelled as programs by themselves.
    if type -P restorecon >/dev/null; then restorecon -R "$opt"; fi
    must touch -- "$release/complete"
}

install_package() { # a copy: building a package would fetch and run a build system that no hash vouches for
    local packages
    packages=$("$release/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))') &&
        rm -rf -- "$packages/mediator" &&
        cp -R -- "$root/mediator" "$packages" &&
        install -D -m 0755 "$root/bash_shim/securechange-shim" "$packages/mediator/shim/securechange-shim" &&
        "$release/bin/python" -m compileall -q "$packages/mediator" &&
        printf '#!%s\nimport sys\n\nfrom mediator.cli.main import main\n\nsys.exit(main())\n' \
            "$release/bin/python" >"$release/bin/mediator" &&
        chmod 0755 "$release/bin/mediator"
}

ensure_unit() { # release -> unit_changed
    local conf=$units/mediator.service.d
    ensure_file "$1/service/mediator.service" "$units/mediator.service" 0644 && unit_changed=yes
    ensure_file "$1/service/mediator-command" "$command" 0755
    if [[ -n $strict || -e $conf/strict.conf ]]; then
        ensure_file "$1/service/strict.conf" "$conf/strict.conf" 0644 && unit_changed=yes
    fi
    if ((systemd < first_with_credentials)); then
        ensure_file "$1/service/old-systemd.conf" "$conf/old-systemd.conf" 0644 && unit_changed=yes
    fi
    [[ -z $unit_changed ]] || must systemctl daemon-reload
}

check_release() { # before the running one is touched
    local said
    said=$(MEDIATOR_CONFIG=$etc/mediator.yaml CREDENTIALS_DIRECTORY=$credentials "$release/bin/mediator" check 2>&1) && return
    printf '%s\n' "$said" >&2
    note "mediator check has something to say about the settings or the scripts (above); it goes on nevertheless"
}

point_to() { # release: at once, whoever looks
    must ln -sfn -- "$1" "$current.new"
    must mv -T -- "$current.new" "$current"
}

# ------------------------------------------------------------------------------------------------ the service

start() { # "start" or "restart": until it takes work
    systemctl "$1" mediator.service && systemctl is-active --quiet mediator.service
}

ensure_running() {
    local previous='' unit_changed=''
    [[ ! -L $current ]] || previous=$(readlink -- "$current")
    ensure_unit "$release"
    systemctl is-enabled --quiet mediator.service || must systemctl enable --quiet mediator.service
    if [[ $previous == "$release" && -z $unit_changed ]]; then
        systemctl is-active --quiet mediator.service && return
        change "starting mediator.service"
        start start || fail "it does not start: $(why)"
        return
    fi
    change "starting ${release##*/}"
    point_to "$release"
    start restart || fall_back
    forget_others
}

fall_back() { # to the release before
    local reason unit_changed=''
    reason=$(why)
    [[ -n $previous && $previous != "$release" && -e $previous/complete ]] || fail "it does not start: $reason"
    note "${release##*/} does not start: $reason"
    note "going back to ${previous##*/}"
    ensure_unit "$previous"
    point_to "$previous"
    start restart || fail "${previous##*/} does not start either: $(why)"
    rm -rf -- "$release"
    fail "the upgrade failed, and ${previous##*/} runs again"
}

why() { # prints the last words of the service
    journalctl --unit=mediator.service --output=cat --lines=5 --no-pager 2>/dev/null
    printf '%s' "journalctl -u mediator has the rest"
}

forget_others() { # removes releases that do not run
    local other
    for other in "$releases"/*; do
        [[ $other == "$release" ]] || rm -rf -- "$other"
    done
}

# ------------------------------------------------------------------------------------------------ tasks

install_it() {
    local python release requirements=requirements.txt systemd
    need_python && python=$REPLY
    systemd=$(systemctl --version) && systemd=${systemd#systemd } && systemd=${systemd%%[!0-9]*}
    [[ -z $extras && ! -e $current/extras ]] || extras=yes requirements=requirements-all.txt
    ensure_user
    name_release
    make_release
    ensure_configuration
    check_release
    ensure_running
    if ((changes == 0)); then
        note "nothing to do: ${release##*/} is installed and runs"
    else
        note "done: ${release##*/} runs. Settings: $etc/mediator.yaml. Scripts: $srv/scripts. Look: mediator status"
        note "for SecureChange: mediator shim bundle ./pod --url http://$HOSTNAME:8080 writes the files of its pod"
    fi
}

uninstall_it() {
    [[ -e $units/mediator.service || -e $releases ]] || note "no mediator is installed"
    systemctl disable --quiet --now mediator.service 2>/dev/null
    rm -rf -- "$units/mediator.service" "$units/mediator.service.d/strict.conf" \
        "$units/mediator.service.d/old-systemd.conf" "$command" "$releases" "$current" || fail "not everything could be removed"
    # What others keep there stays, such as the packages of scripts.
    rmdir --ignore-fail-on-non-empty -- "$units/mediator.service.d" "$opt" 2>/dev/null
    must systemctl daemon-reload
    systemctl reset-failed mediator.service 2>/dev/null
    [[ $task == purge ]] || { note "removed; $etc, $state and $srv stay, --purge removes them too" && return; }
    rm -rf -- "$etc" "$state" "$srv" "$units/mediator.service.d" || fail "not everything could be removed"
    ! getent passwd mediator >/dev/null || must userdel mediator
    note "removed, with settings, keys, state and scripts"
}

main() { # arguments...
    local task=install extras='' strict='' lock
    local -i changes=0
    read_arguments "$@"
    need_host
    case $task in
        install) install_it ;;
        *) uninstall_it ;;
    esac
}

main "$@"
