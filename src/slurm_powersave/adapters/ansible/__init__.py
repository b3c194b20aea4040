"""Ansible: plays for nodes and in the foreground, and what their events mean."""
