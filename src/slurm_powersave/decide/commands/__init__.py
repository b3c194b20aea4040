"""Decisions of the commands that a person starts. Pure."""
