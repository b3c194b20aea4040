"""Texts that Ansible must take as they are: no variable that we write is a template.

Ansible evaluates `{{ lookup('pipe', ...) }}` wherever a variable file, an inventory or --extra-vars holds it.
The cluster file says what a person means, but the name of an image is chosen by whoever may make images in
the cloud. `!unsafe` in YAML, and its form in JSON, keep Ansible from it (ansible-core 2.18 and 2.19).
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

_TAG, _KEY = "!unsafe", "__ansible_unsafe"
# Where Jinja begins to read, and the line by which a text may choose other signs for that.
_TEMPLATE = re.compile(r"\{[{%#]|^#jinja2:")


class _Unsafe(str):
    """A text that is written with the tag."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar(_TAG, str(text)))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # a class with libyaml, or one without
    pass


_Loader.add_constructor(_TAG, lambda loader, node: loader.construct_scalar(node))


def yaml_text(content: Mapping[str, Any]) -> str:
    """Write a variable file or an inventory."""
    marked = _each_text(content, lambda text: _Unsafe(text) if _TEMPLATE.search(text) else text)
    return yaml.dump(marked, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


def read_yaml(text: bytes) -> Any:
    """Read what `yaml_text` wrote: the texts as they were."""
    return yaml.load(text, Loader=_Loader)


def literal(content: Any) -> Any:
    """Return content for JSON that Ansible reads, with every text that could be a template marked."""
    return _each_text(content, lambda text: {_KEY: text} if _TEMPLATE.search(text) else text)


def _each_text(content: Any, change: Any) -> Any:
    if isinstance(content, str):
        return change(content)
    if isinstance(content, Mapping):
        return {key: _each_text(value, change) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_each_text(value, change) for value in content]
    return content
