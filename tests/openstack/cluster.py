"""A real cluster on the lab: our command and engine, real Slurm in guests, a proxy before the APIs."""

import copy
from typing import Any

import yaml

from tests.e2e.guests import CHECKOUT
from tests.e2e.harness import Live
from tests.openstack.harness import Project, clean_environment, mirror
from tests.openstack.proxy import Proxy

CLUSTER_FILE = """
cluster_name: {name}
slurm_version: "{slurm}"
state_dir: ./state
clouds:
  lab:
    adapter: openstack
    base_module: {checkout}/terraform_ohpc/base
    nodes_module: {nodes_module}
    builder_address: {network}.0.20
    settings:
      cloud: test
      cidr: {network}.0.0/16
      external_network: public
      floating_ip: true
      ssh_from: [{network}.0.1/32]
      server_group: soft-anti-affinity
      timeouts: {{create: 3m, update: 3m, delete: 3m}}
      api_timeout: 5
terraform: {{cli_config: {mirror}}}
login: {{name: {name}-login, address: {network}.0.10, image: {login_image}, flavor: lab.small}}
node_pools:
  - name: compute
    nodes: {name}-[1-8]
    min_nodes: {min_nodes}
    image: {image}
    flavors: [lab.tiny]
    cpus: 1
    real_memory: 400
    addresses: {network}.1.1-{network}.1.8
partitions:
  - {{name: main, pools: [compute], options: {{Default: "YES", MaxTime: INFINITE}}}}
power_save:
  suspend_time: {suspend_time}
  suspend_timeout: 60
  resume_timeout: {resume_timeout}
  interval: 1
  min_interval: 0
failure:
  rest: {{capacity: 20, quota: 20, unknown: 20, node-local: 20, config: 20, auth: 20}}
  boot_timeout: {boot_timeout}
  restart_after: {restart_after}
fast_start: true
slurm_conf_extra:
  AuthInfo: cred_expire=10
  SchedulerParameters: batch_sched_delay=0,sched_interval=1
  ProctrackType: proctrack/linuxproc
  TaskPlugin: task/affinity
  JobAcctGatherType: jobacct_gather/none
  PrologFlags: null
  MpiDefault: none
"""


DEFAULTS = {
    "nodes_module": CHECKOUT / "terraform_ohpc/nodes",
    "suspend_time": 15,
    "resume_timeout": 120,
    "min_nodes": 0,
    "image": "lab-base",
    "login_image": "lab-base",
    "boot_timeout": 60,
    "restart_after": 300,
}


class Stack(Live):
    """The cluster in a project of the lab."""

    def __init__(self, project: Project, name: str = "os") -> None:
        super().__init__(project.directory / name, name, project.lab.network, project.lab.network)
        self.project = project
        self.values: dict[str, Any] = {}
        self.ports_at_rest = 0

    def lay_out(self, proxy: Proxy | None = None, **changes: Any) -> None:
        """Write cluster file and clouds.yaml; with a proxy the way to the cloud is through it."""
        self.root.mkdir(parents=True)
        config = copy.deepcopy(self.project.config)
        if proxy:
            real = config["auth"]["auth_url"]
            config["auth"]["auth_url"] = real.replace(proxy.upstreams["identity"], proxy.url("identity"))
        clouds = self.root / "clouds.yaml"
        clouds.write_text(yaml.safe_dump({"clouds": {"test": config}}))
        clouds.chmod(0o600)
        self.environment = clean_environment() | {"OS_CLIENT_CONFIG_FILE": str(clouds)}
        self.write(**changes)

    def write(self, **changes: Any) -> None:
        """Write the cluster file with what was changed so far."""
        self.values = DEFAULTS | self.values | changes
        self.file.write_text(
            CLUSTER_FILE.format(
                name=self.name,
                network=self.network,
                checkout=CHECKOUT,
                slurm=self.slurm,
                mirror=mirror(self.project.lab.directory / "mirror"),
                **self.values,
            )
        )

    def make(self, **changes: Any) -> None:
        """Deploy, and start the engine."""
        self.command("deploy", "--yes", timeout=300)
        self.ports_at_rest = self.ports()
        self.start_engine()

    def remove(self) -> None:
        """Stop the engine; the project takes its cloud's things away."""
        self.stop_engine()
        self.forget()

    def servers(self) -> dict[str, str]:
        """Return the compute nodes' servers: name -> id."""
        listed = self.project.cloud.compute.servers()
        return {server.name: server.id for server in listed if server.name != f"{self.name}-login"}

    def cloud(self, *words: str) -> Any:
        """The lab has no command of its own; its faults end with the block that asked for them."""
        assert words == ("fault", "clear"), words

    def quiet(self) -> None:
        """Wait until nothing is under way, and the cloud has what the journal says."""
        self.wait("nothing is under way", lambda: not self.open_operations(), 90)
        journal = self.journal()
        try:
            known = {name: r.server_id for name, r in journal.node_records().items() if r.server_id}
        finally:
            journal.close()
        assert self.servers() == known
        assert self.ports() == self.ports_at_rest + len(known)

    def ports(self) -> int:
        """Count the project's ports: those of the nodes come and go with their servers."""
        return len(list(self.project.cloud.network.ports(project_id=self.project.project.id)))
