"""Request ids (X-Request-ID): the client's own, or one made here."""

from typing import Final

from balancer.http.request_head import RequestHead

_TWO_DIGITS: Final = [b"%02x" % number for number in range(256)]


class RequestIds:
    """Makes request ids: 16 hex digits of the worker, 12 of a counter. Unique, not secret."""

    __slots__ = ("_count", "_prefix", "_stem")

    def __init__(self, prefix: int) -> None:
        self._prefix = b"%016x" % prefix
        self._count = 0
        self._stem = b""  # the present id without its last two digits

    def of(self, head: RequestHead) -> bytes:
        """The client's own id if it sent a valid one, else a new one."""
        if head.request_id:
            return head.request_id
        self._count = count = self._count + 1
        low = count & 0xFF
        if not low or not self._stem:
            self._stem = b"%b%010x" % (self._prefix, count >> 8)
        return self._stem + _TWO_DIGITS[low]
