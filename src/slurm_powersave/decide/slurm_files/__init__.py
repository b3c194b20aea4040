"""The files that Slurm and Ansible read, made from the cluster file. Pure."""
