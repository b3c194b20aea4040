"""The cluster file: read, validated, explained."""
