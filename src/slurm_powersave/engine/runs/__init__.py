"""Runs of Terraform and Ansible that nodes share."""
