"""Requests of the hooks: the spool, and the stream from the slurmctld host."""
