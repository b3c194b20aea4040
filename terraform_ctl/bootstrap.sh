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
# shellcheck disable=SC2086  # $git may be nothing
if command -v apt-get >/dev/null; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends python3-venv openssh-client unzip $git
else
    python=python3.11
    dnf install -y -q "$python" openssh-clients unzip $git
fi

"$python" -m venv "$directory"
"$directory/bin/pip" install --quiet --upgrade "$toolkit"

share=$directory/share/slurm-powersave
export ANSIBLE_CONFIG="$share/ansible.cfg"
"$directory/bin/ansible-playbook" --connection local --inventory localhost, \
    --extra-vars "@$settings" "$share/playbooks/control_host.yml"
