#!/usr/bin/env python3
"""The local cloud's command: every verb prints JSON.

    python3 demo/local_cloud/cli.py --root ROOT VERB

Exit codes: 0 done; 1 refused or failed, with {"error": {"kind", "text", "server"}} on standard
output and the text on standard error; 2 wrong usage.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from local_cloud import faults, image_verbs, network
from local_cloud.clean import clean
from local_cloud.cloud import Cloud
from local_cloud.errors import CloudFault
from local_cloud.guest import Guest
from local_cloud.store import FLAVORS, read_json


def parser() -> argparse.ArgumentParser:
    """Describe the verbs."""
    top = argparse.ArgumentParser(prog="local-cloud", description="A cloud of containers on this machine.")
    top.add_argument("--root", type=Path, required=True, help="the cloud's directory")
    verbs = top.add_subparsers(dest="verb", required=True)

    net = verbs.add_parser("network", help="make or remove the bridge")
    net.add_argument("action", choices=("ensure", "delete", "show"))
    net.add_argument("--bridge", default="", help="at most 15 characters")
    net.add_argument("--subnet", default="", help="for example 10.79.0.0/16")
    net.add_argument("--image", action="append", default=[], metavar="ALIAS=PATH")
    net.add_argument(
        "--system-call", action="append", default=[], help="that guests may use besides the usual ones"
    )

    create = verbs.add_parser("create", help="make a server, or adopt the same one")
    for name in ("name", "image", "flavor", "address"):
        create.add_argument(f"--{name}", required=True)
    create.add_argument("--key-pair", default="", help="public key text")
    create.add_argument("--zone", default="")
    create.add_argument("--tag", action="append", default=[])
    create.add_argument("--wait", type=float, default=0, help="seconds to wait for the SSH host key")

    listing = verbs.add_parser("list", help="list servers")
    listing.add_argument("--tag", action="append", default=[], help="servers that carry all these tags")
    for name, text in (
        ("show", "one server"),
        ("delete", "delete a server; gone already is fine"),
        ("stop", "power off"),
        ("console", "print the console (plain text)"),
    ):
        verbs.add_parser(name, help=text).add_argument("id")
    _changes(verbs)
    begin = verbs.add_parser("begin", help="start one of these, and return when it is under way")
    _changes(begin.add_subparsers(dest="change", required=True))

    image_verbs.describe(verbs)
    verbs.add_parser("flavors", help="sizes: vcpus, ram in MiB, disk in GiB")
    fault = verbs.add_parser("fault", help="make something go wrong").add_subparsers(
        dest="action", required=True
    )
    add = fault.add_parser("add")
    add.add_argument("kind", choices=faults.KINDS)
    add.add_argument("--match", default=".*", help="regular expression for whole server names")
    add.add_argument("--times", type=int, default=1, help="0: until cleared")
    add.add_argument("--seconds", type=float, default=0, help="delay of slow-create, slow-boot, vanish")
    add.add_argument("--class", dest="failure", default="capacity", choices=tuple(faults.TEXTS))
    add.add_argument("--text", default="", help="instead of the class's usual words")
    fault.add_parser("list")
    fault.add_parser("clear").add_argument("--match", default="", help="only faults with this match")
    verbs.add_parser("clean", help="remove everything that this cloud has on the machine")
    return top


def _changes(verbs: Any) -> None:
    verbs.add_parser("reboot", help="power off and on: same disk").add_argument("id")
    rebuild = verbs.add_parser("rebuild", help="fresh disk from an image")
    rebuild.add_argument("id")
    rebuild.add_argument("--image", required=True)
    resize = verbs.add_parser("resize", help="another flavor, same disk")
    resize.add_argument("id")
    resize.add_argument("--flavor", required=True)


def begin(args: argparse.Namespace) -> Any:
    """Fork; the child does the work in a session of its own, and we leave when the server's status says so.

    What the child says before that moment, an error, is ours to tell.
    """
    heard, says = os.pipe()
    if os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        answer = b""
        try:
            cloud = Cloud(args.root, accepted=lambda: os.close(says))
            run(cloud, argparse.Namespace(**{**vars(args), "verb": args.change}))
        except CloudFault as error:
            answer = json.dumps([error.kind, error.text, error.server_id]).encode()
        except Exception as error:
            answer = json.dumps(["host", repr(error), args.id]).encode()
        with contextlib.suppress(OSError):  # closed: the server's status tells it
            os.write(says, answer)
        os._exit(0)
    os.close(says)
    with open(heard, "rb") as pipe:
        answer = pipe.read()
    if answer:
        raise CloudFault(*json.loads(answer))
    return Cloud(args.root).show(args.id)


def run(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Do what was asked; the result is printed as JSON."""
    if args.verb in image_verbs.VERBS:
        return image_verbs.run(cloud.store, args)
    match args.verb:
        case "begin":
            return begin(args)
        case "network":
            return _network(cloud, args)
        case "create":
            wanted = {
                key: getattr(args, key) for key in ("name", "image", "flavor", "address", "key_pair", "zone")
            }
            made = cloud.create(**wanted, tags=frozenset(args.tag))
            if args.wait:
                cloud.wait_host_key(made["id"], args.wait)
            return cloud.show(made["id"])
        case "list":
            return cloud.servers(frozenset(args.tag))
        case "show":
            return cloud.show(args.id)
        case "delete":
            cloud.delete(args.id)
            return None
        case "stop":
            return cloud.stop(args.id)
        case "reboot":
            return cloud.reboot(args.id)
        case "rebuild":
            return cloud.rebuild(args.id, args.image)
        case "resize":
            return cloud.resize(args.id, args.flavor)
        case "console":
            sys.stdout.write(Guest(cloud.store, args.id).console())
            return ...
        case "flavors":
            return read_json(cloud.store.root / "flavors.json", FLAVORS)
        case "fault":
            return _fault(cloud, args)
    return clean(args.root)


def _network(cloud: Cloud, args: argparse.Namespace) -> Any:
    if args.action == "delete":
        network.remove(cloud.store)
        return None
    if args.action == "show":
        return network.current(cloud.store)
    images = dict(entry.split("=", 1) for entry in args.image if "=" in entry)
    return network.configure(cloud.store, args.bridge, args.subnet, images, args.system_call)


def _fault(cloud: Cloud, args: argparse.Namespace) -> Any:
    if args.action == "list":
        return faults.listed(cloud.store)
    cloud.store.prepare()
    if args.action == "clear":
        faults.clear(cloud.store, args.match)
        return None
    return faults.add(cloud.store, args.kind, args.match, args.times, args.seconds, args.failure, args.text)


def main() -> int:
    """Run one verb."""
    args = parser().parse_args()
    try:
        if os.geteuid() != 0:
            raise CloudFault("host", "only root can run containers: run this command as root")
        result = run(Cloud(args.root), args)
    except CloudFault as error:
        print(json.dumps({"error": {"kind": error.kind, "text": error.text, "server": error.server_id}}))
        print(error, file=sys.stderr)
        return 1
    if result is not ...:
        print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
