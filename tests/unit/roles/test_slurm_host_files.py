"""What slurmd said last, for the message that it did not start."""

import importlib.util
from pathlib import Path

ROLES = Path(__file__).resolve().parents[3] / "roles"


def test_the_last_words_of_slurmds_log(tmp_path: Path) -> None:
    path = ROLES / "slurm_host/module_utils/slurm_host_files.py"
    spec = importlib.util.spec_from_file_location("slurm_host_files", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    log = tmp_path / "slurmd.log"
    log.write_text(
        "[2026-11-28T10:00:00.1] error: old\n" * 900 + "[2026-11-28T10:00:01.1] fatal: no plugin\nend\n"
    )
    assert module.last_words(f"A=1\nSlurmdLogFile={log}\n") == "error: old | fatal: no plugin"
    assert module.last_words("SlurmdLogFile=/var/log/%n.log\n") == ""
    assert module.last_words("") == ""
