"""An upstream whose name has several addresses: dial one after the other until one connects (RFC 1123 2.3).

A dead address refuses, or does not answer at all: so after STAGGER without a connection the next address is
dialled too, and the first to connect is used.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from balancer.clock import Clock
from balancer.connections.connect import Connect, DialFailure
from balancer.connections.delay_queue import DelayQueue
from balancer.connections.dial import Dial, Dialler, UpstreamDials
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import Outcome
from balancer.upstreams.upstream import Upstream

STAGGER: Final = 0.25  # seconds
_TELL_EVERY_NS: Final = 1_000_000_000  # per upstream
_SLOW_NS: Final = 1_000_000_000


class Addresses:
    """What this worker knows of upstreams that do not connect at their own address.

    `elsewhere(upstream, host, reason)` is called when one connects at another address of its name; the reason
    is what failed at its own.
    """

    __slots__ = ("_clock", "_elsewhere", "_unanswered", "staggers")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        elsewhere: Callable[[Upstream, str, str], object] | None,
    ) -> None:
        self._clock = clock
        self._elsewhere = elsewhere
        # Since when, and the last call of `elsewhere`.
        self._unanswered: dict[Upstream, tuple[int, int]] = {}
        self.staggers: DelayQueue[tuple[DialOfSeveral, int]] = DelayQueue(loop, clock, STAGGER, _join)

    def forget(self, upstream: Upstream) -> None:
        """Its own address has connected, or has changed, or the upstream is gone."""
        self._unanswered.pop(upstream, None)

    def failed_over(self, upstream: Upstream, host: str, failure: DialFailure | None) -> None:
        """The upstream has connected at `host`; its own address has failed with `failure`, or is slow. A
        failure is reported at once, slowness only after _SLOW_NS: one lost SYN does not mean that it is
        dead."""
        now = self._clock.monotonic_ns()
        slow_since, told = self._unanswered.setdefault(upstream, (now, -_TELL_EVERY_NS))
        if failure is not None:
            if failure.outcome is Outcome.CANCELLED:
                return
            why = failure.detail
        elif now - slow_since >= _SLOW_NS:
            why = f"no connection within {STAGGER * 1e3:.0f} ms, repeatedly"
        else:
            return
        if now - told >= _TELL_EVERY_NS and self._elsewhere is not None:
            self._unanswered[upstream] = slow_since, now
            self._elsewhere(upstream, host, why)

    def close(self) -> None:
        """Cancel the timer."""
        self.staggers.close()


class DialOfSeveral(Dial):
    """A connection to any address of the upstream's name, its own first. If none connects, the failure is
    that of its own."""

    __slots__ = ("_addresses", "_left", "_number", "_own", "_own_failure", "_running")

    def __init__(
        self, dialler: Dialler, dials: UpstreamDials, fresh: bool, careful: bool, addresses: Addresses
    ) -> None:
        super().__init__(dialler, dials, fresh, careful)
        self._addresses = addresses
        self._own = ""
        self._own_failure: DialFailure | None = None
        self._left: deque[str] = deque()  # hosts not dialled yet
        self._running: list[Connect] = []
        self._number = 0  # of hosts dialled

    def _start(self) -> None:
        self._own = self.upstream.host
        self._left.extend(self.upstream.other_hosts)
        self._dial(self._own)

    def _stop(self) -> None:
        self._left.clear()
        running, self._running = self._running, []
        for connect in running:
            connect.cancel()

    def join(self, number: int) -> None:
        """STAGGER has passed since the dial of this number: if it was the last, dial the next address too."""
        if self._left and self._number == number:
            self._dial(self._left.popleft())

    def _dial(self, host: str) -> None:
        self._number += 1
        connect = self._dials.connect(self, host)
        self._running.append(connect)
        connect.begin()
        if self._left:
            self._addresses.staggers.push((self, self._number))

    # --- the connects' calls (ConnectOwner)

    def connected(self, connect: Connect, connection: UpstreamConnection) -> None:
        self._running.remove(connect)
        self._stop()
        upstream = self.upstream
        if connect.host == self._own:
            self._addresses.forget(upstream)
        elif upstream.host == self._own:
            self._addresses.failed_over(upstream, connect.host, self._own_failure)
        super().connected(connect, connection)

    def connect_failed(self, connect: Connect, failure: DialFailure) -> None:
        self._running.remove(connect)
        if connect.host == self._own:
            self._own_failure = failure
        if self._left:
            self._dial(self._left.popleft())
        elif not self._running:
            self.fail(self._own_failure or failure)


def _join(item: tuple[DialOfSeveral, int]) -> None:
    dial, number = item
    dial.join(number)
