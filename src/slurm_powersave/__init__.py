"""slurm-powersave: Slurm sizes its own cluster through Terraform and Ansible."""

__version__ = "0.1.0"
