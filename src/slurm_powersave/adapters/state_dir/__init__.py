"""The state directory's own files: lock, pause, keys, backups."""
