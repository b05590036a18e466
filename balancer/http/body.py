"""Decodes a message body, by length or chunked, fed in pieces of any size."""

from balancer.errors import Failure
from balancer.http.chunked import ChunkedDecoder, body_too_large
from balancer.http.framing import CHUNKED


class LengthDecoder:
    """Counts a body of known length; has the interface of `ChunkedDecoder`."""

    __slots__ = ("_left", "done", "more", "surplus", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = False
        self.more = False
        self.surplus = b""
        self.trailers = b""

    @property
    def pending(self) -> int:
        """Nothing waits to be decoded."""
        return 0

    def feed(self, data: bytes) -> bytes:
        """The part of `data` that belongs to the body."""
        left = self._left
        size = len(data)
        self._left = left - size
        if size < left:
            return data
        self.done = True
        if size == left:
            return data
        self.surplus = data[left:]
        return data[:left]


BodyDecoder = LengthDecoder | ChunkedDecoder


def body_decoder(length: int, failure: Failure, trailers_limit: int, payload_limit: int) -> BodyDecoder:
    """A decoder for `length` from `framing`: bytes, or CHUNKED; the rest as for `ChunkedDecoder`.

    Raises ProtocolError if the length alone exceeds the limit.
    """
    if length == CHUNKED:
        return ChunkedDecoder(failure, trailers_limit, payload_limit)
    if payload_limit and length > payload_limit:
        raise body_too_large(payload_limit)
    return LengthDecoder(length)
