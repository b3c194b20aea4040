#!/bin/sh
# Makes this machine the control host: slurm-powersave-bootstrap TOOLKIT
# TOOLKIT is what pip is to install. cloud-init runs this once, as root; a second run takes a newer toolkit.
set -eu
toolkit=$1
directory=/opt/slurm-powersave
settings=/etc/slurm-powersave/control_host.json
# cloud-init has no home directory, and Ansible wants one.
export HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

python=python3
git=
case $toolkit in git+*) git=git ;; esac
# At the first boot a plain image has empty package lists, unattended upgrades hold the package manager's lock for
# minutes, and a mirror may not answer yet.
# shellcheck disable=SC2086  # $git may be nothing
if command -v apt-get >/dev/null; then
    packages() {
        apt-get update -q -o DPkg::Lock::Timeout=600 -o APT::Update::Error-Mode=any &&
            apt-get install -y -q -o DPkg::Lock::Timeout=600 --no-install-recommends \
                python3-venv openssh-client unzip $git
    }
else
    python=python3.11
    packages() { dnf install -y -q "$python" openssh-clients unzip $git; }
fi
tries=15
until packages; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 20
done

"$python" -m venv "$directory"
"$directory/bin/pip" install --quiet --upgrade "$toolkit"

share=$directory/share/slurm-powersave
export ANSIBLE_CONFIG="$share/ansible.cfg"
"$directory/bin/ansible-playbook" --connection local --inventory localhost, \
    --extra-vars "@$settings" --extra-vars '{"packages_first_boot": false}' "$share/playbooks/control_host.yml"
