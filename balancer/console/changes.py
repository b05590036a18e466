"""`balancer drain`, `maintenance` and `activate` (L6): what the operator wants of an upstream, by PATCH."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from balancer.clock import Clock, SystemClock
from balancer.console.client import AdminClient
from balancer.errors import OperatorError

# Seconds. Longer than workers take to hear of a change (50 ms, and a turn of their loops): until then they
# may send a draining upstream another request.
POLL = 0.5
DEFAULT_POOL = "default"


class StillBusyError(OperatorError):
    """The time to wait is over, and requests still run."""


class Changes:
    """One upstream, `UPSTREAM` or `POOL/UPSTREAM`, as `balancer status` shows it."""

    def __init__(
        self,
        client: AdminClient,
        console: Console,
        named: str,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        pool, slash, upstream = named.rpartition("/")
        self._client = client
        self._console = console
        self._id = upstream
        pool = pool if slash else DEFAULT_POOL
        self._target = f"/api/pools/{quote(pool, safe='')}/upstreams/{quote(upstream, safe='')}"
        self._clock = clock or SystemClock()
        self._sleep = sleep

    def want(self, admin_state: str) -> None:
        """Ask for this state, and say what came of it."""
        now = self._client.patch(self._target, {"admin_state": admin_state}, "admin_state")
        state, running = now["admin_state"], _running(now)
        more = ", as its active check announces" if state != admin_state else ""
        ends = f"; {running} in flight may end" if running and state != "active" else ""
        self._console.print(Text.assemble((self._id, "bold"), f" is {state}{more}{ends}"))

    def wait(self, most: float) -> None:
        """Wait until nothing runs there any more, for `most` seconds, but for one POLL at least. Raises
        StillBusyError."""
        deadline_ns = self._clock.monotonic_ns() + round(most * 1e9)
        self._sleep(POLL)
        while running := _running(self._client.get(self._target, "inflight")):
            if self._clock.monotonic_ns() >= deadline_ns:
                raise StillBusyError(f"{self._id} still has {running} in flight after {most:g} s")
            self._sleep(POLL)
        self._console.print(Text.assemble((self._id, "bold"), " has nothing in flight"))


def _running(upstream: Any) -> int:
    return int(upstream["inflight"])
