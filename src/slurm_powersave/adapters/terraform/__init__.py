"""Terraform: the base state, the shards of the nodes, state files, providers."""
