"""The settings as the admin API shows them (L1): plain data without secrets."""

from dataclasses import dataclass
from typing import Any

import yaml

from balancer.config.catalogue import SETTINGS, key
from balancer.config.loader import Loaded
from balancer.config.masking import masked


@dataclass(frozen=True, slots=True)
class Exported:
    """The effective settings; nothing in it changes."""

    settings: dict[str, Any]  # the tree, as in a settings file
    origins: dict[str, str]  # "timeouts.connect" -> `default` or an `Origin.kind`
    yaml: str  # the tree as a settings file


def export(loaded: Loaded) -> Exported:
    """The settings, with secrets masked."""
    tree = masked(loaded.settings.model_dump(mode="json", exclude={"config"}))
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        origin = loaded.origins.get(setting.path)
        if setting.path != ("config",):
            origins[key(setting.path)] = "default" if origin is None else origin.kind
    return Exported(tree, origins, as_file(tree))


def as_file(tree: dict[str, Any]) -> str:
    """A tree of settings as the text of a settings file."""
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
