"""What the engine may ask of the outside world, one Protocol per outside system.

Everything that takes longer than a moment is a `Run`: a process that outlives the engine, is
polled, and can be followed again after a restart. Nothing here blocks for more than its own time limit.
"""
