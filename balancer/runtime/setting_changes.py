"""Which settings differ, and what it takes to take each up (L7), in the process that reads them. Pure.

How a setting is taken up is found by trying: the spec of the old settings with nothing but this one changed
is compared with that of the old ones. So there is no list to maintain.
"""

from collections.abc import Callable, Iterator
from typing import Any

from balancer.config.catalogue import POOLS, Path, key
from balancer.config.differences import differing, with_value
from balancer.config.effective import shown, value_at
from balancer.config.masking import masked
from balancer.config.settings import Settings
from balancer.errors import SettingsError
from balancer.runtime.plan import Changed
from balancer.spec.diff import diff
from balancer.spec.instance import InstanceSpec

# Only a new program listens elsewhere for its operators, or has another name in Via.
RESTART = ("admin_listen", "via")
_MEMBERS = "upstreams"  # reported one by one


def changes(
    before: Settings, after: Settings, spec_of: Callable[[Settings], InstanceSpec]
) -> Iterator[Changed]:
    """Every setting that differs, in the order of the models."""
    old = spec_of(before)
    trees = [masked(one.model_dump(mode="json")) for one in (before, after)]
    for path in differing(before, after):
        if path[-1] == _MEMBERS:
            continue
        try:
            new_workers = diff(old, spec_of(with_value(before, after, path))).needs_new_workers
        except (KeyError, ValueError, SettingsError):  # a route and its pool change together
            new_workers = True
        how = "restart" if path[0] in RESTART else "new_workers" if new_workers else "live"
        was, now = (_shown(tree, path) for tree in trees)
        yield Changed(path=key(path), before=was, after=now, how=how)


def _shown(tree: dict[str, Any], path: Path) -> str | None:
    """The value as written in a settings file; a pool by its upstreams; None if there is none."""
    try:
        value = value_at(tree, path)
    except KeyError:
        return None
    if isinstance(value, dict) and path[0] == POOLS:
        value = value.get(_MEMBERS, [])
    return shown(value) if value is not None else None
