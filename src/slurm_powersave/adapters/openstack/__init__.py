"""OpenStack as a cloud of the engine's, over openstacksdk's session."""
