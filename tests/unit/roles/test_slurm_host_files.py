"""What slurmd said last, for the message that it did not start."""

from pathlib import Path

from tests.unit.roles.role_files import load


def test_the_last_words_of_slurmds_log(tmp_path: Path) -> None:
    module = load("slurm_host", "slurm_host_files")
    log = tmp_path / "slurmd.log"
    log.write_text(
        "[2026-11-28T10:00:00.1] error: old\n" * 900 + "[2026-11-28T10:00:01.1] fatal: no plugin\nend\n"
    )
    assert module.last_words(f"A=1\nSlurmdLogFile={log}\n") == "error: old | fatal: no plugin"
    assert module.last_words("SlurmdLogFile=/var/log/%n.log\n") == ""
    assert module.last_words("") == ""
