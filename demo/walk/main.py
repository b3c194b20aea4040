"""The parts of the demo, in order."""

import json
import re
import shutil
import subprocess
import sys
import time

from walk.tools import (
    CHECKOUT,
    CLOUD,
    CLUSTER,
    DEMO,
    SLURM,
    STATE,
    Follow,
    call,
    cluster_file,
    engine_pid,
    ours,
    preflight,
    say,
    slurm,
    ssh,
    start_engine,
    stop,
    stop_engine,
    title,
    value,
)

PREPARED = "prepared"
PHASES = ("checking", "queued", "planning", "applying", "booting", "configuring", "registering")


def main(words: list[str]) -> int:
    """Run one of demo, shell, clean."""
    actions = {"demo": demo, "shell": shell, "clean": clean}
    if not words or words[0] not in actions:
        print(f"usage: demo/run {'|'.join(actions)}", file=sys.stderr)
        return 2
    try:
        actions[words[0]]()
    except KeyboardInterrupt:
        say("\ninterrupted; `make demo` goes on from here, `make demo-clean` removes everything")
        return 130
    return 0


def demo() -> None:
    """Show the main job from an empty machine to a table of times."""
    preflight()
    prepare()
    deploy()
    grow()
    batch()
    mpi()
    shrink()
    reimage()
    failure()
    numbers()


def prepare() -> None:
    """Build what the local cloud needs: a guest image and the provider's mirror."""
    title("The local cloud: guest image and Terraform provider")
    DEMO.mkdir(exist_ok=True)
    CLUSTER.write_text(cluster_file())
    build = [str(CHECKOUT / "demo/guests/build"), "--slurm", SLURM]
    image = call(build, quiet=True).strip().splitlines()[-1]
    link = DEMO / "image"
    if not link.is_symlink() or str(link.readlink()) != image:
        link.unlink(missing_ok=True)
        link.symlink_to(image)
    call([sys.executable, str(CHECKOUT / "demo/provider/mirror"), str(DEMO / "mirror")], quiet=True)
    call(ours("check"))


def deploy() -> None:
    """Make network and login node, Slurm on it, and the first node."""
    title("Deploy: one file becomes a cluster")
    say(f"$ slurm-powersave --cluster {CLUSTER.relative_to(CHECKOUT)} deploy")
    call(ours("deploy", "--yes"))
    with Follow():
        start_engine()
        wait_for("demo-1 is up", lambda: up("demo-1"), 90)
    call(ours("status"))


def up(node: str) -> bool:
    """Tell whether Slurm counts a node as up."""
    state = slurm(f"scontrol -o show node {node}").partition(" State=")[2].split(" ")[0]
    return not {"POWERED_DOWN", "POWERING_UP", "POWERING_DOWN", "POWER_DOWN", "DOWN"} & set(state.split("+"))


def servers() -> int:
    """Count the compute nodes that have a server."""
    return sum(1 for row in value("status")["nodes"] if row["server"] not in ("-", "?", ""))


def wait_for(what: str, done: object, seconds: float) -> None:
    """Wait until something is so; end the demo if it takes too long."""
    assert callable(done)
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > seconds:
            stop(f"not so after {seconds:.0f} s: {what}", f"Look at {STATE}/engine.log, then: make demo")
        time.sleep(0.5)
    say(f"   {what} (after {time.monotonic() - began:.0f} s)")


def grow() -> None:
    """An interactive job on all four nodes: three of them do not exist yet."""
    title("An interactive job on four nodes")
    say("$ salloc -N4 srun hostname")
    began = time.monotonic()
    with Follow():
        call(ssh("salloc -N4 srun sh -c 'echo $(hostname) has been up for $(cut -d. -f1 /proc/uptime) s'"))
    say(f"   from nothing to the job's end: {time.monotonic() - began:.1f} s")


def batch() -> None:
    """A batch job; with fast start it does not wait for slurmctld's half-minute scan."""
    title("A batch job on a fresh node (fast start)")
    wait_for("the nodes of the first job are gone", lambda: servers() == 1, 90)
    command = "sbatch --parsable -w demo-2 -o /mnt/ohpc/batch-%j.out --wrap 'date +%s.%N; hostname'"
    say(f"$ {command}")
    with Follow():
        began = float(slurm("date +%s.%N"))
        job = slurm(command)
        wait_for(f"job {job} has ended", lambda: job_state(job) == "COMPLETED", 90)
    first = slurm(f"cat /mnt/ohpc/batch-{job}.out").splitlines()
    say(f"   sbatch to the script's first line, on {first[1]}: {float(first[0]) - began:.1f} s")


def job_state(job: str) -> str:
    """Return a job's state."""
    found = re.search(r"JobState=(\S+)", slurm(f"scontrol -o show job {job}"))
    return found[1] if found else ""


def mpi() -> None:
    """Compile an MPI program on the login node and run it over all nodes."""
    title("MPI over four hosts: playbooks/test.yml")
    with Follow():
        call([*ansible(), str(CHECKOUT / "playbooks/test.yml")])


def ansible() -> list[str]:
    """Return the argv of plain ansible-playbook with the inventory that deploy has written."""
    return [
        "env",
        f"ANSIBLE_CONFIG={CHECKOUT}/ansible.cfg",
        str(CHECKOUT / ".venv/bin/ansible-playbook"),
        "-i",
        str(STATE / "inventory"),
    ]


def shrink() -> None:
    """Idle nodes go away; min_nodes stay."""
    title("Idle: the cluster shrinks to one node")
    with Follow():
        wait_for("one node is left", lambda: servers() == 1, 120)
    call(ours("status"))


def reimage() -> None:
    """Make an image that is ready to boot, and give it to the node that is up, by Slurm's own command."""
    title("A new image for a node that is up")
    if not any(image["name"] == PREPARED for image in value("image", "list")):
        say(f"$ slurm-powersave image build --base default --name {PREPARED}")
        call(ours("image", "build", "--base", "default", "--name", PREPARED, "--yes"))
    before = reboots()
    command = f'scontrol reboot ASAP nextstate=RESUME reason="reimage image={PREPARED}" demo-1'
    say(f"$ {command}")
    with Follow():
        slurm(command)
        wait_for("demo-1 is back with its new disk", lambda: reboots() > before, 90)
    say("   in the node, /usr/lib/slurm-powersave/image.json:")
    for key, text in json.loads(slurm("srun -w demo-1 cat /usr/lib/slurm-powersave/image.json")).items():
        say(f"     {key}: {text}")


def reboots() -> int:
    """Count the reboots of demo-1 that have been done."""
    found = value("history", "--node", "demo-1", "--limit", "1000")
    return sum(op["mode"] == "reboot" and op["outcome"] == "done" for op in found)


def failure() -> None:
    """A node that can't be created: Slurm shows why, the job is requeued, the node rests, all is well."""
    title("A node that can't be created")
    cloud = [sys.executable, str(CHECKOUT / "demo/local_cloud/cli.py"), "--root", str(CLOUD)]
    call([*cloud, "fault", "add", "create-fails", "--match", "demo-3", "--times", "1"], quiet=True)
    job = slurm("sbatch --parsable -w demo-3 -o /mnt/ohpc/batch-%j.out --wrap hostname")
    say(f"$ sbatch -w demo-3    (job {job}; the cloud will say: No valid host was found)")
    with Follow():
        wait_for(
            "Slurm shows the reason", lambda: "slurm-powersave:" in slurm("scontrol show node demo-3"), 60
        )
        for line in slurm("scontrol show node demo-3").splitlines():
            if "Reason=" in line or "State=" in line:
                say("   " + line.strip())
        comment = re.search(r"AdminComment=(.*)", slurm(f"scontrol show job {job}"))
        say(f"   job {job}: {job_state(job)}, {comment[0].strip() if comment else 'no comment'}")
        wait_for(f"job {job} has run after the rest", lambda: job_state(job) == "COMPLETED", 120)


def numbers() -> None:
    """Where the seconds went, and how to go on."""
    title("Seconds by phase")
    rows = [
        op for op in value("history", "--limit", "40") if op["mode"] == "resume" and op["outcome"] == "done"
    ]
    say("node      " + "".join(f"{phase:>13}" for phase in PHASES) + "        total")
    for op in reversed(rows[:12]):
        spent = dict.fromkeys(PHASES, 0.0)
        for this, following in zip(op["phases"], op["phases"][1:], strict=False):
            if this["phase"] in spent:
                spent[this["phase"]] += following["at"] - this["at"]
        total = op["phases"][-1]["at"] - op["phases"][0]["at"]
        say(f"{op['node']:<10}" + "".join(f"{spent[phase]:13.2f}" for phase in PHASES) + f"{total:13.2f}")
    title("Done")
    say("The cluster is still up. How to go on:")
    say("  make demo-shell     a shell on the login node: sinfo, sbatch, salloc, scontrol")
    say("  make demo-clean     remove everything: containers, mounts, bridge, files")
    say(f"  .venv/bin/slurm-powersave --cluster {CLUSTER.relative_to(CHECKOUT)} status|history|follow")


def shell() -> None:
    """A shell on the login node."""
    if not (STATE / "known_hosts").exists():
        stop("there is no demo on this machine", "Run: make demo")
    if engine_pid() is None:
        say("(the engine is not running: `make demo` starts it)")
    subprocess.run(ssh(terminal=True), check=False)


def clean() -> None:
    """Remove all that the demo made; the image cache stays for the next time."""
    stop_engine()
    subprocess.run(
        [sys.executable, str(CHECKOUT / "demo/local_cloud/cli.py"), "--root", str(CLOUD), "clean"],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if DEMO.exists():
        shutil.rmtree(DEMO)
    say("The demo is gone: containers, mounts, bridge and files. The guest image stays cached in")
    say("/var/cache/slurm-powersave/images for the next time.")
