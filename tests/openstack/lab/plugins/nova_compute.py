"""Starts one nova-compute a host name, with this folder's drivers visible.

    nova_compute.py RABBIT_PORT ETC LOGS PIDS HOST...

Everything is imported once and then forked for each host, so that more hosts
cost little time and memory. Waits for nova-conductor first: a nova-compute that
asks too early waits ten seconds before it asks again. Each child is a session of its own, and its pid
and start time are in PIDS/nova-compute.HOST.
"""

# ruff: noqa: E402, I001

import os
import sys
import time

from nova.cmd import compute  # monkey-patches first
import amqp
from eventlet import hubs
import nova.virt

HERE = os.path.dirname(os.path.abspath(__file__))
nova.virt.__path__.append(os.path.join(HERE, "nova_virt"))
import nova.compute.manager
import nova.virt.oslab


def wait_for_conductor(port, seconds=90):
    end = time.time() + seconds
    while time.time() < end:
        try:
            with amqp.Connection("127.0.0.1:" + port, "guest", "guest") as c:
                found = c.channel().queue_declare("conductor", passive=True)
                if found.consumer_count:
                    return
        except (OSError, amqp.exceptions.AMQPError):
            pass
        time.sleep(0.3)
    sys.exit(f"no nova-conductor after {seconds} s")


def start(etc, logs, pids, host):
    pid = os.fork()
    if pid:
        with open(f"/proc/{pid}/stat") as f:
            ticks = f.read().rsplit(")", 1)[1].split()[19]
        with open(os.path.join(pids, "nova-compute." + host), "w") as f:
            f.write(f"{pid} {ticks}\n")
        return
    os.setsid()
    log = os.open(
        os.path.join(logs, f"nova-compute.{host}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
    )
    null = os.open("/dev/null", os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    hubs.use_hub()
    sys.argv = [
        "nova-compute",
        "--config-file",
        etc + "/nova.conf",
        "--config-file",
        f"{etc}/{host}/compute.conf",
    ]
    try:
        compute.main()
    finally:
        os._exit(1)


if __name__ == "__main__":
    wait_for_conductor(sys.argv[1])
    for name in sys.argv[5:]:
        start(*sys.argv[2:5], name)
