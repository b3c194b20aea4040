"""The shared directory: the roles export it with nfs-ganesha, and nodes mount it before slurmd starts.

The kernel of a container host may have no NFS. So the server is the one in user space, and in the place of
mount.nfs4 on a node stands a script that gets the files with libnfs: a client that speaks NFS 4 to the real
server, and is refused by it as the kernel's would be. Units, order and plays are the real ones.
"""

import fcntl
import json
from collections.abc import Iterator

import pytest

from slurm_powersave.adapters.ssh import known_hosts
from slurm_powersave.model.errors import FailureClass
from tests.e2e.conftest import LANE
from tests.e2e.guest_packages import repository
from tests.e2e.play_lab import PLACE, Lab, changed
from tests.place import own_place

pytestmark = pytest.mark.slow
BRIDGE, NETWORK = f"br-sps-nfs{LANE or ''}", f"10.{130 + LANE % 20}"
MOUNT = "/mnt/shared"
SERVER = ["nfs-ganesha", "nfs-ganesha-vfs", "python3-apt"]
CLIENT = ["libnfs-utils"]

# mount.nfs4 WHAT WHERE -o OPTIONS: shows a copy of what the server lets this host read.
HELPER = r"""#!/bin/sh
set -eu
what=$1 where=$2
url=nfs://${what%%:*}${what#*:}
echo "$*" >>/run/mount.nfs4
files=$(timeout 10 nfs-ls "$url?version=4") || { echo "mount.nfs4: mounting $what failed" >&2; exit 32; }
copy=$(mktemp -d /run/copy.XXXXXX)
chmod 755 "$copy"
echo "$files" | while read -r mode links owner group size name; do
    case $mode in -*) nfs-cp "$url/$name?version=4" "$copy/$name" >/dev/null;; esac
done
exec mount --bind "$copy" "$where"
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A login node that exports a directory, deployed, and a server for a node."""
    own_place(PLACE)
    with (PLACE / f"lock-nfs{LANE}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Bookworm's guest, whatever version is chosen: trixie's ganesha (6.5) starts in no container
        # (PR_SET_IO_FLUSHER), and exports no tmpfs.
        made = Lab(PLACE / f"nfs-{LANE}", BRIDGE, NETWORK, "nfs", "22.05")
        made.remove()
        # For ganesha, whose files are handles. systemd-nspawn allows it nobody by itself.
        made.system_calls = ["open_by_handle_at"]
        made.make()
        shared = {"server": "login", "program": "ganesha", "mount": MOUNT}
        made.describe(shared_storage=shared, mounts=[])
        for node in made.nodes.values():
            made.start(node.name, node.address)
            host = (node.name, node.address)
            lines = known_hosts.key_lines(host, made.keys[node.name])
            known_hosts.record(made.site.known_hosts, {host: lines})
        repository(made, "nfs-login", SERVER)
        # Ganesha asks the file system for handles, and an overlay has none.
        made.on("nfs-login", "mkdir /srv/ohpc && mount -t tmpfs -o mode=755 shared /srv/ohpc")
        yield made
        made.remove()


def test_the_login_node_exports_and_has_the_directory_itself(lab: Lab) -> None:
    play = lab.root / "storage.yml"
    packages = {"role": "packages", "packages_kinds": "{{ slurm_powersave.storage.server.packages }}"}
    # What of deploy.yml is about storage, in its order; the rest has tests of its own.
    roles = {"storage": [packages, "nfs_server"], "login": ["slurm_host"]}
    plays = [{"hosts": name, "gather_facts": False, "roles": of} for name, of in roles.items()]
    play.write_text(json.dumps(plays))
    lab.play(str(play))
    assert lab.on("nfs-login", "systemctl is-active nfs-ganesha mnt-shared.mount") == "active\nactive"
    lab.on("nfs-login", f"echo hello >{MOUNT}/greeting; test $(cat /srv/ohpc/greeting) = hello")
    output = lab.play(str(play))
    assert changed(output) == 0, output


def test_a_node_mounts_it_before_its_slurmd(lab: Lab) -> None:
    client(lab, "nfs-1")
    news, result, _ = lab.configure("nfs-1")
    assert result.ok, news
    assert lab.on("nfs-1", f"cat {MOUNT}/greeting") == "hello"
    what, where, _, options = lab.on("nfs-1", "cat /run/mount.nfs4").split()
    assert (what, where) == (f"{NETWORK}.0.10:/srv/ohpc", MOUNT)
    assert set(options.split(",")) == {"rw", "vers=4.2", "hard", "noatime"}
    listed = lab.on("nfs-1", f"nfs-ls 'nfs://{NETWORK}.0.10/srv/ohpc?version=4'").split()
    assert listed[2:4] == ["0", "0"], "owners are numbers, as the kernel's client wants them"
    # systemd's view: slurmd needs the mount and comes after it, so a stop of the mount stops slurmd first.
    shown = lab.on("nfs-1", "systemctl show --property=Requires,After slurmd | grep -c mnt-shared.mount")
    assert shown == "2"
    said = lab.on(
        "nfs-1", "systemd-analyze verify /etc/systemd/system/mnt-shared.mount slurmd.service 2>&1", rc=None
    )
    assert "mnt-shared" not in said and "slurm-powersave" not in said, said
    lab.on("nfs-1", "systemctl stop mnt-shared.mount")
    assert lab.on("nfs-1", "systemctl is-active slurmd", rc=None) == "inactive"
    lab.on("nfs-1", "systemctl start slurmd")
    assert lab.on("nfs-1", f"cat {MOUNT}/greeting") == "hello"
    before = lab.pid("nfs-1", "slurmd")
    news, result, _ = lab.configure("nfs-1")
    assert result.ok, news
    assert lab.pid("nfs-1", "slurmd") == before > 0, "one that is right is left alone"


def test_a_host_that_is_no_node_may_not_mount_it(lab: Lab) -> None:
    strange = f"{NETWORK}.7.7"
    device = lab.on("nfs-1", "ip -o -4 address show scope global | cut -d' ' -f2")
    lab.on("nfs-1", f"ip address add {strange}/16 dev {device}")
    lab.on("nfs-1", f"ip route add {NETWORK}.0.10 dev {device} src {strange}")
    listed = lab.on("nfs-1", f"timeout 10 nfs-ls 'nfs://{NETWORK}.0.10/srv/ohpc?version=4' 2>&1", rc=None)
    assert "greeting" not in listed
    lab.on("nfs-1", f"ip route del {NETWORK}.0.10 && ip address del {strange}/16 dev {device}")
    assert "greeting" in lab.on("nfs-1", f"nfs-ls 'nfs://{NETWORK}.0.10/srv/ohpc?version=4'")


def test_a_node_that_can_not_mount_it_has_no_slurmd_and_says_why(lab: Lab) -> None:
    client(lab, "nfs-2")
    lab.on("nfs-2", f"ip route add unreachable {NETWORK}.0.10")
    news, _, _ = lab.configure("nfs-2")
    failure = news["nfs-2"].failure
    assert failure
    assert failure.failure is FailureClass.NODE_LOCAL
    assert "systemctl start mnt-shared.mount failed" in failure.text
    assert f"mounting {NETWORK}.0.10:/srv/ohpc failed" in failure.text
    assert lab.pid("nfs-2", "slurmd") == 0
    lab.on("nfs-2", f"ip route del unreachable {NETWORK}.0.10")
    assert lab.configure("nfs-2")[1].ok
    assert lab.pid("nfs-2", "slurmd") > 0


def client(lab: Lab, name: str) -> None:
    """Make a guest a client: libnfs, and what stands for mount.nfs4."""
    repository(lab, name, CLIENT)
    lab.on(name, "apt-get -qq install libnfs-utils >/dev/null")
    helper = "/usr/sbin/mount.nfs4"
    lab.on(name, f"cat >{helper} && chmod 755 {helper}", given=HELPER.encode())


def test_the_kernels_own_tool_reads_what_the_role_writes_for_it(lab: Lab) -> None:
    repository(lab, "nfs-2", ["nfs-kernel-server"])
    # Without a kernel that serves NFS its unit can't start: one that does nothing stands for it.
    unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
    unit += "[Install]\nWantedBy=multi-user.target\n"
    lab.on("nfs-2", "cat >/etc/systemd/system/nfs-server.service", given=unit.encode())
    lab.on(
        "nfs-2", "printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d"
    )
    lab.on("nfs-2", "apt-get -qq install nfs-kernel-server >/dev/null 2>&1 && systemctl daemon-reload")
    play = lab.root / "kernel.yml"
    role = {"role": "nfs_server", "nfs_server_program": "kernel"}
    play.write_text(json.dumps([{"hosts": "nfs-2", "gather_facts": False, "roles": [role]}]))
    lab.play(str(play))
    exported = lab.on("nfs-2", "exportfs -s").splitlines()
    assert [line.partition("(")[0].split() for line in exported] == [
        ["/srv/ohpc", f"{NETWORK}.1.1"],
        ["/srv/ohpc", f"{NETWORK}.1.2"],
    ]
    assert all(
        {"rw", "sync", "root_squash"} <= set(line[:-1].partition("(")[2].split(",")) for line in exported
    )
