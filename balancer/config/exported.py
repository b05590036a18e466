"""The settings as the admin API shows them (L1): plain data without secrets."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Exported:
    """The effective settings; nothing in it changes."""

    settings: dict[str, Any]  # the tree, as in a settings file
    origins: dict[str, str]  # "timeouts.connect" -> `default` or an `Origin.kind`
    yaml: str  # the tree as a settings file


def as_file(tree: dict[str, Any]) -> str:
    """A tree of settings as the text of a settings file."""
    import yaml  # here: 1.3 MiB, which the supervisor needs only for live changes in a settings file

    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
