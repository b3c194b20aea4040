"""How many examples a fuzz test takes."""

from hypothesis import HealthCheck, settings

FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
