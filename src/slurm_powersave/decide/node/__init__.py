"""Decisions about one node, its server and its operation. Pure."""
