"""The in-memory world: a cloud, a Slurm and a clock for tests of the engine and of what is built on it."""
