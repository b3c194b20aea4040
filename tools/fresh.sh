#!/bin/sh
# Behind `make test-fresh`: does a checkout work on a Debian that has next to nothing?
#
# Makes a minimal Debian 12 (debootstrap; and git, make, python3, ca-certificates), takes HEAD, this machine's
# settings for packages and its terraform there, and runs in it, from nothing:
#
#   make setup-image          as root
#   make test-quick           as an ordinary user
#   unit and contract tests   as root: those that need it, one of them through the sshd of a guest image
#   make demo, demo-clean     as root, without a network: nothing may be left to fetch
#
# The tree is entered in namespaces of its own (unshare, pivot_root): the machine's packages, users, bridges and
# processes are not in there, and all that is mounted or runs goes away with this script, however it ends. The
# demo's guests are systemd-nspawn's, started in there; the tree itself is not: a killed systemd-nspawn leaves its
# guest and what it has mounted.
#   SLURM_POWERSAVE_FRESH   where it is made [/var/tmp/slurm-powersave-fresh]
#   SLURM_POWERSAVE_MIRROR  Debian mirror [the machine's own, else debootstrap's]
set -eu
umask 022
checkout=$(cd "$(dirname "$0")/.." && pwd)
place=${SLURM_POWERSAVE_FRESH:-/var/tmp/slurm-powersave-fresh}
tree=$place/tree
work=/srv/fresh # in the tree; no other checkout has this path, so no name of cgroups and bridges is anybody else's
began=$(date +%s)

say() { printf 'fresh: %4d s  %s\n' $(($(date +%s) - began)) "$*"; }
die() {
    say "$*" >&2
    exit 1
}

# --- The whole: in namespaces that end with it -------------------------------------------------------------------

outside() {
    [ "$(id -u)" = 0 ] || die "it makes a Debian in a tree and enters it: root is needed"
    # Everybody knows its name, and may make something in its place: a link in there would lead root elsewhere.
    mkdir -p "$place"
    [ -z "$(find "$place" -maxdepth 0 \( ! -type d -o ! -user root -o -perm /022 \))" ] \
        || die "$place is not root's alone: find out who made it, and remove it"
    for tool in debootstrap unshare setpriv pivot_root flock git terraform; do
        command -v "$tool" >/dev/null || die "$tool is missing"
    done
    exec 9>"$place/lock"
    flock --nonblock 9 || die "another run is under way in $place"
    rm -rf --one-file-system "$tree" # of a run that was killed
    child=
    # The outer one gone, the inner ones get SIGKILL, and the kernel takes mounts, bridges and processes away.
    trap '[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true; tidy' EXIT
    trap 'exit 130' INT TERM HUP
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --ipc --uts "$0" inside 9>&- &
    child=$!
    code=0
    wait "$child" || code=$?
    child=
    exit "$code"
}

tidy() {
    sleep 0.2 # until the kernel has taken the namespaces away
    rm -rf --one-file-system "$tree" || sleep 2 && rm -rf --one-file-system "$tree"
    # Guests that were killed leave the empty directories of their cgroups.
    tag=$(printf %s "$work/root/slurm-powersave/.demo/cloud" | sha256sum | cut -c1-8)
    for group in "/sys/fs/cgroup/slurm-powersave/$tag" "/sys/fs/cgroup"/*/"slurm-powersave/$tag"; do
        [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    say "removed $tree"
}

# --- Making it ---------------------------------------------------------------------------------------------------

inside() {
    mount -t proc proc /proc
    hostname fresh
    release=bookworm
    mirror=${SLURM_POWERSAVE_MIRROR:-}
    if [ -z "$mirror" ] && grep -q '^ID=debian' /etc/os-release; then
        mirror=$(awk '/^URIs:/ {print $2; exit}
                      /^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' \
            /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true)
    fi
    say "debootstrap of Debian 12 with git, make, python3, ca-certificates"
    debootstrap --variant=minbase --include=git,make,python3,ca-certificates "$release" "$tree" \
        ${mirror:+"$mirror"} >"$place/debootstrap.log" 2>&1 \
        || die "debootstrap failed: $(tail -n 1 "$place/debootstrap.log") (see $place/debootstrap.log)"
    settings
    say "a clone of $(git -C "$checkout" log -1 --format='%h %s')"
    chroot "$tree" useradd --create-home --shell /bin/sh somebody
    for owner in root somebody; do
        mkdir -p "$tree$work/$owner"
        git -c safe.directory="*" clone --quiet --depth 1 "file://$checkout" "$tree$work/$owner/slurm-powersave"
    done
    chroot "$tree" chown -R somebody: "$work/somebody"
    enter
}

settings() {
    # What this machine says about where packages come from, and whom it trusts there.
    apt-config dump | grep -E '^Acquire::(https?::|Check-|Retries)' >"$tree/etc/apt/apt.conf.d/machine" || true
    for file in /etc/resolv.conf /etc/pip.conf /root/.config/pip/pip.conf /root/.pip/pip.conf /root/.netrc; do
        [ ! -e "$file" ] || { mkdir -p "$tree$(dirname "$file")" && cp -L "$file" "$tree$file"; }
    done
    echo "127.0.0.1 localhost fresh" >"$tree/etc/hosts"
    if [ -d /usr/local/share/ca-certificates ]; then
        cp -RL /usr/local/share/ca-certificates "$tree/usr/local/share/"
        chroot "$tree" update-ca-certificates >/dev/null 2>&1
    fi
    : >"$place/environment"
    env | grep -E '^(PIP_[A-Z_]*|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|SLURM|SLURM_POWERSAVE_MIRROR)=.' \
        >"$place/environment" || true
    # Files and directories that these name, such as a bundle of certificates or a directory of wheels.
    cut -d= -f2- "$place/environment" | grep '^/' | sort -u | while read -r path; do
        if [ -e "$path" ] && [ ! -e "$tree$path" ]; then
            mkdir -p "$tree$(dirname "$path")"
            cp -RL "$path" "$tree$path"
        fi
    done
    cp "$(command -v terraform)" "$tree/usr/local/bin/terraform"
}

enter() {
    mount --bind "$tree" "$tree"
    mount -t proc proc "$tree/proc"
    mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs -o mode=755 tmpfs "$tree/run"
    set -- HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI=true
    while read -r setting; do set -- "$@" "$setting"; done <"$place/environment"
    mkdir -p "$tree/run/host"
    cd "$tree"
    pivot_root . run/host
    umount -l /run/host
    # With nothing in the environment but what a login gives, and the settings for packages.
    exec env -i "$@" sh "$work/root/slurm-powersave/tools/fresh.sh" steps "$began"
}

# --- What runs in it ---------------------------------------------------------------------------------------------

failed=
step() { # NAME COMMAND...
    name=$1
    shift
    say "begins: $name"
    if "$@" </dev/null; then
        say "ok: $name"
    else
        say "FAILED: $name"
        failed="$failed; $name"
    fi
}

steps() {
    began=$1
    cd "$work/root/slurm-powersave"
    say "not shown by this: what systemd as PID 1 does (here it is sh, so the demo starts its guests directly, not as"
    say "units), and what the kernel and its settings do (fs.inotify.*, cgroups): they are this machine's"
    step "make setup-image as root" make setup-image
    # runuser keeps the settings for packages; all else is as at a login.
    step "make test-quick as an ordinary user" runuser --user somebody -- \
        env HOME=/home/somebody make -C "$work/somebody/slurm-powersave" test-quick
    step "the unit and contract tests that need root" .venv/bin/python -m pytest -q -m root tests/unit tests/contract
    step "make demo, with no network to fetch anything from" unshare --net --mount tools/fresh.sh demo
    if [ -n "$failed" ]; then
        die "failed:${failed#;}"
    fi
    say "all of it works"
}

demo() {
    # /sys shows the interfaces of the network in which it was mounted.
    mkdir -p /run/cgroup
    mount --rbind /sys/fs/cgroup /run/cgroup
    mount -t sysfs sysfs /sys
    mount --rbind /run/cgroup /sys/fs/cgroup
    ip link set lo up
    code=0
    make demo || code=$?
    make demo-clean || code=1
    if [ "$(ip -oneline link show | grep -cv ' lo:')" != 0 ] || [ -e .demo ]; then
        ip -oneline link show
        ls -a
        echo "make demo-clean has left the above"
        code=1
    fi
    exit "$code"
}

case ${1:-} in
inside | demo) "$1" ;;
steps) steps "$2" ;;
*) outside ;;
esac
