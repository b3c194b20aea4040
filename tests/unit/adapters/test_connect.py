"""How the adapters are made from the cluster file."""

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.config.layout import HOOKS
from slurm_powersave.ports.cloud import FactsCloud
from slurm_powersave.testing.world import cluster


def argv(**login: str) -> tuple[str, ...]:
    base = {"name": "head", "address": "10.0.0.2", "image": "default", "flavor": "small"}
    intake = connect.intake(cluster(2, login=base | login))
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


def test_openstack_has_an_adapter_for_all_that_is_asked_of_a_cloud() -> None:
    base = {"adapter": "openstack", "nodes_module": "x", "settings": {"cloud": "mine", "force_delete": True}}
    made = cluster(2, clouds={"mem": base})
    assert type(connect.clouds(made)["mem"]) is OpenStackCloud
    assert type(connect.image_cloud(made, "mem")) is OpenStackImageCloud
    assert isinstance(connect.clouds(made)["mem"], FactsCloud)
    assert connect.clouds(cluster(2)) == {}
