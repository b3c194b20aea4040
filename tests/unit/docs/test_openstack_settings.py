"""The reference of OpenStack's settings against the model that checks them."""

import re
from pathlib import Path

from slurm_powersave.config.openstack_settings import Settings

PAGE = Path(__file__).parents[3] / "docs/reference/openstack-settings.md"


def test_every_setting_is_in_the_reference_and_no_other() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(Settings.model_fields)
