"""`balancer add`, `remove`, `weight`, `drain`, `maintenance` and `activate` (L7): changes to one upstream."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import CREATED, NOT_FOUND
from typing import Any
from urllib.parse import quote

from rich.text import Text

from balancer.clock import Clock, SystemClock
from balancer.console.client import AdminClient
from balancer.errors import OperatorError
from balancer.upstreams.state import in_words

# Seconds. Longer than a change takes to reach the workers (50 ms, and a turn of their loops): until then they
# may send a draining upstream another request.
POLL = 0.5
DEFAULT_POOL = "default"
_IN_A_POOL = re.compile(r"([a-z][a-z0-9_-]*)/(.+)", re.DOTALL)


class StillBusyError(OperatorError):
    """The waiting time has passed, and requests are still running."""


def in_pool(named: str) -> tuple[str, str]:
    """The pool and the upstream of `UPSTREAM` or `POOL/UPSTREAM`, named as in `balancer status`. Slashes of
    `https://` and `unix:/` divide nothing."""
    match = _IN_A_POOL.fullmatch(named)
    return (match[1], match[2]) if match is not None else (DEFAULT_POOL, named)


def forgotten(now: Mapping[str, Any]) -> str:
    """The end of a line about a change that ends with the instance."""
    return "; a restart forgets this (STATE__FILE is not set)" if now.get("until_restart") else ""


class Changes:
    """Changes to one upstream of one instance; each yields lines that say what is so now."""

    def __init__(
        self,
        client: AdminClient,
        named: str,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._pool, self._id = in_pool(named)
        self._pool_target = f"/api/pools/{quote(self._pool, safe='')}"
        self._target = f"{self._pool_target}/upstreams/{quote(self._id, safe='')}"
        self._clock = clock or SystemClock()
        self._sleep = sleep

    def want(self, admin_state: str) -> Iterator[Text]:
        """Set this state."""
        now = self._client.patch(self._target, {"admin_state": admin_state}, "admin_state")
        state, running = now["admin_state"], _running(now)
        more = ", announced by its active check" if state != admin_state else ""
        if state != "active":
            more += f"; {running} in flight may finish" if running else ""
        elif now["causes"]:
            more += ", but still ejected; balancer status says why"
        yield Text.assemble((self._id, "bold"), f" is {in_words(state)}{more}{forgotten(now)}")
        if state != "active":
            yield from self._of_the_last()

    def weigh(self, weight: int) -> Iterator[Text]:
        """Set this weight."""
        now = self._client.patch(self._target, {"weight": weight}, "weight")
        effective = now["effective_weight"]
        ramp = f", {effective:.3g} so far in its slow start" if effective != now["weight"] else ""
        yield Text.assemble((self._id, "bold"), f" has the weight {now['weight']}{ramp}{forgotten(now)}")

    def add(self) -> Iterator[Text]:
        """Add it to its pool; its name may have options."""
        target = f"{self._pool_target}/upstreams"
        status, now = self._client.ask("POST", target, {"upstream": self._id}, "id")
        more = "; it serves once it has passed a check" if now["unchecked"] else ""
        done = "is added to" if status == CREATED else "is already in"
        yield Text.assemble((now["id"], "bold"), f" {done} pool {self._pool}{more}")

    def remove(self) -> Iterator[Text]:
        """Remove it from its pool; if it is not there, that is as good."""
        status, now = self._client.ask("DELETE", self._target, None, "inflight", results=("gone",))
        if status == NOT_FOUND:
            yield Text.assemble((self._id, "bold"), f" is not in pool {self._pool}; nothing to remove")
            return
        running = _running(now)
        more = f"; {running} in flight may finish" if running else ""
        yield Text.assemble((self._id, "bold"), f" is removed from pool {self._pool}{more}")
        yield from self._of_the_last()

    def _of_the_last(self) -> Iterator[Text]:
        """What happens to requests, if this was the last eligible upstream."""
        pool = self._client.get(self._pool_target, "eligible")
        if not pool["eligible"]:
            then = "go to the ejected ones" if pool["panic"] else "get 503"
            text = f"no upstream of pool {self._pool} is eligible now: requests {then}"
            yield Text(text, style="bold red")

    def wait(self, most: float) -> Iterator[Text]:
        """Wait until it has no requests in flight, for `most` seconds, but at least one POLL. Raises
        StillBusyError."""
        deadline_ns = self._clock.monotonic_ns() + round(most * 1e9)
        self._sleep(POLL)
        while running := _running(self._client.get(self._target, "inflight")):
            if self._clock.monotonic_ns() >= deadline_ns:
                raise StillBusyError(f"{self._id} still has {running} in flight after {most:g} s")
            self._sleep(POLL)
        yield Text.assemble((self._id, "bold"), " has nothing in flight")


def _running(upstream: Any) -> int:
    return int(upstream["inflight"])
