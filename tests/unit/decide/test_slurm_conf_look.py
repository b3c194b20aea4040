"""What Slurm would not know or pass over, and Slurm's files that are not ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.preflight import slurm_conf_look
from slurm_powersave.decide.preflight.findings import Severity
from slurm_powersave.decide.slurm_files import live_files
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.decide.slurm_files.slurm_conf import HEADER
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import NEWEST

Make = Callable[..., Cluster]
CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/slurm_look.yml").read_text())


def changed(make: Make, case: dict[str, Any]) -> Cluster:
    """Make the cluster of a case."""
    content: dict[str, Any] = {"slurm_version": case.get("version", "22.05")}
    content |= {"slurm_conf_extra": case.get("extra", {}), "gres_conf": case.get("gres_conf", "")}
    cluster = make(content)
    pool, *pools = cluster.node_pools
    partition, *partitions = cluster.partitions
    pool = pool.model_copy(update={"options": pool.options | case.get("pool", {})})
    partition = partition.model_copy(update={"options": partition.options | case.get("partition", {})})
    return cluster.model_copy(update={"node_pools": (pool, *pools), "partitions": (partition, *partitions)})


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_is_unknown_or_without_effect(make: Make, case: dict[str, Any]) -> None:
    cluster = changed(make, case)
    found = [
        f"{one.severity}: {one.where}: {one.wrong}: {one.right}" for one in slurm_conf_look.findings(cluster)
    ]
    assert found == case["says"]
    if any(line.startswith("error") for line in case["says"]):
        with pytest.raises(ConfigError):
            slurm_conf_look.refuse(cluster)
    else:
        slurm_conf_look.refuse(cluster)


@pytest.mark.parametrize("version", ["22.05", "23.02", "24.11", "25.05", str(NEWEST)])
def test_what_we_write_ourselves_is_known(make: Make, version: str) -> None:
    assert list(slurm_conf_look.findings(make({"slurm_version": version, "fast_start": True}))) == []


def test_the_tables_are_those_of_the_parser() -> None:
    old, new = slurm_conf_look.tables(Version(22, 5)), slurm_conf_look.tables(Version(26, 5))
    assert [len(old.keys[kind]) for kind in ("global", "node", "part")] == [226, 24, 42]
    assert [len(new.keys[kind]) for kind in ("global", "node", "part")] == [248, 29, 47]


OURS = HEADER + "ClusterName=demo\n"


def test_a_slurm_conf_of_somebody_else_is_refused_with_its_diff(make: Make) -> None:
    files = LiveFiles({"slurm.conf": "# do not touch\nClusterName=demo\n", "gres.conf": "Name=gpu\n"})
    cluster = make()
    (found,) = live_files.findings(cluster, files)
    assert found.severity is Severity.ERROR and "--replace-foreign" in found.right
    with pytest.raises(RefusedError) as caught:
        live_files.refuse_foreign(cluster, files, {"slurm.conf": OURS})
    assert "-# do not touch\n+# Written by slurm-powersave" in caught.value.why
    live_files.refuse_foreign(cluster, LiveFiles({"slurm.conf": OURS}), {"slurm.conf": "other"})


def test_a_gres_conf_of_somebody_else_stays_where_the_cluster_file_has_none(make: Make) -> None:
    files = LiveFiles({"gres.conf": "Name=gpu\n"})
    assert files.foreign(make()) == []
    assert files.foreign(make({"gres_conf": "Name=gpu"})) == ["gres.conf"]


def test_an_edit_by_hand_is_shown(make: Make) -> None:
    files = LiveFiles({"slurm.conf": OURS + "MessageTimeout=17\n"}, {"slurm.conf": OURS})
    (found,) = live_files.findings(make(), files)
    assert found.severity is Severity.WARNING and "\n+MessageTimeout=17" in found.wrong
    assert LiveFiles({"slurm.conf": OURS}, {"slurm.conf": OURS}).edited() == []
    assert LiveFiles({"slurm.conf": OURS}).edited() == [], "nothing is known of how it was"


def test_a_long_diff_is_cut() -> None:
    text = OURS + "".join(f"NodeName=n{number}\n" for number in range(5000))
    shown = LiveFiles({"slurm.conf": text}, {"slurm.conf": OURS}).edits().splitlines()
    assert len(shown) == 201 and shown[-1].endswith("more lines")
