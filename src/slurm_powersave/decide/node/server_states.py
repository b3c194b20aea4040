"""What Terraform's provider says of a server that Nova shows in a state that it does not take. Pure."""

import re

_REFUSAL = re.compile(r"Invalid power_state for instance (\S+): ([A-Z_]+)")
"""terraform-provider-openstack 3.4, resourceComputeInstanceV2Read: a refresh ends with it."""
_MEANING = {
    "VERIFY_RESIZE": "a resize or a migration waits to be confirmed. The engine does it within two minutes; "
    "by hand: openstack server migration confirm {server}",
    "SUSPENDED": "somebody has suspended it: openstack server resume {server}",
    "RESCUE": "somebody has put it into rescue mode: openstack server unrescue {server}",
}


def explained(text: str) -> str:
    """Add to an error of Terraform's what it means for the server, and what to do."""
    found = _REFUSAL.search(text)
    if not found:
        return text
    server, status = found[1], found[2]
    meaning = _MEANING.get(status, "Nova is at work on it: try again when that is over").format(server=server)
    return f"server {server} is in the state {status}, in which Terraform can't plan: {meaning} ({text})"
