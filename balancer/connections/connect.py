"""One connect to one address of an upstream, by callbacks (L3).

An event loop's `create_connection` is a coroutine. It is resumed here by hand whenever a future that it
awaits is done. A Task for each, with a timeout and its timer, would double the cost of a connect.
"""

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple

from mypy_extensions import mypyc_attr

from balancer.clock import Clock
from balancer.connections.delay_queue import DelayQueue
from balancer.connections.intake import Turns
from balancer.connections.keepalive import CLOSE_COLUMN, KeepalivePool
from balancer.connections.tls_faults import is_of_handshake, trouble_of
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.connections.upstream_handshake import HandshakeOwner, UpstreamHandshake
from balancer.connections.upstream_tls import MOST_HANDSHAKE, UpstreamTls
from balancer.errors import (
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    EXHAUSTED,
    UPSTREAM_CERTIFICATE,
    UPSTREAM_TLS,
    Failure,
    Outcome,
)
from balancer.http.head_memory import ResponseHeads
from balancer.telemetry.columns import (
    CONNECT_FAILURE_REASONS,
    UPSTREAM_CONNECT_FAILURES,
    UPSTREAM_CONNECTS,
)
from balancer.upstreams.upstream import UNIX, Upstream

_REFUSALS: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("refused")
_TIMEOUTS: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("timeout")
_UNREACHABLE: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("unreachable")
_TLS: Final = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("tls")


class DialFailure(NamedTuple):
    """Why there is no connection. Nothing was sent, so another upstream may be tried. `detail` is for people,
    `outcome` the attempt's."""

    failure: Failure
    detail: str
    outcome: Outcome = Outcome.CONNECT_FAILED


class ConnectContext:
    """What connects with the same timeout share. `timeout` is in seconds, None for the kernel's; a response
    head has `head_limit` bytes at most, and `heads` parses it."""

    __slots__ = ("clock", "head_limit", "heads", "loop", "timeout", "timeouts", "turns")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        turns: Turns,
        timeout: float | None,
        head_limit: int,
        heads: ResponseHeads,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.turns = turns
        self.timeout = timeout
        self.head_limit = head_limit
        self.heads = heads
        self.timeouts: DelayQueue[Connect] | None = (
            None if timeout is None else DelayQueue(loop, clock, timeout, Connect.time_out)
        )

    def timed_out(self, upstream: Upstream) -> DialFailure:
        """Count a connect that took too long."""
        upstream.cells[_TIMEOUTS] += 1
        return DialFailure(CONNECT_TIMEOUT, f"no connection within {self.timeout} s")

    def close(self) -> None:
        """Cancel the timer."""
        if self.timeouts is not None:
            self.timeouts.close()


@mypyc_attr(allow_interpreted_subclasses=True)
class ConnectOwner(ABC):
    """Gets one of these calls for each of its connects that it does not cancel, never from within `begin`."""

    __slots__ = ()

    @abstractmethod
    def connected(self, connect: "Connect", connection: UpstreamConnection) -> None:
        """There is a connection."""

    @abstractmethod
    def connect_failed(self, connect: "Connect", failure: DialFailure) -> None:
        """There is none."""

    @abstractmethod
    def connect_crashed(self, connect: "Connect", error: Exception) -> None:
        """A bug of ours."""


class Connect(HandshakeOwner):
    """Ends with a call of its owner, or with `cancel`, after which no connection stays open. Under TLS the
    handshake is a part of it."""

    __slots__ = ("_connection", "_context", "_coroutine", "_handshake", "_owner", "_tls", "_waiter", "host")

    def __init__(
        self,
        owner: ConnectOwner,
        context: ConnectContext,
        keepalive: KeepalivePool,
        host: str,
        tls: UpstreamTls,
    ) -> None:
        self._owner: ConnectOwner | None = owner  # None when over
        self._context = context
        self.host = host
        self._tls = tls
        connection = UpstreamConnection(
            keepalive.upstream,
            keepalive,
            context.turns,
            context.heads,
            context.head_limit,
            context.clock.monotonic_ns(),
        )
        # Read before it connects: the upstream's address may change meanwhile.
        connection.generation = keepalive.generation
        self._connection = connection
        self._coroutine: Coroutine[Any, Any, object] | None = None
        self._waiter: asyncio.Future[Any] | None = None  # what the coroutine awaits
        self._handshake: UpstreamHandshake | None = None

    def begin(self) -> None:
        """Send the SYN. If that fails, the owner hears of it in the next turn of the loop."""
        context = self._context
        host = self.host
        upstream = self._connection.upstream
        if upstream.server_name:
            limit = None if context.timeouts is not None else MOST_HANDSHAKE
            self._handshake = UpstreamHandshake(
                self, self._connection, upstream.server_name, self._tls.context, context.turns, limit
            )
        # The protocol has a protocol's methods, all that asyncio needs.
        if host.startswith(UNIX):
            self._coroutine = context.loop.create_unix_connection(
                self._protocol,  # type: ignore[type-var]
                host[len(UNIX) :],
            )
        else:
            self._coroutine = context.loop.create_connection(
                self._protocol,  # type: ignore[type-var]
                host,
                upstream.port,
            )
        if context.timeouts is not None:
            context.timeouts.push(self)
        self._resume(None)

    def cancel(self) -> None:
        """No connection is needed any more."""
        self._owner = None
        if self._waiter is not None:
            self._waiter.cancel()  # or it is done, and `_resume` is on its way
        elif self._handshake is not None and self._coroutine is None:
            self._handshake.abort()

    def time_out(self) -> None:
        """The timeout has passed, and connects finished by then are known."""
        owner = self._owner
        if owner is not None:
            self.cancel()
            owner.connect_failed(self, self._context.timed_out(self._connection.upstream))

    def _protocol(self) -> UpstreamConnection | UpstreamHandshake:
        return self._connection if self._handshake is None else self._handshake

    def shaken(self, error: Exception | None) -> None:
        if self._coroutine is None:
            self._end(error)

    def _resume(self, waiter: "asyncio.Future[Any] | None") -> None:
        """Let the coroutine go on, as a Task would: what it awaited is done."""
        coroutine = self._coroutine
        assert coroutine is not None
        error: Exception | None = None
        try:
            awaited: asyncio.Future[Any] = coroutine.send(None)
        except StopIteration:
            handshake = self._handshake
            if handshake is not None:
                error = handshake.error
                if not handshake.is_over:
                    self._waiter = self._coroutine = None
                    if self._owner is None:
                        handshake.abort()
                    return
        except asyncio.CancelledError:  # by `cancel`
            self._waiter = self._coroutine = self._handshake = None
            return
        except Exception as raised:
            error = raised
        else:
            awaited.add_done_callback(self._resume)
            self._waiter = awaited
            if self._owner is None:
                awaited.cancel()
            return
        self._waiter = self._coroutine = None
        if waiter is None:
            self._context.loop.call_soon(self._end, error)
        else:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        connection = self._connection
        cells = connection.upstream.cells
        owner = self._owner
        self._owner = self._handshake = None
        if error is None:
            cells[UPSTREAM_CONNECTS] += 1
            if owner is None:  # cancelled between the connect and this call
                cells[CLOSE_COLUMN["expired"]] += 1
                connection.cancel()
            else:
                owner.connected(self, connection)
        elif owner is None:
            return
        elif isinstance(error, OSError):
            owner.connect_failed(self, self._classified(error))
        else:
            owner.connect_crashed(self, error)

    def _classified(self, error: OSError) -> DialFailure:
        """Count a failure by its reason."""
        upstream = self._connection.upstream
        if isinstance(error, TimeoutError):  # the kernel's own, which may be shorter
            return self._context.timed_out(upstream)
        cells = upstream.cells
        if upstream.server_name and is_of_handshake(error):
            cells[_TLS] += 1
            fault, text = trouble_of(error)
            return DialFailure(UPSTREAM_CERTIFICATE if fault.is_certificate else UPSTREAM_TLS, text)
        if isinstance(error, ConnectionRefusedError):
            cells[_REFUSALS] += 1
            return DialFailure(CONNECT_REFUSED, "connection refused")
        cells[_UNREACHABLE] += 1
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        outcome = Outcome.CANCELLED if error.errno in EXHAUSTED else Outcome.CONNECT_FAILED
        return DialFailure(CONNECT_FAILED, name, outcome)
