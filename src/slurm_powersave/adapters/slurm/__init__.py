"""Slurm: scontrol and squeue, and its files on the slurmctld host."""
