"""Which values of the settings are masked (L1): on a terminal, in a log, and over the network."""

from collections.abc import Mapping
from typing import Any

from balancer.config.types import MASK

# Settings whose value is never quoted in a message.
MASKED = frozenset([("health_check", "headers")])
# Settings whose value is quoted in messages without its query.
MASKED_QUERIES = frozenset([("health_check", "path")])
_OPEN_FIELDS = frozenset(["accept", "host", "user-agent"])  # header fields that hold no secrets


def masked(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped tree of settings, with possible secrets in the active checks' headers and path masked."""
    pools = {name: masked(pool) for name, pool in tree.get("pools", {}).items()}
    check = dict(tree["health_check"])
    check["headers"] = {
        name: value if name.lower() in _OPEN_FIELDS else MASK for name, value in check["headers"].items()
    }
    path, query, _ = check["path"].partition("?")
    check["path"] = f"{path}?{MASK}" if query else path
    return {**tree, "health_check": check, **({"pools": pools} if pools else {})}
