"""Processes of Terraform and Ansible that an engine has left behind."""

from slurm_powersave.adapters.processes import process


class LeftProcesses:
    """Implements ports.Processes."""

    alive = staticmethod(process.alive)
    signal = staticmethod(process.signal_run)
