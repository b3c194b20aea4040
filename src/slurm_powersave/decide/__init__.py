"""Pure decisions: a snapshot and settings in, what to do out."""
