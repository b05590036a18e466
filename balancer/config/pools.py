"""Pools under POOLS (L1): their raw values, completed by those at the top of the tree.

A pool's path is ("pools", its name), and below it are the paths of a pool's settings.
"""

import re
from collections.abc import Mapping
from typing import Any

from balancer.config.catalogue import POOL_SETTINGS, Path
from balancer.config.routes import UNMATCHED
from balancer.config.upstream_spec import DEFAULT

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*")
_LONGEST = 40  # characters: it labels metrics, and is a part of cookie names


def about_name(name: str) -> str | None:
    """What is wrong with a pool's name: the end of a sentence that begins with it. None if nothing is."""
    if name == DEFAULT:
        return "is the pool that UPSTREAMS defines; set UPSTREAMS, or choose another name"
    if name == UNMATCHED:
        return "is the name of the route of requests that no other matches; choose another name"
    if _NAME.fullmatch(name) is None or len(name) > _LONGEST:
        return (
            f"is no name for a pool; write lower-case letters and digits, with single - or _ between them, "
            f"{_LONGEST} characters at most"
        )
    return None


def completed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of raw values in which each pool has the values of the top where it has none of its own."""
    pools = tree.get("pools")
    if not isinstance(pools, Mapping):
        return dict(tree)
    above = _pool_values(tree)
    return {**tree, "pools": {name: _merged(above, own) for name, own in pools.items()}}


def _pool_values(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The values that pools take from the top: not what makes its upstreams."""
    values: dict[str, Any] = {}
    for path in POOL_SETTINGS:
        if path[0] in ("upstreams", "registration"):
            continue
        held: Any = tree
        for part in path[:-1]:
            held = held.get(part) if isinstance(held, Mapping) else None
        if isinstance(held, Mapping) and path[-1] in held:
            _put(values, path, held[path[-1]])
    return values


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree[path[-1]] = value


def _merged(above: Mapping[str, Any], own: Any) -> Any:
    if not isinstance(own, Mapping):
        return own
    merged = {**above, **own}
    if own.get("registration"):
        merged.setdefault("upstreams", [])  # apps join it
    for key in above.keys() & own.keys():
        if isinstance(above[key], Mapping) and isinstance(own[key], Mapping) and key != "policy_options":
            merged[key] = {**above[key], **own[key]}
    return merged
