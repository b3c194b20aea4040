"""One operation of one node: its steps, and what becomes of failures."""
