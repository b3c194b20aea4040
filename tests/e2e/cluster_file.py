"""The cluster file of the end-to-end tests."""

# Short times, so that a whole life of a node fits into a test; the rest is as a site would have it.
CLUSTER_FILE = """
cluster_name: {name}
slurm_version: "{slurm}"
state_dir: ./state
clouds:
  local:
    adapter: local
    base_module: {checkout}/demo/base
    nodes_module: {checkout}/demo/nodes
    builder_address: {network}.0.20
    settings:
      root: ./cloud
      bridge: {bridge}
      subnet: {network}.0.0/16
      images: {{default: {image}, newer: {image}}}
terraform: {{binary: {terraform}, cli_config: ./mirror/terraform.rc}}
login: {{name: {name}-login, cloud: local, address: {network}.0.{login}, image: default, flavor: login}}
node_pools:
  - name: compute
    nodes: {name}-[1-6]
    min_nodes: 0
    image: {pool_image}
    image_user: root
    flavors: [small]
    features: [container]
    gres: disk:2
    addresses: {network}.1.1-{network}.1.6
partitions:
  - {{name: main, pools: [compute], options: {{Default: "YES", MaxTime: INFINITE}}}}
power_save:
  {{suspend_time: {suspend_time}, suspend_timeout: 15, resume_timeout: 90, interval: 1, min_interval: 0}}
failure:
  {{rest: {{capacity: 12, quota: 12, unknown: 12, node-local: 12, config: 12}}, boot_timeout: 20,
    restart_after: {restart_after}, silent_after: {silent_after}}}
fast_start: {fast_start}
reboot_from_controller: {reboot_from_controller}
# With NodeName, as on a GPU site: only then slurmctld knows what a node has before it first registers.
gres_conf: |
  NodeName={name}-[1-6] Name=disk Count=2
slurm_conf_extra:
  GresTypes: disk
  AuthInfo: cred_expire=10
  SchedulerParameters: batch_sched_delay=0,sched_interval=1
  ProctrackType: proctrack/linuxproc
  TaskPlugin: task/affinity
  JobAcctGatherType: jobacct_gather/none
  PrologFlags: null
  MpiDefault: none
  SlurmdParameters: config_overrides
"""
