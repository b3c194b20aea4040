"""A cloud on one machine: servers are systemd-nspawn containers on a private bridge.

Standard library only. `cloud.Cloud` is what the Terraform provider calls, `cli` is the same for
people, tests and the engine's adapter. Everything that it knows is in files below its root
directory; there is no daemon. Each server has a supervisor process of its own, which holds the
server's mounts, time namespace and cgroups, and outlives whoever made it.
"""
