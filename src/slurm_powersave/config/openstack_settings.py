"""`clouds.NAME.settings` where the adapter is openstack: what the adapter and terraform_ohpc read there."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slurm_powersave.model.nearest_name import did_you_mean

Duration = Annotated[str, Field(pattern=r"^([0-9]+[hms])+$")]

SECRETS = ("password", "secret", "token", "auth", "passcode")
"""In a key, each of these says that its value is a credential, or holds one."""


_VOLUME = ("boot_from_volume", "volume_size")
"""What terraform_ohpc/nodes refuses, too."""


class Settings(BaseModel):
    """All keys are optional. Keys that are not known here are the site's own root modules'."""

    model_config = ConfigDict(extra="allow", frozen=True)

    cloud: str = Field(
        "", description="Name in clouds.yaml; empty: OS_CLOUD, or the OS_* variables of an RC file."
    )
    region: str = Field("", description="Region; empty: the credentials' own.")
    external_network: str = Field(
        "", description="Name of the network that the router leads to and floating IPs come from."
    )
    cidr: str = Field("10.0.0.0/16", description="The cluster's own subnet.")
    dns: tuple[str, ...] = Field((), description="Name servers of that subnet.")
    network_id: str = Field("", description="An existing network instead of our own; wants subnet_id, too.")
    subnet_id: str = Field("", description="The subnet of that network.")
    floating_ip: bool = Field(False, description="The login node gets a floating IP.")
    ssh_from: tuple[str, ...] = Field((), description="Subnets from which SSH is allowed: the control host.")
    server_group: Literal["", "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"] = Field(
        "", description="Policy of a server group for the nodes: affinity, anti-affinity, soft-..."
    )
    force_delete: bool = Field(
        False, description="Delete past the cloud's soft delete, which would hold quota and address."
    )
    login_zone: str = Field("", description="Availability zone of the login node.")
    shared_storage: dict[str, Any] = Field(
        default_factory=dict, description="A server for shared storage: flavor, image, address, size."
    )
    host_keys: Literal["console", "first-use"] = Field(
        "console",
        description="Where SSH host keys come from: the server's console; "
        "first-use: where the console has none, whatever answers first at its address is believed.",
    )
    timeouts: dict[Literal["create", "update", "delete"], Duration] = Field(
        default_factory=dict, description="Terraform's, for a server: create, update, delete, each like 20m."
    )
    api_timeout: float = Field(
        30, ge=1, le=600, description="Seconds that the cloud's API may be silent before a call is given up."
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        return {key: value for key, value in given.items() if value is not None}


def mistakes(given: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Name what can't be right: (place, what is wrong, what would be right)."""
    known = list(Settings.model_fields)
    for key in given:
        near = did_you_mean(str(key), known, "", likeness=0.8)
        if key not in known and any(word in str(key).lower() for word in SECRETS):
            yield (key,), "credentials would be readable in Terraform's files", "clouds.yaml, or an RC file"
        elif key not in known and near:
            yield (key,), "unknown key", near
    for key in _VOLUME:
        if key in given:
            wrong = "nodes boot from their flavor's disk: a server on a volume can't be rebuilt in place"
            yield (key,), wrong, "leave it out, and choose flavors with a disk"
    if bool(given.get("network_id")) != bool(given.get("subnet_id")):
        yield (("network_id",), "an existing network wants both", "network_id and subnet_id")
    if given.get("floating_ip") and not given.get("external_network"):
        yield ("floating_ip",), "wants external_network", "the name of the network that it comes from"
    try:
        Settings.model_validate(dict(given))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            place = tuple(part for part in detail["loc"] if part != "[key]")
            about = Settings.model_fields[str(place[0])].description or ""
            yield place, f"{ascii(detail['input'])[:60]} can't stand here", about.rstrip(".")
