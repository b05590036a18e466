"""What a reload changes (L1): a pure function that compares two instance specs. The contract of a reload.

Membership, and everything the supervisor does itself, changes live; a change of the worker's spec needs new
workers, except what there is a message for: routes, and certificates. That follows from the setting's
position in `InstanceSpec`, so there is no list to maintain.
"""

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from balancer.spec.instance import FindingSpec, InstanceSpec, SupervisedPool, UpstreamSpec
from balancer.spec.part import Part

Entry: TypeAlias = UpstreamSpec | FindingSpec
# In the worker's spec: certificates of a listener that is there before and after, of pools for their
# upstreams, and routes (a pool that is new to them has its own path).
_LIVE: Final = re.compile(
    r"worker\.(tls\.(certificates|client_ca|client_required|min_version)|pools\[[^]]*\]\.tls|routes)\b.*"
)
_MEMBERS: Final = ("upstreams", "names")


class MemberChange(Part, frozen=True, kw_only=True):
    """An entry of a pool: added if `before` is None, removed if `after` is None, otherwise changed (weight,
    for example). An entry that keeps its id keeps its state and connections."""

    pool: str
    id: str
    before: Entry | None
    after: Entry | None


class SettingChange(Part, frozen=True, kw_only=True):
    """A changed setting by its path, `worker.pools[default].retry.max_attempts`; what is added or removed as
    a whole has its own path: `pools[static]`. No values: they may be secret. `live`: needs no new workers."""

    path: str
    live: bool


class Diff(Part, frozen=True, kw_only=True):
    """All differences, in the order of the specs, removals before additions."""

    members: tuple[MemberChange, ...]
    settings: tuple[SettingChange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.members and not self.settings

    @property
    def needs_new_workers(self) -> bool:
        """Whether running workers cannot apply the change."""
        return any(not change.live for change in self.settings)


def diff(old: InstanceSpec, new: InstanceSpec) -> Diff:
    """The changes that turn `old` into `new`."""
    settings = [
        *(
            SettingChange(path=path, live=_LIVE.fullmatch(path) is not None)
            for path in _differing("worker", old.worker, new.worker)
        ),
        *(
            SettingChange(path=path, live=True)
            for name in ("pools", "slos", "buckets")
            for path in _differing(name, getattr(old, name), getattr(new, name))
        ),
    ]
    return Diff(members=tuple(_members(old, new)), settings=tuple(settings))


def _members(old: InstanceSpec, new: InstanceSpec) -> Iterator[MemberChange]:
    before, after = _entries(old), _entries(new)
    for pool, entry in dict.fromkeys((*before, *after)):
        was, will_be = before.get((pool, entry)), after.get((pool, entry))
        if was != will_be:
            yield MemberChange(pool=pool, id=entry, before=was, after=will_be)


def _entries(spec: InstanceSpec) -> dict[tuple[str, str], Entry]:
    found: dict[tuple[str, str], Entry] = {}
    for pool in spec.pools:
        found |= {(pool.name, one.id): one for one in pool.upstreams}
        found |= {(pool.name, one.id): one for one in pool.names}
    return found


def _differing(path: str, old: object, new: object) -> Iterator[str]:
    """The paths of differing settings, as deep as both sides have the same structure."""
    if old == new:
        return
    if isinstance(old, Part) and type(old) is type(new):
        for field in old.__struct_fields__:
            if not (isinstance(old, SupervisedPool) and field in _MEMBERS):
                yield from _differing(f"{path}.{field}", getattr(old, field), getattr(new, field))
        return
    before, after = _by_name(old), _by_name(new)
    if before is None or after is None:
        yield path
        return
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield path  # their order differs, and routes are tried in order
    for name in dict.fromkeys((*before, *after)):
        if name in before and name in after:
            yield from _differing(f"{path}[{name}]", before[name], after[name])
        else:
            yield f"{path}[{name}]"


def _by_name(value: object) -> dict[str, Part] | None:
    """The routes or pools in a tuple by name; None for any other value."""
    if not isinstance(value, tuple):
        return None
    named = {str(getattr(one, "name", "")): one for one in value if isinstance(one, Part)}
    return named if len(named) == len(value) and "" not in named else None
