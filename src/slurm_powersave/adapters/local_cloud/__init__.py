"""The local cloud (demo/local_cloud)."""
