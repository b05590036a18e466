"""What is said of a reload (L7). Pure."""

from balancer.admin.view import MemberChange
from balancer.runtime.plan import Reread
from balancer.spec.diff import Diff, Entry
from balancer.spec.instance import NameSpec, ServiceSpec, UpstreamSpec


def of_a_restart(read: Reread) -> list[str]:
    """Sentences about what a reload does not take up."""
    return [
        f"{one.path} is not taken up: that needs a new instance"
        for one in read.changes
        if one.how == "restart"
    ]


def members(changed: Diff) -> list[MemberChange]:
    """The upstreams that change."""
    return [
        MemberChange(
            pool=one.pool,
            id=one.id,
            change="added" if one.before is None else "removed" if one.after is None else "changed",
            before=_entry(one.before),
            after=_entry(one.after),
        )
        for one in changed.members
    ]


def _entry(entry: Entry | None) -> str | None:
    """As in UPSTREAMS."""
    if entry is None:
        return None
    options = []
    if isinstance(entry, UpstreamSpec | NameSpec) and entry.weight != 1:
        options.append(f"weight={entry.weight}")
    if isinstance(entry, UpstreamSpec | NameSpec | ServiceSpec) and entry.backup:
        options.append("backup=true")
    if isinstance(entry, NameSpec | ServiceSpec):
        options.append(f"refresh={entry.refresh:g}s")
    return entry.id + (f"?{'&'.join(options)}" if options else "")


def some(names: list[str]) -> str:
    """The first ones, and how many more there are."""
    most = 5
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
