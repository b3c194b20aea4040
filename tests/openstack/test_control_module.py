"""terraform_ctl on a real control plane: a control host comes and goes; what its credential can do."""

import shutil
from pathlib import Path

import pytest
import yaml
from openstack import exceptions

from tests.openstack.harness import CHECKOUT, Lab, Project, Ssh, Terraform, connection

MODULE = CHECKOUT / "terraform_ctl"


def test_a_control_host_comes_and_goes(lab: Lab, project: Project, ssh: Ssh) -> None:
    assert project.left() == {}
    variables = {
        "image": "lab-base",
        "flavor": "lab.tiny",
        "public_key": ssh.public,
        "ssh_from": [f"{lab.network}.0.1/32"],
        "external_network": "public",
        "cidr": lab.subnet,
        "toolkit": "git+https://git.example.org/slurm-powersave@v1",
        "terraform_sha256": "0" * 64,
        "auth_url": project.config["auth"]["auth_url"],
        "region": project.config.get("region_name", ""),
    }
    module = Terraform(project, MODULE, "control", variables)
    module.environment["OS_CLOUD"] = "test"  # as the page says: the provider takes no entry by itself
    shutil.copyfile(MODULE / "bootstrap.sh", Path(module.directory, "bootstrap.sh"))
    module.apply()
    assert module.changes() == {}

    network = project.cloud.network
    (ip,) = network.ips(project_id=project.project.id)
    settings = module.output("cluster_settings")
    assert (module.output("address"), f"{ip.fixed_ip_address}/32") == (
        ip.floating_ip_address,
        settings["ssh_from"][0],
    )
    (made,) = network.networks(project_id=project.project.id)
    assert (settings["network_id"], settings["subnet_id"]) == (made.id, made.subnet_ids[0])
    group = network.find_security_group("slurm-powersave-control")
    rules = [
        (rule.protocol, rule.port_range_min, rule.port_range_max, rule.remote_ip_prefix, rule.remote_group_id)
        for rule in network.security_group_rules(security_group_id=group.id, direction="ingress")
    ]
    assert rules == [("tcp", 22, 22, f"{lab.network}.0.1/32", None)]

    # The credential is the engine's way in, makes no other, and is not where everybody on the server reads.
    config = yaml.safe_load(module.output("clouds_yaml"))["clouds"]["openstack"]
    secret = config["auth"]["application_credential_secret"]
    engine = connection(config)
    assert [server.name for server in engine.compute.servers()] == ["slurm-powersave-control"]
    user = engine.session.get_user_id()
    with pytest.raises(exceptions.ForbiddenException):
        engine.identity.create_application_credential(user=user, name="another")
    (server,) = project.admin.compute.servers(all_projects=True, project_id=project.project.id)
    admin = project.admin.compute.get(f"/servers/{server.id}", microversion="2.3").json()["server"]
    assert admin["OS-EXT-SRV-ATTR:user_data"]
    assert secret not in str(admin)
    assert secret in (module.directory / "terraform.tfstate").read_text(), "as the documentation says"

    refused = module.run("destroy", "-auto-approve", "-input=false", rc=1)
    assert "Instance cannot be destroyed" in refused
    main = module.directory / "main.tf"
    lines = main.read_text().splitlines(keepends=True)
    main.write_text("".join(line for line in lines if "prevent_destroy" not in line))
    module.run("destroy", "-auto-approve", "-input=false")
    assert project.left() == {}
    assert list(project.cloud.identity.application_credentials(user)) == []
