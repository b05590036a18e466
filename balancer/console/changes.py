"""`balancer drain`, `maintenance` and `activate` (L7): set an upstream's admin state, by PATCH."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from balancer.clock import Clock, SystemClock
from balancer.console.client import AdminClient
from balancer.errors import OperatorError
from balancer.upstreams.state import in_words

# Seconds. Longer than a change takes to reach the workers (50 ms, and a turn of their loops): until then they
# may send a draining upstream another request.
POLL = 0.5
DEFAULT_POOL = "default"


class StillBusyError(OperatorError):
    """The waiting time has passed, and requests are still running."""


class Changes:
    """Changes to one upstream, `UPSTREAM` or `POOL/UPSTREAM`, named as in `balancer status`."""

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
        self._pool = pool if slash else DEFAULT_POOL
        self._pool_target = f"/api/pools/{quote(self._pool, safe='')}"
        self._target = f"{self._pool_target}/upstreams/{quote(upstream, safe='')}"
        self._clock = clock or SystemClock()
        self._sleep = sleep

    def want(self, admin_state: str) -> None:
        """Set this state, and print the result."""
        now = self._client.patch(self._target, {"admin_state": admin_state}, "admin_state")
        state, running = now["admin_state"], _running(now)
        more = ", announced by its active check" if state != admin_state else ""
        if state != "active":
            more += f"; {running} in flight may finish" if running else ""
        elif now["causes"]:
            more += ", but still ejected; balancer status says why"
        self._console.print(Text.assemble((self._id, "bold"), f" is {in_words(state)}{more}"))
        if state != "active":
            self._tell_of_the_last()

    def _tell_of_the_last(self) -> None:
        """Print what happens to requests, if this was the last eligible upstream."""
        pool = self._client.get(self._pool_target, "eligible")
        if not pool["eligible"]:
            then = "go to the ejected ones" if pool["panic"] else "get 503"
            text = f"no upstream of pool {self._pool} is eligible now: requests {then}"
            self._console.print(Text(text, style="bold red"))

    def wait(self, most: float) -> None:
        """Wait until it has no requests in flight, for `most` seconds, but at least one POLL. Raises
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
