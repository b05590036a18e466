"""Messages of the control channel with defaults for tests."""

from collections.abc import Sequence
from typing import Any

from balancer.messages import AttemptRecord, FailureRecord, MemberState, PoolUpdate, Rows, Start
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from tests.fakes.specs import pool_spec, worker_spec

_POOL_CHANGES = (
    "policy", "policy_options", "hash_key", "panic", "slow_start", "checked_within", "keepalive", "retry",
    "queue", "adaptive", "outlier", "sticky",
)  # fmt: skip


def upstream_message(number: int, **changes: Any) -> MemberState:
    """One upstream as sent to workers: `app1:8000` at 10.0.0.1:8000, and so on."""
    values: dict[str, Any] = {
        "id": f"app{number}:8000",
        "host": f"10.0.0.{number}",
        "port": 8000,
        "weight": 1,
        "row": 3 + number,
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
    slot: int = 0,
    page: int = 1,
    **changes: Any,
) -> Start:
    """A `start` message: a pool of `upstreams` at 10.0.0.1:8000 and so on. `changes` are those of `pool_spec`
    and of `worker_spec`."""
    if isinstance(upstreams, int):
        upstreams = [upstream_message(number) for number in range(1, upstreams + 1)]
    pool = pool_spec(**{name: changes.pop(name) for name in _POOL_CHANGES if name in changes})
    return Start(
        spec=worker_spec(pool, **changes),
        slot=slot,
        page=page,
        rows=Rows(worker=0, listener=1, routes=(3,), pools=(2,)),
        pools=(PoolUpdate(name=pool.name, revision=1, starting=starting, members=tuple(upstreams)),),
    )


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
