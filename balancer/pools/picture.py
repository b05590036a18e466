"""What a pool looked like when it chose an upstream, for explanations: never taken in an ordinary request."""

from typing import NamedTuple

from balancer.pools.pool import UpstreamPool
from balancer.upstreams.state import AdminState, FirstCheck
from balancer.upstreams.upstream import Upstream


class Load(NamedTuple):
    """A candidate. `elsewhere` is -1 if nobody looks at it."""

    upstream: Upstream
    weight: int
    effective_weight: float
    inflight: int
    elsewhere: int
    limit: int
    is_full: bool
    is_tried: bool


class Other(NamedTuple):
    """An upstream that is no candidate, and why."""

    upstream: Upstream
    why: str
    inflight: int


class Picture(NamedTuple):
    """A pool at one moment. `waiting`: requests in its queue."""

    at_ns: int
    policy: str
    loads: tuple[Load, ...]
    others: tuple[Other, ...]
    panics: bool
    waiting: int


def picture(pool: UpstreamPool, tried: tuple[Upstream, ...], now_ns: int) -> Picture:
    """Of this moment, before a choice for a request that has failed at `tried`."""
    chosen, sees_others = pool.look(now_ns)
    among = frozenset(chosen)
    return Picture(
        now_ns,
        pool.policy_name,
        tuple(
            [
                Load(
                    one,
                    one.weight,
                    one.effective_weight,
                    one.inflight,
                    one.remote_inflight if sees_others else -1,
                    max(0, one.inflight_limit),
                    one.is_full(),
                    one in tried,
                )
                for one in chosen
            ]
        ),
        tuple([Other(one, why_not(one), one.inflight) for one in pool.upstreams if one not in among]),
        pool.panics,
        0 if pool.queue is None else len(pool.queue.waiting),
    )


def why_not(upstream: Upstream) -> str:
    """Why an upstream is no candidate."""
    if not upstream.host:
        return "its name has no address yet"
    if upstream.admin_state is AdminState.MAINTENANCE:
        return "in maintenance"
    if upstream.admin_state is AdminState.DRAINING:
        return "draining, as its app announced" if upstream.leaves_by_itself else "draining"
    if upstream.causes:
        return f"ejected: {', '.join(sorted(upstream.causes))}"
    if upstream.first_check is FirstCheck.REQUIRED:
        return "new, and has passed no check yet"
    if upstream.on_probation:
        return "on probation: it gets single requests"
    if upstream.effective_weight <= 0:
        return "weight 0"
    if upstream.backup:
        return "a backup: others are eligible"
    return "not eligible"
