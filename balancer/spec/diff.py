"""What a reload changes (L1): two instances compared, as a pure function. The contract for whoever reloads.

Membership, and all that the supervisor does itself, changes live; a change of what a worker is needs new
workers. That follows from where a setting stands in `InstanceSpec`, so nobody keeps a list.
"""

from collections.abc import Iterator
from typing import TypeAlias

from balancer.spec.instance import InstanceSpec, NameSpec, SupervisedPool, UpstreamSpec
from balancer.spec.part import Part

Entry: TypeAlias = UpstreamSpec | NameSpec
_MEMBERS = ("upstreams", "names")


class MemberChange(Part, frozen=True, kw_only=True):
    """An entry of a pool: added where `before` is None, gone where `after` is; else changed, as by another
    weight. Who keeps its id keeps its state and its connections."""

    pool: str
    id: str
    before: Entry | None
    after: Entry | None


class SettingChange(Part, frozen=True, kw_only=True):
    """A setting by its path, `worker.pools[default].retry.max_attempts`; what has come or gone as a whole, by
    its own: `pools[static]`. Without values, which may be secret. `live`: without new workers."""

    path: str
    live: bool


class Diff(Part, frozen=True, kw_only=True):
    """Everything that differs; in the order of the specs, what has gone before what has come."""

    members: tuple[MemberChange, ...]
    settings: tuple[SettingChange, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.members and not self.settings

    @property
    def needs_new_workers(self) -> bool:
        """Whether the workers that run cannot be told of it."""
        return any(not change.live for change in self.settings)


def diff(old: InstanceSpec, new: InstanceSpec) -> Diff:
    """What has to change for `old` to be `new`."""
    settings = [
        *(SettingChange(path=path, live=False) for path in _differing("worker", old.worker, new.worker)),
        *(SettingChange(path=path, live=True) for path in _differing("pools", old.pools, new.pools)),
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
    """The paths of what differs, as deep as both sides have the same parts."""
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
        yield path  # their order, by which routes are tried
    for name in dict.fromkeys((*before, *after)):
        if name in before and name in after:
            yield from _differing(f"{path}[{name}]", before[name], after[name])
        else:
            yield f"{path}[{name}]"


def _by_name(value: object) -> dict[str, Part] | None:
    """The routes or pools in a tuple by their names; None for what is something else."""
    if not isinstance(value, tuple):
        return None
    named = {str(getattr(one, "name", "")): one for one in value if isinstance(one, Part)}
    return named if len(named) == len(value) and "" not in named else None
