#!/bin/sh
# Writes requirements.lock anew: what a clean environment gets from pyproject.toml today, pinned.
set -eu
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet -e '.[dev]'
{
    echo "# Every package of the development environment, pinned; made by \`make lock\`."
    "$scratch/venv/bin/pip" freeze --all --exclude-editable | grep -v '^pip==' | LC_ALL=C sort -f
} >"$scratch/lock"
mv "$scratch/lock" requirements.lock
