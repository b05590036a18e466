"""The answer to one check (L5), as received: whole, or as much of it as a check reads.

It is read by the proxy's own code (as a `connections.roles.ResponseReader`): a response passes a check only
if the proxy would pass it on to clients, and does not fail one for a reason that clients never see.
"""

import asyncio
from collections.abc import Callable

from balancer.connections.response_framing import INFORMATIONAL_LIMIT
from balancer.connections.roles import Outlet, ResponseReader
from balancer.errors import UPGRADE_FAILED, UPSTREAM_CLOSED, Failure
from balancer.health.faults import fault_of, too_much
from balancer.health.result import Reply
from balancer.http.response_head import ResponseHead

# Bytes read for one check: a response that has not begun by then fails it, and a longer body is cut off.
# There may be several heads: informational ones precede the response.
READ_LIMIT = 128 * 1024
HEAD_LIMIT = 64 * 1024  # bytes of one head
COUNT_LIMIT = 1_000  # fields of one head
BODY_LIMIT = 64 * 1024  # bytes of a body that are kept, and searched


class Answer(ResponseReader):
    """The answer to one check.

    `done` gets the fault, or None: then `status` and `body` are the response's, and `whole` says whether all
    of it was read. After that nothing changes any more.
    """

    __slots__ = ("_ended", "_informed", "_searched", "body", "bytes_read", "done", "status", "whole")

    def __init__(self, done: asyncio.Future[Reply | None], searched: bool, ended: Callable[[], None]) -> None:
        """`searched`: the body is needed; `ended` is called at once when the answer is final."""
        self.done = done
        self._searched = searched
        self._ended = ended
        self._informed = 0
        self.bytes_read = 0  # bytes received, heads and framing included
        self.status = 0
        self.body = b""
        self.whole = False

    @property
    def so_far(self) -> str:
        """What has arrived, for people; "" for nothing."""
        if self.status:
            return f"{self.status} and {_count(len(self.body), 'byte')} of its body"
        if self._informed:
            return _count(self._informed, "informational response")
        return f"{_count(self.bytes_read, 'byte')} of a head" if self.bytes_read else ""

    def enough(self) -> None:
        """READ_LIMIT bytes have arrived."""
        self._end(None if self.status else too_much(f"{READ_LIMIT // 1024} KiB"))

    def _end(self, fault: Reply | None) -> None:
        if not self.done.done():
            self.done.set_result(fault)
            self._ended()

    # --- the connection's calls (ResponseReader)

    def informational(self, head: ResponseHead) -> None:
        self._informed += 1

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        if self.done.done():
            return
        self.status = head.status
        if not self._searched and head.length > BODY_LIMIT:
            self._end(None)
        else:
            self.response_body(body, last, b"")

    def response_body(self, body: bytes, last: bool, trailers: bytes) -> None:
        if self.done.done():
            return
        self.body += body[: BODY_LIMIT - len(self.body)]
        self.whole = last
        if last or len(self.body) == BODY_LIMIT:
            self._end(None)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        if self.done.done():
            return
        if failure is UPGRADE_FAILED:
            self.status = 101
            self._end(None)
        elif failure is UPSTREAM_CLOSED and self.bytes_read:
            self._end(fault_of(failure, f"{detail}, after {self.so_far}"))
        elif self._informed == INFORMATIONAL_LIMIT:
            self._end(too_much(f"more than {_count(INFORMATIONAL_LIMIT, 'informational response')}"))
        else:
            self._end(fault_of(failure, detail))

    def crashed(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)
            self._ended()

    def outlet(self) -> Outlet | None:
        return None

    def upstream_paused(self, paused: bool) -> None:
        """Ignored: the request is small, so unsent bytes may wait in memory."""

    def switched(self, head: ResponseHead, data: bytes) -> None:
        """Never: no check asks for an upgrade."""

    def tunnel_data(self, data: bytes) -> None:
        """Never."""

    def tunnel_half_closed(self) -> None:
        """Never."""

    def tunnel_ended(self) -> None:
        """Never."""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
