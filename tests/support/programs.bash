# shellcheck shell=bash
#
# Which programs each part of tests/run uses, and where Debian has them. Sourced by tests/run, after deploy/environment.bash.
#
# A part runs with a PATH of these and .venv/bin alone: what a machine happens to have cannot hide what another lacks.

# program=package of Debian. A program that Debian keeps off PATH is a pattern of its path; of initdb|/usr/.../initdb either will do.
readonly postgresql='initdb|/usr/lib/postgresql/*/bin/initdb=postgresql'
# Images are made without a registry, by debootstrap; networks with names need netavark and aardvark-dns.
readonly podman='podman=podman runc=runc iptables=iptables ip6tables=iptables debootstrap=debootstrap wget=wget gpgv=gpgv
    xz=xz-utils mount=mount umount=mount apt-get=apt apt-config=apt
    /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns'
# Playwright brings a node of its own, which needs this library.
readonly browser='chromium=chromium /usr/lib/*/libatomic.so.1=libatomic1'
# Its library sets the clock of a mediator.
readonly faketime='/usr/lib/*/faketime/libfaketimeMT.so.1=faketime'
# A Kubernetes of the tests' own, for the part cluster without KUBECONFIG: what runs it, and what it is built with.
readonly kubernetes='containerd=containerd containerd-shim-runc-v2=containerd ctr=containerd etcd=etcd-server ip=iproute2
    iptables-save=iptables iptables-restore=iptables ip6tables-save=iptables ip6tables-restore=iptables modprobe=kmod
    sysctl=procps /usr/lib/cni/bridge=containernetworking-plugins go=golang-go gofmt=golang-go rsync=rsync jq=jq make=make
    patch=patch dpkg-source=dpkg-dev perl=perl awk=mawk
    /usr/share/gocode/src/github.com/modern-go/reflect2=golang-github-modern-go-reflect2-dev'

declare -rA programs=(
    [lint]=''
    [types]=''
    [layers]=''
    [unit]=''
    [integration]="python3=python3 openssl=openssl git=git rsync=rsync mount=mount umount=mount $postgresql"
    [acceptance]="$browser curl=curl openssl=openssl mount=mount umount=mount $postgresql"
    [faults]="$faketime mount=mount umount=mount $postgresql"
    [deploy]='prometheus=prometheus promtool=prometheus amtool=prometheus-alertmanager nginx=nginx-light curl=curl openssl=openssl
        podman=podman'
    [helm]='npm=npm node=nodejs'
    [shim]='curl=curl openssl=openssl pgrep=procps pkill=procps ps=procps'
    [mixture]="$faketime mount=mount umount=mount $postgresql"
    [image]="git=git $podman"
    [cluster]="git=git npm=npm node=nodejs curl=curl openssl=openssl $podman $kubernetes $postgresql"
    [systemd]="git=git $podman"
    [compose]="git=git $podman"
    [fresh]="git=git $podman"
    [locks]=''
)

# The programs of the packages that are essential in Debian, which are on every machine; elsewhere those of them that are there.
# tests/integration/test_programs.py compares them with what dpkg says.
readonly essential=(
    '[' add-shell addpart agetty arch b2sum base32 base64 basename basenc bash bashbug blkdiscard blkid blkzone blockdev
    captoinfo cat chcon chcpu chgrp chmem chmod choom chown chroot chrt cksum clear clear_console cmp comm cp csplit
    ctrlaltdel cut dash date dd deb-systemd-helper deb-systemd-invoke delpart df diff diff3 dir dircolors dirname dmesg
    dnsdomainname domainname dpkg dpkg-deb dpkg-divert dpkg-fsys-usrunmess dpkg-maintscript-helper dpkg-query dpkg-realpath
    dpkg-split dpkg-statoverride dpkg-trigger du echo egrep env expand expr factor faillog fallocate false fgrep find findfs
    findmnt flock fmt fold fsck fsck.cramfs fsck.minix fsfreeze fstab-decode fstrim getconf getent getopt getty grep groups
    gunzip gzexe gzip hardlink head hostid hostname i386 iconv iconvconfig id infocmp infotocap install installkernel
    invoke-rc.d ionice ipcmk ipcrm ipcs ischroot isosize join killall5 last lastb lastlog ld.so ldattach ldconfig ldd link
    linux32 linux64 ln locale localedef logger login logname ls lsblk lscpu lsipc lslocks lslogins lsmem lsns mcookie md5sum
    md5sum.textutils mesg mkdir mkfifo mkfs mkfs.bfs mkfs.cramfs mkfs.minix mknod mkswap mktemp more mountpoint mv namei
    newgrp nice nisdomainname nl nohup nologin nproc nsenter numfmt od partx paste pathchk perl pidof pinky pivot_root pldd
    pr printenv printf prlimit ptx pwd rbash readlink readprofile realpath remove-shell rename.ul renice reset resizepart rev
    rgrep rm rmdir rmt-tar rtcwake run-parts runcon runuser savelog script scriptlive scriptreplay sdiff sed seq service
    setarch setpriv setsid setterm sg sh sha1sum sha224sum sha256sum sha384sum sha512sum shred shuf sleep sort split
    start-stop-daemon stat stdbuf stty su sulogin sum swaplabel switch_root sync tabs tac tail tar tarcat taskset tee
    tempfile test tic timeout toe touch tput tr true truncate tset tsort tty tzselect uclampset uname uncompress unexpand
    uniq unlink unshare update-alternatives update-passwd update-rc.d update-shells users utmpdump vdir wall wc wdctl whereis
    which which.debianutils who whoami wipefs x86_64 xargs yes ypdomainname zcat zcmp zdiff zdump zegrep zfgrep zforce zgrep
    zic zless zmore znew zramctl
)

need_programs() { # part...: what is missing is installed
    local part words=() wanted=()
    for part; do
        read -r -d '' -a words <<<"${programs[$part]}"
        wanted+=("${words[@]}")
    done
    need_commands "${wanted[@]}"
}

offer_programs() { # part, new directory: links there to all that the part may use, but for what is off PATH
    local words=() names=("${essential[@]}") found=() name
    read -r -d '' -a words <<<"${programs[$1]}"
    for name in "${words[@]%%[=|]*}"; do
        [[ $name == */* ]] || names+=("$name")
    done
    mapfile -t found < <(type -P "${names[@]}")
    mkdir -p -- "$2" && ln -s -t "$2" -- "${found[@]}" && offer_python "$2"
}

offer_python() { # directory: a python3 in it is the one that .venv was made with, not a version manager's stand-in
    local python
    [[ -L $1/python3 ]] || return 0
    python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)') && ln -sf -- "$python" "$1/python3"
}
