"""Fills the lab cloud: `catalog`, `ready COMMAND`, `seed`. Called by up."""

import os
import shlex
import subprocess
import sys
import time

import openstack
import yaml

E = os.environ
STATE = E["OSLAB_STATE"]
CLOUDS = os.path.join(STATE, "clouds.yaml")
LOOP = "http://127.0.0.1:"


def connect(cloud="lab-admin"):
    with open(CLOUDS) as f:
        config = yaml.safe_load(f)["clouds"][cloud]
    auth = dict(config["auth"])
    return openstack.connect(region_name="RegionOne", load_yaml_config=False, load_envvars=False, auth=auth)


def write_clouds(extra=None):
    def cloud(user, password, project):
        return {
            "region_name": "RegionOne",
            "identity_api_version": 3,
            "auth": {
                "auth_url": E["KS"],
                "username": user,
                "password": password,
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
        }

    text = yaml.safe_dump(
        {
            "clouds": dict(
                {
                    "lab": cloud("lab", E["USER_PASSWORD"], "lab"),
                    "lab-admin": cloud("admin", E["ADMIN_PASSWORD"], "admin"),
                },
                **(extra or {}),
            )
        }
    )
    fd = os.open(CLOUDS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(text)


def catalog():
    write_clouds()
    c = connect()
    ident = c.identity
    default = "default"
    service_project = ident.find_project("service") or ident.create_project(name="service", domain_id=default)
    roles = {r.name: r for r in ident.roles()}
    for name in ("admin", "service", "member", "reader"):
        if name not in roles:
            roles[name] = ident.create_role(name=name)
    services = {s.type: s for s in ident.services()}
    endpoints = {(e.service_id, e.interface) for e in ident.endpoints()}
    for user, kind, port, path in (
        ("nova", "compute", E["OSLAB_NOVA_PORT"], "/v2.1"),
        ("placement", "placement", E["OSLAB_PLACEMENT_PORT"], ""),
        ("neutron", "network", E["OSLAB_NEUTRON_PORT"], ""),
        ("glance", "image", E["OSLAB_GLANCE_PORT"], ""),
    ):
        u = ident.find_user(user, domain_id=default) or ident.create_user(
            name=user,
            password=E["SERVICE_PASSWORD"],
            domain_id=default,
            default_project_id=service_project.id,
        )
        for role in ("admin", "service"):
            ident.assign_project_role_to_user(service_project, u, roles[role])
        s = services.get(kind) or ident.create_service(name=user, type=kind, description=user)
        for interface in ("public", "internal", "admin"):
            if (s.id, interface) not in endpoints:
                ident.create_endpoint(
                    service_id=s.id, interface=interface, region_id="RegionOne", url=LOOP + port + path
                )


def ready():
    c = connect()
    wanted = set(E["OSLAB_COMPUTES"].split())
    fresh = set(E["OSLAB_STARTED"].split())
    since = E["OSLAB_SINCE"]
    deadline = time.time() + 120
    while True:
        # A report older than the start of nova-compute proves nothing.
        up = {
            s.host
            for s in c.compute.services()
            if s.binary == "nova-compute"
            and s.state == "up"
            and (s.host not in fresh or (s.updated_at or "") > since)
        }
        known = {h.name for h in c.compute.hypervisors()}
        if wanted <= up and wanted <= known:
            return
        if time.time() > deadline:
            sys.exit(f"compute hosts missing: {sorted(wanted - (up & known))}")
        if wanted <= up and not wanted <= known:
            subprocess.run(shlex.split(sys.argv[2]), check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)


def seed():
    c = connect()
    ident = c.identity
    project = ident.find_project("lab") or ident.create_project(name="lab", domain_id="default")
    user = ident.find_user("lab", domain_id="default") or ident.create_user(
        name="lab", password=E["USER_PASSWORD"], domain_id="default", default_project_id=project.id
    )
    ident.assign_project_role_to_user(project, user, ident.find_role("member"))
    c.compute.update_quota_set(
        project,
        instances=500,
        cores=4000,
        ram=16000000,
        server_groups=50,
        server_group_members=500,
        key_pairs=100,
    )
    c.network.update_quota(
        project.id,
        security_groups=200,
        ports=2000,
        security_group_rules=2000,
        floating_ips=200,
        networks=200,
        subnets=200,
        routers=50,
    )
    have = {f.name for f in c.compute.flavors()}
    for name, vcpus, ram, disk in (
        ("lab.tiny", 1, 512, 1),
        ("lab.small", 2, 4096, 10),
        ("lab.medium", 4, 8192, 20),
        ("lab.large", 16, 65536, 40),
    ):
        if name not in have:
            c.compute.create_flavor(name=name, vcpus=vcpus, ram=ram, disk=disk)
    for name in ("lab-base", "lab-base-2"):
        if not c.image.find_image(name):
            c.image.create_image(
                name=name,
                disk_format="raw",
                container_format="bare",
                visibility="public",
                data=b"not really an image: %s\n" % name.encode(),
                validate_checksum=False,
            )
    ext = c.network.find_network("public") or c.network.create_network(
        name="public",
        is_router_external=True,
        provider_network_type="flat",
        provider_physical_network="public",
    )
    if not c.network.find_subnet("public"):
        c.network.create_subnet(
            name="public", network_id=ext.id, ip_version=4, cidr="203.0.113.0/24", is_dhcp_enabled=False
        )
    u = connect("lab")
    net = u.network.find_network("lab") or u.network.create_network(name="lab")
    sub = u.network.find_subnet("lab") or u.network.create_subnet(
        name="lab",
        network_id=net.id,
        ip_version=4,
        cidr=E["OSLAB_SUBNET"],
        is_dhcp_enabled=True,
        dns_nameservers=[],
    )
    if not u.network.find_router("lab"):
        r = u.network.create_router(name="lab", external_gateway_info={"network_id": ext.id})
        u.network.add_interface_to_router(r, subnet_id=sub.id)
    uid = u.current_user_id
    old = u.identity.find_application_credential(uid, "lab")
    if old:
        u.identity.delete_application_credential(uid, old)
    a = u.identity.create_application_credential(user=uid, name="lab", roles=[{"name": "member"}])
    write_clouds(
        {
            "lab-app": {
                "region_name": "RegionOne",
                "identity_api_version": 3,
                "auth_type": "v3applicationcredential",
                "auth": {
                    "auth_url": E["KS"],
                    "application_credential_id": a.id,
                    "application_credential_secret": a.secret,
                },
            }
        }
    )


if __name__ == "__main__":
    {"catalog": catalog, "ready": ready, "seed": seed}[sys.argv[1]]()
