"""Slurm, the clouds and the journal compared."""
