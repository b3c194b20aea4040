"""A create that fails, and how long its node rests then."""

QUOTA = "Quota exceeded for cores: Requested 64, but already used 12 of 64 cores"
REST = {"rest": {"quota": 60, "unknown": 60, "node-local": 60, "config": 60}}
