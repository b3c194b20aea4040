"""Values: no I/O, no imports from other layers."""
