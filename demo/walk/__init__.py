"""A walk through a cluster's day, on this machine."""

from walk.main import main

__all__ = ["main"]
