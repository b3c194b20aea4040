"""Images, flavors, zones, the key pair and names: whether the servers could be made. Pure."""

from collections.abc import Generator, Sequence

from slurm_powersave.decide.flavor.node_memory import too_small
from slurm_powersave.decide.preflight.findings import Ask, Finding, Found, Part, error, few, nearest, warning
from slurm_powersave.model.cloud_facts import ImageFacts
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import Flavor

_GIB = 1024**3


def findings(ask: Ask) -> Found:
    """Look at each part of the cluster file that has servers here."""
    for part in ask.parts:
        flavors = yield from _flavors(ask, part)
        image = yield from _image(ask, part)
        if image:
            yield from _fit(part, image, flavors)
        yield from _zone(ask, part)
    if ask.home:
        yield from _key_pair(ask)
        yield from _groups(ask)
    yield from _names(ask)


def _flavors(ask: Ask, part: Part) -> Generator[Finding, None, Sequence[Flavor]]:
    """Return the part's flavors."""
    if ask.facts.flavors is None:
        return ()
    choice = ask.choice(part)
    key = f"{part.key}.{'flavors' if part.pool else 'flavor'}"
    for why in choice.wrong:
        yield error(key, f"the cloud has {why}", "Name flavors of the cloud, or ask for less.")
    for why in too_small(part.pool, choice) if part.pool else ():
        where, _, wrong = why.partition(": ")
        right = "Promise what the smallest flavor has, or leave it out and it is worked out."
        yield error(f"{part.key}.{where}", wrong, right)
    return choice.flavors


def _image(ask: Ask, part: Part) -> Generator[Finding, None, ImageFacts | None]:
    """Return the part's image; None if there is not exactly one that can be used."""
    images = ask.facts.images
    if images is None or (ask.facts.image_paths and part.image.startswith("/")):
        return None
    key = f"{part.key}.image"
    found = [image for image in images if image.id == part.image]
    found = found or [image for image in images if image.name == part.image]
    usable = [image for image in found if image.status == "active"]
    if not found:
        names = {image.name for image in images if image.status == "active"}
        yield error(key, f"the cloud has no image {part.image}", nearest(part.image, names))
    elif not usable:
        yield error(
            key, f"the image {part.image} is {found[0].status}", "It must be active; upload it again."
        )
    elif len(usable) > 1:
        ids = few([image.id for image in usable])
        yield error(key, f"{len(usable)} images are called {part.image}", f"Give the id of one: {ids}.")
    else:
        return usable[0]
    return None


def _fit(part: Part, image: ImageFacts, flavors: Sequence[Flavor]) -> Found:
    disk = max(image.min_disk, -(-(image.size or 0) // _GIB))
    small = [one.name for one in flavors if 0 < one.disk < disk]
    if small:
        yield error(
            f"{part.key}.image",
            f"{part.image} needs a disk of {disk} GiB; less has {few(small)}",
            f"Flavors with a larger disk (a requirement with disk: {disk}), or a smaller image.",
        )
    if poor := [one.name for one in flavors if one.ram < image.min_ram]:
        yield error(
            f"{part.key}.image",
            f"{part.image} needs {image.min_ram} MiB of RAM; less has {few(poor)}",
            f"Flavors with more (a requirement with ram: {image.min_ram}), or another image.",
        )
    if image.min_disk and (none := [one.name for one in flavors if one.disk == 0]):
        yield warning(
            f"{part.key}.image",
            f"{few(none)}: no disk of its own, and {part.image} needs {image.min_disk} GiB",
            "Most clouds start such a flavor from a volume only; choose one with a disk.",
        )


def _zone(ask: Ask, part: Part) -> Found:
    zones = ask.facts.zones
    # ZONE:HOST is Nova's way to name a host as well.
    zone = part.zone.partition(":")[0]
    if zone and zones is not None and zone not in zones:
        yield error(
            part.zone_key,
            f"the cloud has no availability zone {zone}",
            nearest(zone, zones),
        )


def _key_pair(ask: Ask) -> Found:
    held, ours = ask.facts.key_pair, ask.here.public_key
    if not held:
        return
    place = ask.cluster.layout.private_key
    delete = f"openstack keypair delete {ask.ours}"
    where = f"{ask.key}: key pair {ask.ours}"
    if not ours:
        yield error(
            where,
            "it is there already, and this host has no key of the cluster: its servers would not let us in",
            f"Put its private half to {place} (and .pub beside it) if you have it; or, if no running cluster "
            f"needs it: {delete}; or choose another cluster_name.",
        )
    elif held.split()[:2] != ours.split()[:2]:
        yield error(
            where,
            f"its public half is not that of {place}: new servers would not let us in",
            f"If it is left from an earlier cluster: {delete}. If another host runs a cluster of this name: "
            "choose another cluster_name.",
        )
    elif not ask.here.deployed:
        yield error(
            where,
            "it is there already, with our key, and Terraform does not know it",
            f"{delete}; deploy makes it anew.",
        )


def _groups(ask: Ask) -> Found:
    for group in ask.facts.security_groups or ():
        if group.name != ask.ours:
            continue
        where = f"{ask.key}: security group {ask.ours}"
        if not ask.is_ours(group.tags):
            yield error(
                where,
                f"there is one of that name that is not ours ({group.id})",
                "Rename it, or choose another cluster_name.",
            )
        elif not ask.here.deployed:
            yield warning(
                where,
                f"left from an earlier deploy ({group.id}); deploy names it, asks, and removes it first",
                f"Or by hand: openstack security group delete {group.id}",
            )


def _names(ask: Ask) -> Found:
    servers = ask.facts.servers
    if servers is None:
        return
    names = {name for part in ask.parts for name in part.addresses}
    ours = [server for server in servers if ask.is_ours(server.tags)]
    unknown = not ask.here.deployed if ask.home else not ask.here.public_key
    if ours and unknown:
        yield error(
            f"{ask.key}: servers",
            f"{len(ours)} servers carry the tags of a cluster {ask.cluster.cluster_name} that was deployed "
            f"from elsewhere, {ask.cluster.state_dir} knows nothing of them: "
            f"{few(sorted(server.name for server in ours))}",
            "Use the state_dir with which they were deployed, or restore its backup; or run teardown there, "
            "or choose another cluster_name.",
        )
    others = sorted({server.name for server in servers if server.name in names and server not in ours})
    if others:
        yield warning(
            f"{ask.key}: servers",
            f"there are servers called {fold(others)} that are not ours",
            "They are left alone. Where Nova or Neutron's DNS wants unique names, ours can't be made.",
        )
