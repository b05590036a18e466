"""The control channel (L7): a line per message over a socketpair, the same class at both ends."""

import asyncio
import socket
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from balancer.errors import BalancerError
from balancer.messages import Message, wire_form
from balancer.spec.part import DecodeError, Decoder, ShapeError

HeardT = TypeVar("HeardT", bound=Message)

MAX_LINE = 16 << 20
MAX_BUFFERED = 8 << 20


class ChannelError(BalancerError):
    """The other end sent something that is not a message; the channel is closed."""


class LineSplitter:
    """Splits a stream of bytes into lines, whatever pieces the bytes arrive in."""

    __slots__ = ("_held", "_max_line", "_pieces")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._pieces: list[bytes] = []  # the unfinished line
        self._held = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without newline. Raises ChannelError if one is too long."""
        *complete, rest = data.split(b"\n")
        if complete and self._pieces:
            complete[0] = b"".join((*self._pieces, complete[0]))
            self._pieces.clear()
            self._held = 0
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        if self._held > self._max_line or any(len(line) > self._max_line for line in complete):
            raise ChannelError(f"a message is longer than {self._max_line} bytes")
        return complete


class Channel(asyncio.Protocol, Generic[HeardT]):
    """One end. `on_message` gets each message; `on_lost` is called once, when the channel has ended. An
    exception in `on_message` is a bug, as is JSON that is not a message: `on_error` is called with what it
    was about, and later messages are still processed.

    Messages sent while more than `MAX_BUFFERED` bytes wait are dropped: the other end has stopped reading,
    and memory must not grow because of that.
    """

    def __init__(
        self,
        decoder: Decoder[HeardT],
        on_message: Callable[[HeardT], None],
        on_lost: Callable[[], None],
        on_error: Callable[[str, Exception], None],
    ) -> None:
        """`decoder` knows the messages that this end may receive (`messages`)."""
        self._decoder = decoder
        self._on_message = on_message
        self._on_error = on_error
        self._on_lost = on_lost
        self._splitter = LineSplitter()
        self._transport: asyncio.Transport | None = None

    async def open(self, sock: socket.socket) -> None:
        """Take over `sock` and start reading."""
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self, sock=sock)

    def send(self, message: Message) -> bool:
        """Queue a message; False if it was dropped (channel ended or full, message too long)."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > MAX_BUFFERED:
            return False
        line = wire_form(message)
        if len(line) >= MAX_LINE:
            return False
        transport.write(line + b"\n")
        return True

    def close(self) -> None:
        """End the channel once what was sent is written; `on_lost` follows."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the channel and drop what was not written yet; `on_lost` follows."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Pass on the messages that `data` completes; anything but JSON ends the channel."""
        try:
            heard = [self._decode(line) for line in self._splitter.feed(data)]
        except (ChannelError, DecodeError):
            self.abort()
            return
        for message in heard:
            if isinstance(message, ShapeError):
                self._on_error("of unknown kind", message)
                continue
            try:
                self._on_message(message)
            except Exception as error:
                self._on_error(type(message).__name__, error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone, or this one has closed."""
        self._transport = None
        self._on_lost()

    def _decode(self, line: bytes) -> HeardT | ShapeError:
        try:
            return self._decoder.decode(line)
        except ShapeError as error:
            return error
