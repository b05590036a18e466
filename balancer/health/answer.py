"""The answer to one check (L5), as it comes off the wire: whole, or as much of it as a check reads.

The proxy's own reader tells it what came (`connections.roles.ResponseReader`): an app that is served must not
fail its checks for what its clients never see, and what clients never get must not pass.
"""

import asyncio
from collections.abc import Callable

from balancer.connections.response_framing import INFORMATIONAL_LIMIT
from balancer.connections.roles import Outlet, ResponseReader
from balancer.errors import UPGRADE_FAILED, UPSTREAM_CLOSED, Failure
from balancer.health.faults import fault_of, too_much
from balancer.health.result import Reply
from balancer.http.head import ResponseHead

# What is read for one check, in bytes: a response that has not begun by then has failed it, and of a body no
# more is looked at. There may be more than one head: informational ones come before the response.
READ_LIMIT = 128 * 1024
HEAD_LIMIT = 64 * 1024  # bytes of one head
COUNT_LIMIT = 1_000  # fields of one head
BODY_LIMIT = 64 * 1024  # bytes of a body that are kept, and searched


class Answer(ResponseReader):
    """Of one check.

    `done` gets what is wrong with it, or None: then `status` and `body` are the response's, and `whole` says
    that all of it was read. After that nothing changes any more.
    """

    __slots__ = ("_ended", "_informed", "_searched", "body", "bytes_read", "done", "status", "whole")

    def __init__(self, done: asyncio.Future[Reply | None], searched: bool, ended: Callable[[], None]) -> None:
        """`searched`: the body is asked for; `ended` is called at once when nothing changes any more."""
        self.done = done
        self._searched = searched
        self._ended = ended
        self._informed = 0
        self.bytes_read = 0  # of all that came, as it came
        self.status = 0
        self.body = b""
        self.whole = False

    @property
    def so_far(self) -> str:
        """What has come, for people; "" for nothing."""
        if self.status:
            return f"{self.status} and {_count(len(self.body), 'byte')} of its body"
        if self._informed:
            return _count(self._informed, "informational response")
        return f"{_count(self.bytes_read, 'byte')} of a head" if self.bytes_read else ""

    def enough(self) -> None:
        """As much has come as a check reads."""
        self._end(None if self.status else too_much(f"{READ_LIMIT // 1024} KiB"))

    def _end(self, fault: Reply | None) -> None:
        if not self.done.done():
            self.done.set_result(fault)
            self._ended()

    # --- as `ResponseReader`

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
        """The request is small: what the upstream does not take waits."""

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
