"""The admin application over an instance that the test controls."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace as replace
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.test_utils import TestClient

from balancer.admin.view import (
    CertificateView,
    Change,
    CheckView,
    GateWish,
    LiveChange,
    NotReloadedError,
    OutlierView,
    OverloadView,
    PoolView,
    RefusedError,
    ReloadView,
    ReplaceView,
    RouteView,
    SideView,
    UpstreamView,
    Wanted,
    moment,
    wanted_anyway,
)
from balancer.config.exported import Exported
from balancer.edges import DEFAULT, STANDARD
from balancer.telemetry.events import EventLog
from tests.fakes.explained import FakeExplanations
from tests.fakes.overviews import FakeOverviews

AdminClient: TypeAlias = "TestClient[web.Request, web.Application]"  # no generic at run time

CHECK = CheckView("1994-11-06T08:49:37.000Z", False, "status", 404, 0.002, "404 on /", "404 on /: set a path")
UPSTREAM = UpstreamView(
    id="app1:8000",
    address="10.0.0.1:8000",
    source="dns://app:8000",
    admin_state="draining",
    announced=True,
    causes=["active_check"],
    outlier=OutlierView("1994-11-06T08:49:47.000Z", 2),
    on_probation=False,
    unchecked=False,
    eligible=False,
    weight=3,
    effective_weight=1.5,
    backup=False,
    max_inflight=20,
    last_check=CHECK,
    inflight=2,
    inflight_limit=12,
    idle_connections=1,
    requests=5,
    codes={"200": 4, "503": 1},
    connect_failures={"refused": 2},
    first_byte_buckets=[1] * STANDARD.width,
    first_byte_sum=0.25,
)
FAILURE = {
    "time": 784111777.25,
    "status": 502,
    "reason": "connect_refused",
    "source": "upstream",
    "detail": "",
    "client": "10.0.0.99",
    "method": "GET",
    "target": "/",
    "host": "shop.example",
    "route": "default",
    "pool": "default",
    "request_id": None,
    "attempts": [{"upstream": "app1:8000", "failure": "connect_refused", "detail": ""}],
}


def side(pool: str, weight: int) -> SideView:
    """A side that has served two requests."""
    none = [0] * STANDARD.width
    return SideView(pool, weight, 1, 2, {"200": 2}, 0, none, 0.5, none, 3, 1)


class FakeInstance:
    """Ready, with one pool, unless changed."""

    def __init__(self) -> None:
        self.started = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT
        self.events = EventLog()
        self.config = Exported({"listen": "0.0.0.0:8080"}, {"listen": "default"}, "listen: 0.0.0.0:8080\n")
        self.changes: list[tuple[str, str, Change]] = []
        self.added: list[tuple[str, str]] = []
        self.registered: list[tuple[str, str, int, bool]] = []
        self.removed: list[tuple[str, str]] = []
        self.refusal = ""
        self.reloads: list[tuple[str, bool, str | None]] = []
        self.read_only = 0.0
        self.gate: GateWish | None = None
        self.weights = {"stable": 90, "canary": 10}
        self.revision = 7
        self.bounds = DEFAULT
        self.audits: list[tuple[str, str | None, str, str]] = []
        self.overviews = FakeOverviews()
        self.explanations = FakeExplanations()
        self.reasons: list[str] = []
        self.strict_reasons: list[str] = []

    def certificates(self) -> list[CertificateView]:
        return [CertificateView("/run/site.pem", ["shop.example"], "R10", "1994-12-06T08:49:37.000Z", "")]

    def unready(self, strict: bool = False) -> list[str]:
        return self.reasons + self.strict_reasons if strict else self.reasons

    replacing = False

    async def reload(
        self, by: str, *, dry_run: bool = False, text: str | None = None, wanted: Wanted = wanted_anyway
    ) -> ReloadView:
        wanted()
        if self.refusal:
            raise NotReloadedError("refused", [self.refusal])
        self.reloads.append((by, dry_run, text))
        return ReloadView("would_apply" if dry_run else "applied", "live", [], [], [], [], 7, 0.5)

    def forget(self, by: str) -> None:
        self._make()
        self.changes.clear()

    keeps_changes = False

    async def replace(self, by: str, wanted: Wanted = wanted_anyway) -> ReplaceView:
        wanted()
        if self.refusal:
            raise RefusedError(self.refusal)
        return ReplaceView(4711, 0.5)

    def audit(self, pool: str, upstream: str | None, by: str, text: str) -> None:
        self.audits.append((pool, upstream, by, text))

    def _make(self) -> None:
        if self.refusal:
            raise RefusedError(self.refusal)
        self.revision += 1

    def change(self, pool: str, upstream: str, change: Change, by: str) -> None:
        self._make()
        self.changes.append((pool, upstream, change))

    def add(self, pool: str, upstream: str, by: str) -> str:
        if (pool, upstream) not in self.added:
            self._make()
            self.added.append((pool, upstream))
        return UPSTREAM.id

    def register(self, pool: str, upstream: str, seconds: int, by_app: bool) -> tuple[str, bool]:
        if self.refusal:
            raise RefusedError(self.refusal)
        self.registered.append((pool, upstream, seconds, by_app))
        return UPSTREAM.id, len(self.registered) == 1

    def deregister(self, pool: str, upstream: str) -> None:
        self.removed.append((pool, upstream))

    def remove(self, pool: str, upstream: str, by: str) -> None:
        self._make()
        self.removed.append((pool, upstream))

    def live_changes(self) -> Sequence[LiveChange]:
        return [
            LiveChange(pool, one, each.admin_state, each.weight, False, "10.0.0.9", moment(self.started))
            for pool, one, each in self.changes
        ]

    def names(self) -> Mapping[str, Collection[str]]:
        return {"default": [UPSTREAM.id]}

    def upstream(self, pool: str, upstream: str) -> UpstreamView:
        return {("default", UPSTREAM.id): UPSTREAM}[pool, upstream]

    async def pools(self) -> list[PoolView]:
        return [
            PoolView(
                "default",
                "least_connections",
                True,
                0,
                problems={},
                overload=OverloadView("1994-11-06T08:49:30.000Z", 402.1, 798.0, 1.5),
                queue_length=7,
                queue_rejected={"full": 3, "timeout": 0},
                queue_abandoned=4,
                upstreams=[UPSTREAM],
            )
        ]

    async def routes(self) -> list[RouteView]:
        return [
            RouteView(
                "web", True, [side("stable", self.weights["stable"]), side("canary", self.weights["canary"])]
            )
        ]

    def set_read_only(self, route: str, seconds: float, by: str) -> None:
        self._make()
        self.read_only = seconds

    def split(self, route: str, weights: Mapping[str, int], gate: GateWish | None, by: str) -> None:
        self._make()
        self.gate = gate
        self.weights |= weights

    async def scrape(self) -> bytes:
        return b"balancer_worker_up 1.0\n"

    def failures(self) -> Sequence[Mapping[str, Any]]:
        return [FAILURE]
