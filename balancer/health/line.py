"""The connection over which an upstream is checked (L5): the proxy's own kind, with a limit on what is read.

An upstream may send any amount of data, and the supervisor, which checks all upstreams, must not become late.
So a check reads READ_LIMIT bytes at most: then it stops reading, and the connection is closed.
"""

import asyncio

from balancer.connections.intake import Turns
from balancer.connections.roles import IdleOwner, UpstreamSide
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.health.answer import COUNT_LIMIT, HEAD_LIMIT, READ_LIMIT, Answer
from balancer.http.head_memory import ResponseHeads
from balancer.upstreams.upstream import Upstream

_NO_CELLS = memoryview(bytearray()).cast("q")


class Line(IdleOwner):
    """One connection: one check at a time, from `ask` to the end of its answer, or `hang_up`.

    It wraps the `UpstreamConnection`, which reads the responses, and owns it while it is idle.
    """

    __slots__ = ("_answer", "_connection", "_loop", "checks")

    def __init__(self, name: str, address: str, port: int, server_name: str, turns: Turns) -> None:
        self._loop = turns.loop
        upstream = Upstream(name, address, port, 1, _NO_CELLS)
        upstream.server_name = server_name
        self._connection = UpstreamConnection(
            upstream,
            self,
            turns,
            ResponseHeads(COUNT_LIMIT),
            HEAD_LIMIT,
            0,
        )
        self._answer: Answer | None = None
        self.checks = 0  # number of checks it was used for

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._connection.closed

    def ask(self, request: bytes, searched: bool) -> Answer:
        """Send `request`; the returned answer gets the response. `searched`: its body is needed."""
        self.checks += 1
        self._answer = answer = Answer(self._loop.create_future(), searched, self._ended)
        self._connection.send_rendered(answer, request)
        return answer

    def hang_up(self) -> None:
        """Close it at once."""
        self._answer = None
        if not self._connection.closed:
            self._connection.cancel()

    def _ended(self) -> None:
        """The answer is final: release the connection at once, not in the turn of the waiting task, as data
        that arrives in between belongs to no check and would be read."""
        answer, self._answer = self._answer, None
        connection = self._connection
        if answer is None or not answer.whole or not connection.release():
            self.hang_up()

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self._connection.data_received(data)
            return
        left = READ_LIMIT - answer.bytes_read
        answer.bytes_read += len(data)
        self._connection.data_received(data if len(data) <= left else data[:left])
        if answer.bytes_read >= READ_LIMIT:
            answer.enough()

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    # --- as `IdleOwner`

    def put(self, connection: UpstreamSide, now_ns: int) -> None:
        """Never called: the connection stays here."""

    def discard(self, connection: UpstreamSide, reason: str) -> None:
        """The upstream has closed it while it was idle, or sent data unasked."""
        self.hang_up()
