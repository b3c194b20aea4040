"""Packages on a server of a plain cloud image: its lists are empty, and its first boot holds apt's lock."""

import fcntl
import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import LANE
from tests.e2e.guest_packages import repository
from tests.e2e.play_lab import PLACE, Lab
from tests.place import own_place

pytestmark = pytest.mark.slow
BRIDGE, NETWORK = f"br-sps-pln{LANE or ''}", f"10.{110 + LANE % 20}"
HOST = "plain-login"
PACKAGE, PROGRAM = "git", "git"
HOLD = (
    "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
    "open('/run/held', 'w'); time.sleep(15)"
)
"""What unattended upgrades do for minutes."""
CLOUD_INIT = '#!/bin/sh\necho "$*" >>/run/cloud-init-asked\nwhile [ -e /run/booting ]; do sleep 0.2; done\n'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A guest with a repository that apt has never read."""
    own_place(PLACE)
    with (PLACE / f"lock-plain{LANE}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Lab(PLACE / f"plain-{LANE}", BRIDGE, NETWORK, "plain", "22.05")
        made.remove()
        made.make()
        repository(made, HOST, [PACKAGE, "python3-apt"])
        made.on(HOST, "apt-get -qq install --yes python3-apt && rm -rf /var/lib/apt/lists/*")
        yield made
        made.remove()


def install(lab: Lab) -> None:
    """Run the role."""
    play = lab.root / "plain.yml"
    role = {"role": "packages", "packages_kinds": ["git"], "packages_patience": 60}
    play.write_text(json.dumps([{"hosts": "login", "gather_facts": False, "roles": [role]}]))
    lab.play(str(play))
    lab.on(HOST, f"command -v {PROGRAM}")


def test_empty_lists_a_held_lock_and_a_first_boot_that_goes_on(lab: Lab) -> None:
    lab.on(
        HOST,
        "cat >/usr/local/bin/cloud-init && chmod 755 /usr/local/bin/cloud-init",
        given=CLOUD_INIT.encode(),
    )
    lab.on(HOST, "touch /run/booting; (sleep 5; rm /run/booting) >/dev/null 2>&1 &")
    lab.on(HOST, f'python3 -c "{HOLD}" >/dev/null 2>&1 & while [ ! -e /run/held ]; do sleep 0.1; done')
    lab.on(HOST, f"! command -v {PROGRAM}")
    install(lab)
    assert "status --wait" in lab.on(HOST, "cat /run/cloud-init-asked")
