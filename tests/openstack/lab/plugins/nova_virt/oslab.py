"""nova.virt.oslab: Nova's fake driver, made fit for an end-to-end test cloud.

Over nova.virt.fake.FakeDriver:
- a hypervisor's size, and how long a boot takes, come from the configuration;
- the node's identity is stable, and servers outlive a restart of nova-compute;
- a snapshot puts (a little) data in Glance, so that the image becomes active
  and can be booted from;
- faults can be asked for: [oslab]faults_file holds a JSON list of rules
  {"op": "spawn|destroy|snapshot|reboot", "name": REGEX, "host": REGEX,
   "delay": SECONDS, "error": "abort|reschedule|any", "times": N};
- [oslab]hook names a program called as `HOOK EVENT` with a JSON description
  of the server on its standard input: it can stand in for the guest.
"""

import fcntl
import io
import json
import re
import subprocess
import time

import nova.conf
from nova import exception
from nova.compute import power_state, task_states, vm_states
from nova.image import glance
from nova.virt import fake
from oslo_config import cfg
from oslo_log import log as logging

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

CONF.register_opts(
    [
        cfg.IntOpt("vcpus", default=400),
        cfg.IntOpt("memory_mb", default=1600000),
        cfg.IntOpt("local_gb", default=20000),
        cfg.FloatOpt("spawn_delay", default=0.0),
        cfg.StrOpt("faults_file", default=""),
        cfg.StrOpt("hook", default=""),
        cfg.IntOpt("hook_timeout", default=60),
    ],
    group="oslab",
)

SETTLED = {
    vm_states.ACTIVE: power_state.RUNNING,
    vm_states.PAUSED: power_state.PAUSED,
    vm_states.SUSPENDED: power_state.SUSPENDED,
    vm_states.STOPPED: power_state.SHUTDOWN,
    vm_states.RESCUED: power_state.RUNNING,
    vm_states.RESIZED: power_state.RUNNING,
}


# Nova before 2023.1 has no identity of nodes, and no class without it.
Base = getattr(fake, "FakeDriverWithoutFakeNodes", fake.FakeDriver)


class Driver(Base):
    def __init__(self, virtapi, read_only=False):
        self.vcpus = CONF.oslab.vcpus
        self.memory_mb = CONF.oslab.memory_mb
        self.local_gb = CONF.oslab.local_gb
        super().__init__(virtapi, read_only)

    # -- faults and hook ---------------------------------------------------

    def _may_fire(self, rule):
        """Count the firings of a rule over all hosts, in a file."""
        if "times" not in rule:
            return True
        with open(CONF.oslab.faults_file + ".fired", "a+") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            f.seek(0)
            counts = json.loads(f.read() or "{}")
            key = json.dumps(rule, sort_keys=True)
            counts[key] = counts.get(key, 0) + 1
            f.seek(0)
            f.truncate()
            f.write(json.dumps(counts))
        return counts[key] <= rule["times"]

    def _fault(self, op, instance):
        try:
            with open(CONF.oslab.faults_file) as f:
                text = f.read()
            rules = json.loads(text or "[]")
        except (OSError, ValueError):
            return
        for rule in rules:
            if rule.get("op", "spawn") != op:
                continue
            if not re.search(rule.get("name", ""), instance.display_name or ""):
                continue
            if not re.search(rule.get("host", ""), self._host or ""):
                continue
            if not self._may_fire(rule):
                continue
            LOG.info("fault rule %s", rule, instance=instance)
            time.sleep(rule.get("delay", 0))
            error = rule.get("error")
            if error == "abort":
                raise exception.BuildAbortException(instance_uuid=instance.uuid, reason="asked for by a rule")
            if error == "reschedule":
                raise exception.ComputeResourcesUnavailable(reason="asked for by a rule")
            if error:
                raise exception.NovaException("asked for by a rule")

    def _hook(self, event, instance, network_info=None, **more):
        if not CONF.oslab.hook:
            return b""
        nets = []
        for vif in network_info or []:
            nets.append(
                {
                    "port_id": vif["id"],
                    "mac": vif["address"],
                    "network": vif["network"]["label"],
                    "ips": [ip["address"] for ip in vif.fixed_ips()],
                }
            )
        described = {
            "event": event,
            "uuid": instance.uuid,
            "name": instance.display_name,
            "hostname": instance.hostname,
            "host": self._host,
            "image_ref": instance.image_ref,
            "flavor": instance.flavor.name,
            "vcpus": instance.flavor.vcpus,
            "memory_mb": instance.flavor.memory_mb,
            "project_id": instance.project_id,
            "metadata": dict(instance.metadata or {}),
            "key_data": instance.key_data,
            "user_data": instance.user_data,
            "networks": nets,
            **more,
        }
        done = subprocess.run(
            [CONF.oslab.hook, event],
            input=json.dumps(described).encode(),
            timeout=CONF.oslab.hook_timeout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise exception.NovaException(
                f"hook {event} failed: {done.stdout[-500:].decode(errors='replace')}"
            )
        return done.stdout

    def get_console_output(self, context, instance):
        if not CONF.oslab.hook:
            return super().get_console_output(context, instance)
        return self._hook("console", instance)

    # -- servers that outlive nova-compute ----------------------------------

    def _adopt(self, instance):
        if instance.uuid in self.instances:
            return
        state = SETTLED.get(instance.vm_state)
        if state is None or instance.host != self._host:
            return
        self.instances[instance.uuid] = fake.FakeInstance(instance.name, state, instance.uuid)

    def get_info(self, instance, use_cache=True):
        self._adopt(instance)
        return super().get_info(instance, use_cache)

    def power_off(self, instance, timeout=0, retry_interval=0):
        self._adopt(instance)
        super().power_off(instance, timeout, retry_interval)
        self._hook("power_off", instance)

    def soft_delete(self, instance):
        # As Nova does with a driver that knows none: libvirt's is one.
        self.power_off(instance)

    def power_on(self, context, instance, network_info, *args, **kwargs):
        self._adopt(instance)
        super().power_on(context, instance, network_info, *args, **kwargs)
        self._hook("power_on", instance, network_info)

    # A resize stops the guest on one host and starts it, the same one, on
    # another (or the same): the hook sees power_off and power_on.
    def migrate_disk_and_power_off(self, context, instance, *args, **kwargs):
        self._adopt(instance)
        self._fault("resize", instance)
        self._hook("power_off", instance)

    def finish_migration(
        self,
        context,
        migration,
        instance,
        disk_info,
        network_info,
        image_meta,
        resize_instance,
        allocations,
        block_device_info=None,
        power_on=True,
    ):
        super().spawn(
            context, instance, image_meta, None, None, allocations, network_info, block_device_info, power_on
        )
        self._hook("power_on", instance, network_info)

    def confirm_migration(self, context, migration, instance, network_info):
        if migration.source_compute != migration.dest_compute and instance.uuid in self.instances:
            super().destroy(context, instance, network_info)

    def reboot(self, context, instance, network_info, *args, **kwargs):
        self._adopt(instance)
        self._fault("reboot", instance)
        self._hook("reboot", instance, network_info)
        self.instances[instance.uuid].state = power_state.RUNNING

    # -- spawn, destroy, snapshot -------------------------------------------

    def spawn(
        self,
        context,
        instance,
        image_meta,
        injected_files,
        admin_password,
        allocations,
        network_info=None,
        block_device_info=None,
        power_on=True,
        accel_info=None,
    ):
        if CONF.oslab.spawn_delay:
            time.sleep(CONF.oslab.spawn_delay)
        self._fault("spawn", instance)
        super().spawn(
            context,
            instance,
            image_meta,
            injected_files,
            admin_password,
            allocations,
            network_info,
            block_device_info,
            power_on,
            accel_info,
        )
        self._hook("spawn", instance, network_info)

    def destroy(
        self,
        context,
        instance,
        network_info,
        block_device_info=None,
        destroy_disks=True,
        destroy_secrets=True,
    ):
        self._fault("destroy", instance)
        self._hook("destroy", instance, network_info)
        if instance.uuid in self.instances:
            super().destroy(
                context, instance, network_info, block_device_info, destroy_disks, destroy_secrets
            )

    def snapshot(self, context, instance, image_id, update_task_state):
        self._adopt(instance)
        if instance.uuid not in self.instances:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        self._fault("snapshot", instance)
        update_task_state(
            task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD
        )
        self._hook("snapshot", instance, snapshot=image_id)
        api = glance.API()
        image = api.get(context, image_id)
        api.update(
            context,
            image_id,
            {
                "name": image["name"],
                "disk_format": "raw",
                "container_format": "bare",
                "status": "active",
                "properties": {
                    "image_location": "snapshot",
                    "image_state": "available",
                    "owner_id": instance.project_id,
                },
            },
            data=io.BytesIO(b"snapshot of %s\n" % instance.uuid.encode()),
            purge_props=False,
        )
