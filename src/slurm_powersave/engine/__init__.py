"""The loop that hands requests to Terraform, Ansible and Slurm; it knows no provider."""
