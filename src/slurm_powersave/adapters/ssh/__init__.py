"""SSH: host keys, control sockets, and questions to a node."""
