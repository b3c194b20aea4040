#!/bin/sh
# Installs what this checkout needs: missing Debian packages (as root), and .venv with the pinned Python packages.
# Says what it does; quick when there is nothing to do.
#
#   setup.sh [--image | --lab]     also (root) the demo's guest image; with --lab what the tests need: the images of all
#                                  versions of Slurm, and an OpenStack
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
packages="python3-venv openssl debootstrap systemd-container iproute2 openssh-client procps slurm-client shellcheck"

say() { printf 'setup: %s\n' "$*"; }

missing=
for package in $packages; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
        missing="$missing $package"
    fi
done
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        say "this is not Debian or Ubuntu; please install what these packages hold:$missing"
    elif [ "$(id -u)" != 0 ]; then
        say "not root, so these packages stay missing and what needs them can't run:$missing"
        say "to have them: sudo apt-get install --no-install-recommends$missing"
    else
        say "installing Debian packages:$missing"
        # Without an answer to its questions apt-get would wait for ever in CI.
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086  # a list of package names
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    fi
fi

if ! command -v terraform >/dev/null 2>&1; then
    say "terraform is not on PATH: the demo, the end-to-end tests and 'make lint' need 1.5 or later"
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    say "'$python' is not Python 3.11 or later; name one: make setup PYTHON=python3.12" >&2
    exit 9
fi

# Each takes about a minute of one core, and is kept in /var/cache/slurm-powersave: meanwhile, two at a time.
images() {
    for version in "$@"; do
        demo/guests/build --slurm "$version" >/dev/null
    done
}
background=
case "$(id -u) ${1:-}" in
"0 --image")
    demo/guests/build >/dev/null &
    background=$!
    ;;
"0 --lab")
    images 26.05 24.11 &
    background=$!
    { tests/openstack/lab/install >/dev/null && images 22.05; } &
    background="$background $!"
    ;;
esac
finish() {
    for job in $background; do
        wait "$job"
    done
}

stamp=.venv/pinned
wanted=$(cat requirements.lock pyproject.toml | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    finish
    exit 0
fi
if ! .venv/bin/python -c '' 2>/dev/null; then
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
say "installing the $(grep -c == requirements.lock) pinned packages of requirements.lock into .venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --quiet --no-deps -r requirements.lock
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
.venv/bin/python -m pip check
printf '%s\n' "$wanted" >"$stamp"
finish
say "done"
