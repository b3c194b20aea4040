"""Processes of this host, detached or in the foreground."""
