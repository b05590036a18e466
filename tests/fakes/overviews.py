"""An overview that the test controls."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from balancer.overview.shape import ChangesShape, OverviewShape, PoolShape, RatesShape, UpstreamShape
from balancer.overview.stream import Listener, Stream, difference, whole

TIME = "1994-11-06T08:49:37.000Z"
NO_CHANGES: ChangesShape = {"allowed": "no", "hint": "Set BALANCER_ADMIN_TOKEN."}


def rates_shape(rps: float = 0.0, errors: float | None = None) -> RatesShape:
    """Of a window with ten times as many requests."""
    n = round(rps * 10)
    known = 5.0 if n else None
    return {
        "rps": rps,
        "n": n,
        "errors": errors if errors is not None else 0.0 if n else None,
        "client_errors": 0.0 if n else None,
        "p50": known,
        "p95": known,
        "p99": known,
        "in": 0.0,
        "out": 0.0,
    }


def upstream_shape(**changed: Any) -> UpstreamShape:
    """One that serves."""
    shape: UpstreamShape = {
        "address": "10.0.0.1:8000",
        "state": "active",
        "eligible": True,
        "causes": [],
        "since": TIME,
        "why": "",
        "todo": "",
        "whose": "",
        "until": None,
        "weight": 1,
        "effective_weight": 1.0,
        "backup": False,
        "share": 0.5,
        "weight_share": 0.5,
        "inflight": 0,
        "limit": 0,
        "rates": rates_shape(10.0),
        "last_check": None,
    }
    return {**shape, **changed}  # type: ignore[typeddict-item]  # members that the test names


def pool_shape(upstreams: Mapping[str, UpstreamShape] | None = None, **changed: Any) -> PoolShape:
    """A pool with two upstreams that serve, if no others are given."""
    if upstreams is None:
        upstreams = {f"app{number}:8000": upstream_shape() for number in (1, 2)}
    eligible = sum(one["eligible"] for one in upstreams.values())
    shape: PoolShape = {
        "policy": "least_connections",
        "eligible": eligible,
        "total": len(upstreams),
        "panic": False,
        "on_backup": False,
        "overload": None,
        "rates": rates_shape(20.0),
        "inflight": 0,
        "limit": 0,
        "queue": 0,
        "refused": 0.0,
        "retries": 0.0,
        "can_lose": {"n": 1, "of": eligible, "text": f"can lose 1 of {eligible}"},
        "growth": None,
        "problems": {},
        "upstreams": upstreams,
    }
    return {**shape, **changed}  # type: ignore[typeddict-item]  # members that the test names


def overview_shape() -> OverviewShape:
    """All is well."""
    return {
        "now": TIME,
        "instance": {
            "name": "web1",
            "version": "0.1.0",
            "build": "plain",
            "started": TIME,
            "revision": 7,
            "changes": NO_CHANGES,
        },
        "findings": [
            {
                "level": "ok",
                "text": "All 2 upstreams serve: 20 requests/s.",
                "todo": "",
                "pool": None,
                "upstream": None,
                "route": None,
                "since": None,
            }
        ],
        "routes": {
            "default": {
                "split": False,
                "read_only": False,
                "rates": rates_shape(20.0),
                "slo": None,
                "gate": None,
                "last_gate": None,
                "sides": {
                    "default": {
                        "weight": 1,
                        "share": 1.0,
                        "eligible": 2,
                        "rates": rates_shape(20.0),
                        "retries": 0.0,
                        "slo": None,
                    }
                },
            }
        },
        "pools": {"default": pool_shape()},
        "workers": {
            "0": {"state": "ready", "cpu": 0.1, "memory": 1 << 25, "lag": 0.5, "fds": 20, "restarts": 0}
        },
        "certificates": [],
        "events": [],
        "failures": [],
    }


class FakeOverviews:
    """`tree` is the present one; `publish` sends another one to those who listen."""

    def __init__(self) -> None:
        self.tree = overview_shape()
        self.stream = Stream()
        self.asked: list[str | None] = []

    async def now(self, changes: ChangesShape) -> OverviewShape:
        return whole(self.tree, changes)

    async def history(self, only: str | None) -> Mapping[str, Any]:
        self.asked.append(only)
        steps = {"step": 1, "length": 120}
        return {"now": 784111777.0, "fine": steps, "coarse": steps, "series": {}, "states": {}}

    async def listen(self, changes: ChangesShape) -> Listener | None:
        listener = self.stream.join(changes)
        if listener is not None and self.stream.tree is None:
            self.stream.publish(None, self.tree, None)
        return listener

    def leave(self, listener: Listener) -> None:
        self.stream.leave(listener)

    def close(self) -> None:
        self.stream.close()

    def publish(self, tree: OverviewShape) -> None:
        """Send what differs."""
        before, self.tree = self.tree, deepcopy(tree)
        self.stream.publish(before, self.tree, difference(before, self.tree))
