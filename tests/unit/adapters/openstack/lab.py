"""The HTTP cloud with a proxy in front, and credentials for it: what tests of the adapter share."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.config.openstack_settings import Settings
from tests.openstack.http_cloud import HttpCloud
from tests.openstack.proxy import Proxy

SILENCE = 3.0
"""Seconds of api_timeout: more than a busy machine may take for an answer."""


class World:
    """A cloud, the way to it, and what a client needs."""

    def __init__(self, cloud: HttpCloud, proxy: Proxy, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.cloud, self.proxy = cloud, proxy
        self._file = directory / "clouds.yaml"
        self.credentials()
        for name in ("OS_CLOUD", "OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD"):
            patch.delenv(name, raising=False)
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(self._file))

    def credentials(self, **auth: str) -> None:
        """Write clouds.yaml anew."""
        known = {"username": "demo", "password": "x", "project_name": "demo"}
        domains = {"user_domain_name": "Default", "project_domain_name": "Default"}
        auth = {"auth_url": f"{self.proxy.url('all')}/identity/v3", **known, **domains, **auth}
        self._file.write_text(yaml.safe_dump({"clouds": {"lab": {"auth": auth}}}))

    def settings(self, **more: Any) -> dict[str, Any]:
        """`clouds.NAME.settings`."""
        return {"cloud": "lab", "api_timeout": SILENCE, **more}

    def api(self, **more: Any) -> Api:
        """A session."""
        return Api(Settings.model_validate(self.settings(**more)))

    def asked(self, method: str = "", containing: str = "") -> list[str]:
        """What the cloud has been asked, without the login and the versions."""
        return [
            path
            for _, how, path in self.proxy.requests
            if method in ("", how) and containing in path and path.count("/") > 2 and "/auth/" not in path
        ]
