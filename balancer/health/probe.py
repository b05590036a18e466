"""One check of one upstream (L5): a GET over a kept connection, read as the proxy reads responses."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from balancer.clock import SystemClock
from balancer.connections.intake import Turns
from balancer.connections.upstream_handshake import HandshakeOwner, UpstreamHandshake
from balancer.connections.upstream_tls import UpstreamTls
from balancer.errors import LOOP_DETECTED
from balancer.health.answer import Answer
from balancer.health.check_sink import Checked
from balancer.health.faults import not_connected
from balancer.health.judging import judge
from balancer.health.line import Line
from balancer.health.request import render_check
from balancer.health.result import Reply, Result
from balancer.health.room import Room, Tenant
from balancer.spec.instance import CheckSpec
from balancer.spec.tls import UpstreamTlsSpec
from balancer.upstreams.upstream import UNIX

# After this many checks a fresh connection is made, to notice a replica that serves only its old connections.
# The old one is closed first: if no new one can be made, the following checks fail too.
CHECKS_PER_CONNECTION = 10


class Probe(Protocol):
    """The checks of one upstream, one at a time."""

    @property
    def so_far(self) -> str:
        """What has arrived of the running check's answer, for people; "" for nothing."""

    async def check(self, address: str, port: int) -> Reply:
        """Make one check; cancelling it ends it at once. Raises only on a bug."""

    async def close(self) -> None:
        """Close its connection."""


OpenProbe: TypeAlias = Callable[[Checked, CheckSpec], Probe]


class _Shaken(HandshakeOwner):
    """`over` is why there is no TLS connection, None if there is one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.over: asyncio.Future[Exception | None] = loop.create_future()

    def shaken(self, error: Exception | None) -> None:
        if not self.over.done():  # else cancelled
            self.over.set_result(error)


class HttpProbe(Tenant):
    """Checks one upstream by HTTP, on a connection of its own.

    A response must be complete to pass, as far as a check reads (`answer`). Redirects are not followed,
    cookies not kept, and bodies not decoded. If the upstream closes a kept connection just as it is used,
    that is no failure: the check is repeated on a fresh one.
    """

    __slots__ = ("_answer", "_line", "_loop", "_name", "_request", "_room", "_server_name", "_settings",
                 "_tls", "_turns", "_via", "_where")  # fmt: skip

    def __init__(
        self,
        upstream: Checked,
        settings: CheckSpec,
        via: str,
        tls: UpstreamTls,
        room: Room,
        turns: Turns,
    ) -> None:
        self._name = upstream.id
        self._server_name = upstream.server_name
        self._tls = tls
        self._room = room
        self._settings = settings
        self._via = via.encode()
        self._turns = turns
        self._loop = turns.loop
        self._request = render_check(upstream.id, settings, via)
        self._where: tuple[str, int] = ("", 0)
        self._line: Line | None = None
        self._answer: Answer | None = None

    @property
    def so_far(self) -> str:
        """What has arrived of the running check's answer, for people; "" for nothing."""
        return self._answer.so_far if self._answer is not None else ""

    async def check(self, address: str, port: int) -> Reply:
        """Make one check of the app on `port` of the IP address `address`."""
        if not self._room.enter(self):
            return Reply(Result.NOT_MADE, 0, "no check could be made (too many are waiting for a response)")
        try:
            return await self._check(address, port)
        finally:
            self._room.leave(self, keeps=self._line is not None)

    async def _check(self, address: str, port: int) -> Reply:
        if (address, port) != self._where:
            self.hang_up()
            self._where = (address, port)
        line = self._line
        if line is not None and (line.closed or line.checks == CHECKS_PER_CONNECTION):
            self.hang_up()
        if self._line is not None:
            reply = await self._ask(self._line, kept=True)
            if reply is not None:
                return reply
        try:
            self._line = line = await self._dial(address, port)
        except OSError as error:
            where = address if address.startswith(UNIX) else f"{address}:{port}"
            return not_connected(error, where, by_tls=bool(self._server_name))
        reply = await self._ask(line, kept=False)
        assert reply is not None
        return reply

    async def close(self) -> None:
        """Close its connection."""
        self._room.closed(self)
        self.hang_up()

    def hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.hang_up()

    async def _dial(self, address: str, port: int) -> Line:
        def line() -> Line:
            return Line(self._name, address, port, self._server_name, self._turns)

        if address.startswith(UNIX):
            _, made = await self._loop.create_unix_connection(line, address[len(UNIX) :])  # type: ignore[type-var]
        elif self._server_name:
            made = line()
            shaken = _Shaken(self._loop)
            handshake = UpstreamHandshake(
                shaken, made, self._server_name, self._tls.context, self._turns, None
            )
            await self._loop.create_connection(lambda: handshake, address, port)  # type: ignore[type-var]
            try:
                error = await shaken.over
            except asyncio.CancelledError:
                handshake.abort()
                raise
            if error is not None:
                raise error
        else:
            _, made = await self._loop.create_connection(line, address, port)  # type: ignore[type-var]
        return made

    async def _ask(self, line: Line, kept: bool) -> Reply | None:
        """None if a `kept` connection was closed just as it was used."""
        self._answer = answer = line.ask(self._request, searched=bool(self._settings.body))
        try:
            fault = await answer.done
        finally:
            self._answer = None
            if not answer.whole or line.closed:
                self.hang_up()
        if fault is not None:
            return None if kept and fault.result is Result.CLOSED and not answer.bytes_read else fault
        settings, status = self._settings, answer.status
        if status == LOOP_DETECTED.status and self._via and self._via in answer.body:
            return Reply(Result.LOOP, status, f"{status} on {settings.shown_path}")
        return judge(settings, status, answer.body)


class Probes:
    """Opens the probes of one instance, in the running event loop. `via`: the instance's name in Via, "" for
    no Via; `most`: how many connections they may have together; `tls`: how each pool speaks TLS;
    others verify by the system's authorities."""

    def __init__(
        self, via: str = "", most: int = 1 << 30, tls: Mapping[str, UpstreamTlsSpec] | None = None
    ) -> None:
        self._via = via
        self._default = UpstreamTls(UpstreamTlsSpec(verify=True))
        self._tls = {pool: UpstreamTls(spec) for pool, spec in (tls or {}).items()}
        self._room = Room(most)
        self._turns = Turns(asyncio.get_running_loop(), SystemClock())  # of all their connections

    def update(self, pool: str, tls: UpstreamTlsSpec) -> None:
        """A pool speaks TLS otherwise. Raises ssl.SSLError; nothing has changed then."""
        if pool in self._tls:
            self._tls[pool].update(tls)
        else:
            self._tls[pool] = UpstreamTls(tls)

    def __call__(self, upstream: Checked, settings: CheckSpec) -> HttpProbe:
        tls = self._tls.get(upstream.pool, self._default)
        return HttpProbe(upstream, settings, self._via, tls, self._room, self._turns)
