"""What OpenSSL does for one connection (L3): bytes in, bytes out, no socket and no transport.

It takes what has arrived from a memory BIO, and leaves what is to be sent in another one. All connections
share these two, as both are empty between two calls: a BIO keeps room for the most that was ever in it.
"""

import ssl
from contextlib import suppress
from typing import Any, Final

_RECORD: Final = 16 * 1024  # bytes of data in a record, at most (RFC 8446 section 5.1)
# Decrypted by one call: as small as can be, they take 0.6 ms. As large as can be, they are more than is read
# at once.
_MOST_RECORDS: Final = 256

_incoming: Final = ssl.MemoryBIO()
_outgoing: Final = ssl.MemoryBIO()


class TlsSession:
    """`unread` is encrypted, and left for the next call; `reply` is to be sent. `ended`: the peer has sent a
    close_notify. `error`: it has broken the protocol, of which the reply tells it, or has said that we have.
    """

    __slots__ = ("_tls", "ended", "error", "reply", "unread")

    def __init__(self, context: ssl.SSLContext, server_side: bool, host: str | None = None) -> None:
        """`host` is the name of the server, if that is the peer."""
        self._tls = context.wrap_bio(_incoming, _outgoing, server_side=server_side, server_hostname=host)
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
        if data:
            _incoming.write(data)
        try:
            found = tls.read(_RECORD)
            if not found:
                self.ended = True
            elif _incoming.pending:
                pieces = [found]
                while len(pieces) < _MOST_RECORDS:
                    piece = tls.read(_RECORD)
                    if not piece:
                        self.ended = True
                        break
                    pieces.append(piece)
                    if not _incoming.pending:
                        break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        finally:
            self._settle()
        return found if pieces is None else b"".join(pieces)

    def decrypt_into(self, data: bytes | memoryview, view: memoryview) -> int:
        """As `decrypt`, but into `view`, which may be too small for all; returns how many bytes there are."""
        tls: Any = self._tls  # whose `read` returns a number, where there is a buffer
        size = len(view)
        filled = 0
        if data:
            _incoming.write(data)
        try:
            for _ in range(_MOST_RECORDS):
                count: int = tls.read(size - filled, view[filled:])
                if not count:
                    self.ended = True
                    break
                filled += count
                if filled == size or not (_incoming.pending or tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error
        finally:
            self._settle()
        return filled

    def has_more(self) -> bool:
        """Whether there is something to be decrypted without more from the peer, or about its end."""
        return self.unread != b"" or self.ended or self._tls.pending() > 0

    def encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        """Some data, not b"", in records. Raises ssl.SSLError."""
        self._tls.write(data)
        return _outgoing.read()

    def end(self) -> bytes:
        """A close_notify. The peer's may be still to come."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        return _outgoing.read()

    def _settle(self) -> None:
        """Empty what is shared."""
        self.unread = _incoming.read() if _incoming.pending else b""
        if _outgoing.pending:
            self.reply += _outgoing.read()

    def take_reply(self) -> bytes:
        """What is to be sent, at once."""
        reply, self.reply = self.reply, b""
        return reply
