"""What this cloud refuses, in words like a real cloud's."""


class CloudFault(Exception):
    """A call that failed. `kind` is one word: capacity, quota, auth, node-local,
    config, conflict, not-found, host."""

    def __init__(self, kind: str, text: str, server_id: str = "") -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.server_id = server_id
        """The server that the failed call left behind, in status ERROR; often none."""
