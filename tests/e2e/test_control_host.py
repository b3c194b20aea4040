"""The control host in a guest: the user data that Terraform renders, done step by step, and the engine.

The guest has no way to the outside: its apt and pip are given directories, and Terraform is there already.
All else is as on a cloud's server, the wheel of this checkout included.
"""

import fcntl
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from slurm_powersave.adapters.ansible.playbooks import environment
from tests.e2e.conftest import LANE
from tests.e2e.guest_packages import give, repository, toolkit, wheels
from tests.e2e.guests import CHECKOUT
from tests.e2e.play_lab import PLACE, Lab, changed
from tests.place import own_place
from tests.unit.terraform_ctl.user_data import user_data

BRIDGE, NETWORK = f"br-sps-ctl{LANE or ''}", f"10.{220 + LANE % 20}"
HOST = "control-login"
NEEDED = ["python3-venv", "unzip", "python3-apt"]
WHEELS = "/var/local/wheels"
SECRET = "s3cret-of-the-credential"
SHARE = "/opt/slurm-powersave/share/slurm-powersave"
UNIT = "slurm-powersave-engine"

CLUSTER = f"""
cluster_name: far
clouds: {{any: {{base_module: {SHARE}/terraform_ctl, nodes_module: {SHARE}/terraform_ctl}}}}
login: {{name: far-login, address: {NETWORK}.0.11, image: i, flavor: f}}
node_pools:
  - name: compute
    max_nodes: 2
    image: i
    flavors: [f]
    cpus: 1
    real_memory: 500
    addresses: {NETWORK}.1.1-{NETWORK}.1.2
partitions: [{{name: main, pools: [compute]}}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A guest that its user data has made a control host."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the guests' Python is 3.11, and the wheels are those of the Python that runs this")
    own_place(PLACE)
    with (PLACE / f"lock-control{LANE}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Lab(PLACE / f"control-{LANE}", BRIDGE, NETWORK, "control", slurm="22.05")  # Debian 12
        made.remove()
        made.make()
        boot(made, tmp_path_factory.mktemp("control"))
        yield made
        made.remove()


def put(lab: Lab, path: str, content: bytes | str) -> None:
    """Write a file in the guest."""
    given = content.encode() if isinstance(content, str) else content
    lab.on(HOST, f"mkdir -p $(dirname {path}) && cat >{path}", given=given)


def boot(lab: Lab, scratch: Path) -> None:
    """Give the guest what it can't fetch, and do what cloud-init does at a server's first boot."""
    repository(lab, HOST, NEEDED)
    wheel = toolkit(lab.root / "wheel")
    give(lab, HOST, wheels(), WHEELS)
    put(lab, f"{WHEELS}/{wheel.name}", wheel.read_bytes())
    put(
        lab,
        "/etc/pip.conf",
        f"[global]\nno-index = true\nfind-links = {WHEELS}\n[install]\nno-compile = true\n",
    )
    terraform = shutil.which("terraform")
    assert terraform
    put(lab, "/usr/local/bin/terraform", Path(terraform).read_bytes())
    lab.on(HOST, "chmod 755 /usr/local/bin/terraform")
    (scratch / "render").mkdir()
    content = yaml.safe_load(user_data(scratch / "render", toolkit=f"{WHEELS}/{wheel.name}"))
    for file in content["write_files"]:
        put(lab, file["path"], file["content"])
        lab.on(HOST, f"chmod {file['permissions']} {file['path']}")
    for argv in content["runcmd"]:
        # As from cloud-init, with next to nothing in the environment.
        command = f"env --ignore-environment PATH=$PATH {shlex.join(argv)}"
        lab.on(HOST, f"{command} >/var/log/first-boot 2>&1 || {{ tail -40 /var/log/first-boot >&2; false; }}")


def test_the_first_boot_leaves_the_toolkit_and_the_engines_service(lab: Lab) -> None:
    assert "failed=0" in lab.on(HOST, "cat /var/log/first-boot")
    assert (
        lab.on(HOST, f"systemctl is-enabled {UNIT}; systemctl is-active {UNIT}", rc=None)
        == "enabled\ninactive"
    )
    for name in ("playbooks/node.yml", "roles/slurm_host/library/slurm_host.py", "slurmscripts/reader.py"):
        assert lab.on(HOST, f"cat {SHARE}/{name}").encode() == (CHECKOUT / name).read_bytes().strip()
    # A person's command is the engine's user's, and it finds what the wheel carries.
    out = lab.on(HOST, "slurm-powersave check 2>&1", rc=2)
    assert "there is no such cluster file" in out
    found = "from slurm_powersave.adapters.ansible.project import home; print(home())"
    assert lab.on(HOST, f"cd / && /opt/slurm-powersave/bin/python -c '{found}'") == SHARE
    said = lab.on(HOST, f"systemd-analyze verify {UNIT}.service 2>&1", rc=None)
    assert UNIT not in said, said


@pytest.mark.slow
def test_from_outside_it_gets_cluster_file_and_credential_and_the_engine_runs(lab: Lab) -> None:
    file, clouds = lab.root / "cluster.yml", lab.root / "clouds.yaml"
    file.write_text(CLUSTER)
    clouds.write_text(f"clouds: {{openstack: {{auth: {{application_credential_secret: {SECRET}}}}}}}\n")
    # What `deploy` leaves, as far as the engine looks at it before it serves.
    keys = "/var/lib/slurm-powersave/far/keys"
    as_user = "runuser -u slurm-powersave --"
    lab.on(
        HOST,
        f"{as_user} mkdir -p -m 700 {keys} && {as_user} ssh-keygen -q -t ed25519 -N '' -f {keys}/id_ed25519",
    )
    output = play(lab, file, clouds)
    assert SECRET not in output
    assert "no mistakes" in lab.on(HOST, "slurm-powersave check 2>&1")
    assert lab.on(HOST, "stat --format='%U %a' /etc/slurm-powersave/clouds.yaml") == "slurm-powersave 400"
    lab.wait(
        "the engine runs", lambda: "engine of cluster far runs; terraform" in lab.on(HOST, journal(), rc=None)
    )
    shown = lab.on(HOST, f"systemctl show --property=ActiveState,User,NRestarts {UNIT}").split()
    assert sorted(shown) == ["ActiveState=active", "NRestarts=0", "User=slurm-powersave"]
    environ = lab.on(HOST, f"tr '\\0' '\\n' </proc/{lab.pid(HOST, UNIT)}/environ")
    assert "OS_CLIENT_CONFIG_FILE=/etc/slurm-powersave/clouds.yaml" in environ
    before = lab.pid(HOST, UNIT)
    output = play(lab, file, clouds)
    assert changed(output) == 0, output
    assert lab.pid(HOST, UNIT) == before
    assert SECRET not in lab.on(
        HOST, "journalctl --no-pager; cat /etc/slurm-powersave/control_host.json /usr/local/sbin/*"
    )


def journal() -> str:
    """The command that shows the engine's log."""
    return f"journalctl --unit={UNIT} --output=cat --no-pager"


def play(lab: Lab, cluster: Path, clouds: Path) -> str:
    """Run playbooks/control_host.yml as a person would, from this checkout."""
    (wheel,) = (lab.root / "wheel").glob("*.whl")
    argv = ["ansible-playbook", "-vv", "--inventory", f"{lab.login[1]},", "--user", "root"]
    argv += [
        "--extra-vars",
        f"control_host_cluster_file={cluster}",
        "--extra-vars",
        f"control_host_clouds={clouds}",
    ]
    argv += ["--extra-vars", f"control_host_toolkit={wheel}", str(CHECKOUT / "playbooks/control_host.yml")]
    done = subprocess.run(
        argv, env=environment(lab.site), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout + done.stderr
