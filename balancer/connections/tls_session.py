"""What OpenSSL does for one connection (L3): bytes in, bytes out, no socket and no transport.

It takes what has arrived from a memory BIO, and leaves what is to be sent in another one. All connections
share these two, as both are empty between two calls: a BIO keeps room for the most that was ever in it.
"""

import ssl
from contextlib import suppress
from typing import Any, Final

_RECORD: Final = 16 * 1024  # bytes of data in a record, at most (RFC 8446 section 5.1)
_HEADER: Final = 5  # bytes of its header: type, version, length
# Decrypted by one call. With as little data as can be they take 0.6 ms, and as KeyUpdates 6 ms. As large as
# can be, they are more than is read at once.
_MOST_RECORDS: Final = 256

_incoming: Final = ssl.MemoryBIO()
_outgoing: Final = ssl.MemoryBIO()


class TlsSession:
    """`unread` is encrypted, and left for the next call; `reply` is to be sent. `ended`: the peer has sent a
    close_notify. `error`: it has broken the protocol, of which the reply tells it, or has said that we have.
    """

    __slots__ = ("_header", "_missing", "_tls", "ended", "error", "reply", "unread")

    def __init__(self, context: ssl.SSLContext, server_side: bool, host: str | None = None) -> None:
        """`host` is the name of the server, if that is the peer."""
        self._tls = context.wrap_bio(_incoming, _outgoing, server_side=server_side, server_hostname=host)
        self._missing = 0  # bytes of a record that has begun, which are still to come
        self._header = b""  # as much as has come of the next one's header
        self.unread = b""
        self.reply = b""
        self.ended = False
        self.error: Exception | None = None

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For what it knows, not for reading or writing."""
        return self._tls

    def shake_hands(self, data: bytes) -> bool:
        """Go on with `data` from the peer, b"" for a first step of ours; returns whether that is all. Raises
        ssl.SSLError if there will be no connection. There may be a reply in any case."""
        _incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._settle()
        return True

    def decrypt(self, data: bytes) -> bytes:
        """The data in the records that `data` completes, or in some of them; b"" if there is none."""
        tls = self._tls
        found = b""
        pieces: list[bytes] | None = None
        later = self._feed(data) if data else b""
        try:
            found = tls.read(_RECORD)
            if not found:
                self.ended = True
            elif _incoming.pending:
                pieces = [found]
                while _incoming.pending:
                    piece = tls.read(_RECORD)
                    if not piece:
                        self.ended = True
                        break
                    pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        finally:
            self._settle(later)
        return found if pieces is None else b"".join(pieces)

    def decrypt_into(self, data: bytes | memoryview, view: memoryview) -> int:
        """As `decrypt`, but into `view`, which may be too small for all; returns how many bytes there are."""
        tls: Any = self._tls  # whose `read` returns a number, where there is a buffer
        size = len(view)
        filled = 0
        later = self._feed(data) if data else b""
        try:
            while filled < size:
                count: int = tls.read(size - filled, view[filled:])
                if not count:
                    self.ended = True
                    break
                filled += count
                if not (_incoming.pending or tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        finally:
            self._settle(later)
        return filled

    def has_more(self) -> bool:
        """Whether there is something to be decrypted without more from the peer, or about its end."""
        return self.unread != b"" or self.ended or self._tls.pending() > 0

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Some data, not b"", in records. Raises ssl.SSLError."""
        try:
            self._tls.write(data)
        except BaseException:
            _outgoing.read()  # no other connection may send it
            raise
        return _outgoing.read()

    def end(self) -> bytes:
        """A close_notify. The peer's may be still to come."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        return _outgoing.read()

    def _feed(self, data: bytes | memoryview) -> bytes:
        """Have OpenSSL read the first records of `data`; returns those that are too many.

        They are counted here, as it also takes all that have no data, such as KeyUpdates, in one call.
        """
        size = len(data)
        at = self._missing  # where the next record begins
        if self._header:
            header = self._header + bytes(data[:_HEADER])
            if len(header) < _HEADER:
                self._header = header
                _incoming.write(data)
                return b""
            at = _HEADER + (header[3] << 8) + header[4] - len(self._header)
            self._header = b""
        last = size - _HEADER
        count = 0
        while at <= last and count < _MOST_RECORDS:
            at += _HEADER + (data[at + 3] << 8) + data[at + 4]
            count += 1
        if at <= last:
            _incoming.write(data[:at])
            return bytes(data[at:])
        self._missing = max(at - size, 0)
        if at < size:
            self._header = bytes(data[at:])
        _incoming.write(data)
        return b""

    def _settle(self, later: bytes = b"") -> None:
        """Empty what is shared. `later` was not fed."""
        if _incoming.pending:  # records that are whole, or not begun
            later = _incoming.read() + later
        self.unread = later
        if later:
            self._missing = 0
            self._header = b""
        if _outgoing.pending:
            self.reply += _outgoing.read()

    def take_reply(self) -> bytes:
        """What is to be sent, at once."""
        reply, self.reply = self.reply, b""
        return reply
