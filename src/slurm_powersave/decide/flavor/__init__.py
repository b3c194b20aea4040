"""Decisions about flavors: which one a server gets, and what it offers. Pure."""
