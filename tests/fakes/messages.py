"""Messages of the control channel with defaults for tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from balancer.messages import AttemptRecord, FailureRecord, MemberState, PoolUpdate, Rows, Start
from balancer.spec.part import replaced
from balancer.spec.tls import ChallengeSpec
from balancer.spec.worker import RouteSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from tests.fakes.specs import pool_spec, worker_spec

TLS_ROW = 1999  # of the TLS listener
_POOL_CHANGES = (
    "policy", "policy_options", "hash_key", "panic", "slow_start", "keepalive", "retry", "queue",
    "adaptive", "outlier", "sticky", "upstream_tls",
)  # fmt: skip


def upstream_message(number: int, **changes: Any) -> MemberState:
    """One upstream as sent to workers: `app1:8000` at 10.0.0.1:8000, and so on."""
    values: dict[str, Any] = {
        "id": f"app{number}:8000",
        "host": f"10.0.0.{number}",
        "port": 8000,
        "weight": 1,
        "row": 3 + number,
        "server_name": "",
        "admin_state": "active",
        "leaves_by_itself": False,
        "causes": (),
        "backup": False,
        "ramp_since_ns": 0,
        "max_inflight": 0,
        "on_probation": False,
        "silent_since_ns": 0,
        "first_check": "done",
        "other_hosts": (),
        **changes,
    }
    values["admin_state"] = AdminState(values["admin_state"])
    values["causes"] = frozenset(map(Cause, values["causes"]))
    values["first_check"] = FirstCheck(values["first_check"])
    values["other_hosts"] = tuple(values["other_hosts"])
    return MemberState(**values)


def start_message(
    upstreams: int | Sequence[MemberState] = 1,
    *,
    starting: bool = False,
    checked_within: float = 0.0,
    slot: int = 0,
    page: int = 1,
    more: Mapping[str, int] | None = None,
    routes: Sequence[RouteSpec] = (),
    challenges: Sequence[ChallengeSpec] = (),
    **changes: Any,
) -> Start:
    """A `start` message: a pool of `upstreams` at 10.0.0.1:8000 and so on. `more` pools have so many
    upstreams, at 10.1.0.1:8000 and so on; without `routes` each pool has one. `changes` are those of
    `pool_spec` and of `worker_spec`."""
    if isinstance(upstreams, int):
        upstreams = [upstream_message(number) for number in range(1, upstreams + 1)]
    pool = pool_spec(**{name: changes.pop(name) for name in _POOL_CHANGES if name in changes})
    more = more or {}
    spec = worker_spec(pool, *map(pool_spec, more), **changes)
    if routes:
        spec = replaced(spec, routes=tuple(routes))
    updates = [
        PoolUpdate(
            name=pool.name,
            revision=1,
            starting=starting,
            checked_within_ns=round(checked_within * 1e9),
            members=tuple(upstreams),
        )
    ]
    for place, (name, count) in enumerate(more.items(), 1):
        members = tuple(
            upstream_message(n, id=f"{name}{n}:8000", host=f"10.{place}.0.{n}", row=100 * place + n)
            for n in range(1, count + 1)
        )
        updates.append(PoolUpdate(name=name, revision=1, starting=False, members=members))
    return Start(
        spec=spec,
        slot=slot,
        page=page,
        rows=Rows(
            worker=0,
            listener=1,
            tls_listener=None if spec.tls is None else TLS_ROW,
            routes=_rows(spec.routes),
            pools=(2, *range(800, 800 + len(more))),
        ),
        pools=tuple(updates),
        challenges=tuple(challenges),
    )


def _rows(routes: Sequence[RouteSpec]) -> tuple[tuple[int, ...], ...]:
    """The first is 3, the others begin at 2000."""
    free = iter([3, *range(2000, 4096)])
    return tuple(tuple(next(free) for _ in range(len(route.sides) or 1)) for route in routes)


def failure_record(time: float, target: str | None = None) -> FailureRecord:
    """A local error."""
    return FailureRecord(
        time=time,
        status=502,
        reason="connect_refused",
        source="upstream",
        detail="connection refused",
        client="192.0.2.1",
        method="GET",
        target=target,
        host="a",
        route="default",
        pool="default",
        request_id="r1",
        attempts=(AttemptRecord(upstream="app1:8000", failure="connect_refused", detail="refused"),),
    )
