"""Which values of the settings are masked (L1): on a terminal, in a log, and over the network."""

import re
from collections.abc import Mapping
from typing import Any

from balancer.config.types import MASK

# Settings whose value is never quoted in a message.
MASKED = frozenset([("health_check", "headers")])
# Settings whose value is quoted in messages without its query.
MASKED_QUERIES = frozenset([("health_check", "path")])
_SECRET_FIELD = re.compile(r"auth|cookie|credential|key|passw|secret|session|token")  # in its name
_VARIABLE = re.compile(r"\$\{?\w+\}?")
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
    routes = [_route(route) for route in tree.get("routes", ())]
    return {
        **tree,
        "health_check": check,
        **({"pools": pools} if pools else {}),
        **({"routes": routes} if routes else {}),
    }


def _route(route: Mapping[str, Any]) -> dict[str, Any]:
    """A route, with possible secrets in the fields that it sends to apps masked: clients see the others."""
    fields = route.get("request_headers")
    if not isinstance(fields, Mapping):
        return dict(route)
    edited = {
        edit: {name: _field(name, value) for name, value in values.items()}
        if isinstance(values, Mapping)
        else values
        for edit, values in fields.items()
    }
    return {**route, "request_headers": edited}


def _field(name: str, value: Any) -> Any:
    """Variables are no secrets. Most fields of routes are none either, and a file that is made from this
    should have them."""
    return MASK if _SECRET_FIELD.search(name.lower()) and not _VARIABLE.fullmatch(str(value)) else value
