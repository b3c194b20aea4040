"""The only places with subprocesses, SQLite, sockets and SSH: one module per outside system."""
