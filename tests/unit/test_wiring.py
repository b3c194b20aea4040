"""How the adapters are made from the cluster file: each once, and when it is first asked for."""

import subprocess
import sys
from pathlib import Path

from slurm_powersave import wiring
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.config.layout import HOOKS
from slurm_powersave.testing.world import cluster
from slurm_powersave.wiring import LiveSite


def argv(**login: str) -> tuple[str, ...]:
    base = {"name": "head", "address": "10.0.0.2", "image": "default", "flavor": "small"}
    intake = LiveSite(cluster(2, login=base | login)).intake()
    found = intake._argv
    intake.close()
    return found


def test_requests_come_through_ssh_with_known_keys_only() -> None:
    found = argv()
    assert found[0] == "ssh" and found[-1] == f"{HOOKS}/reader"
    assert "-oStrictHostKeyChecking=yes" in found and "root@10.0.0.2" in found


def test_a_login_user_that_is_not_root_uses_sudo() -> None:
    assert argv(user="debian")[-3:] == ("sudo", "-n", f"{HOOKS}/reader")


def test_on_one_host_the_spool_is_read_without_ssh() -> None:
    assert argv(connection="local") == (f"{HOOKS}/reader",)


OPENSTACK = {"adapter": "openstack", "nodes_module": "x", "settings": {"cloud": "mine", "force_delete": True}}


def test_openstack_has_an_adapter_for_all_that_is_asked_of_a_cloud() -> None:
    site = wiring.site(cluster(2, clouds={"mem": OPENSTACK}))
    found = site.clouds()["mem"]
    assert isinstance(found, OpenStackCloud) and type(site.image_cloud("mem")) is OpenStackImageCloud
    assert wiring.site(cluster(2)).clouds() == {}


def test_a_cloud_has_one_adapter_whoever_asks_for_it() -> None:
    made = cluster(2, clouds={"mem": OPENSTACK})
    site = wiring.site(made)
    found = site.clouds()["mem"]
    assert site.clouds()["mem"] is found and site.cloud("mem") is found and site.image_cloud("mem") is found
    elsewhere = site.of(made.model_copy(update={"state_dir": Path("/elsewhere")}))
    assert elsewhere.cloud("mem") is found
    assert site.anew(made).cloud("mem") is not found
    other = OPENSTACK | {"settings": {"cloud": "another"}}
    assert site.of(cluster(2, clouds={"mem": other})).cloud("mem") is not found


def test_no_journal_is_made_by_a_look(tmp_path: Path) -> None:
    site = wiring.site(cluster(2, state_dir=tmp_path))
    assert site.existing_journal() is None and not list(tmp_path.iterdir())


def test_the_journal_is_opened_once_and_again_after_it_was_closed(tmp_path: Path) -> None:
    site = wiring.site(cluster(2, state_dir=tmp_path))
    with site:
        first = site.journal()
        assert site.journal() is first and site.existing_journal() is first
    tmp_path.joinpath("journal.db").rename(tmp_path / "aside")
    with site:
        assert site.journal() is not first and site.journal().node_records() == {}
    assert tmp_path.joinpath("journal.db").exists()


def test_no_adapter_is_loaded_before_it_is_asked_for() -> None:
    code = (
        "import sys; from slurm_powersave import wiring; "
        "print(*(name for name in sys.modules if name.startswith('slurm_powersave.adapters.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
