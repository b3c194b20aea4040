"""Shows what hosts say without letting it act on the terminal, when a playbook is run by hand, too.

ansible-core prints the messages of modules as they are (seen with 2.19): whoever is root on one host could
bend the terminal of whoever runs a play, or write lines that look like Ansible's own about other hosts.
"""

from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display

try:
    from slurm_powersave.model.printable import paragraph
except ImportError:
    paragraph = None

DOCUMENTATION = """
name: printable
type: aggregate
short_description: Shows control characters of hosts as escapes
description:
  - Every line that Ansible shows goes through this, whatever prints it.
requirements: [slurm-powersave in the Python of Ansible]
"""


class CallbackModule(CallbackBase):
    """Is loaded for what it does to the display; it has no events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "printable"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if paragraph is None:
            self._display.warning(
                "slurm-powersave is not installed beside Ansible: what hosts say may act on this terminal"
            )
        elif not hasattr(Display, "shows_anything"):
            Display.shows_anything = Display.display
            Display.display = _display


def _display(self: Display, msg: Any, *args: Any, **kwargs: Any) -> Any:
    text = str(msg)
    # `screen_only` is the recap: names of the inventory and numbers, in Ansible's own colours.
    if not kwargs.get("screen_only"):
        inside = text.lstrip("\n")
        text = "\n" * (len(text) - len(inside)) + paragraph(inside)
    return self.shows_anything(text, *args, **kwargs)
