"""The app replica: it serves good requests at once, and has paths with hostile or merely odd responses.

    python -m loadtests.hostile.replica HOST PORT

Each connection has its own thread, so that an endless response does not block the others.
"""

import re
import socket
import sys
import threading
import time
from contextlib import suppress

from loadtests.hostile.attacks import (
    EXTENDED,
    HINTS,
    LARGE,
    MIXED,
    SINK,
    SMALL,
    STUCK,
    TINY,
    UNBOUNDED,
    WORK,
    WORK_SECONDS,
)
from loadtests.stage import READY

BACKLOG = 4096
BODY_BYTES = 100
LARGE_BYTES = 64 << 20
_BLOB_BYTES = 1 << 18
_READ = 1 << 18
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_ANSWER = b"HTTP/1.1 200 OK\r\n"


def _chunk(size: int, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (size, extension, b"a" * size)


def _blob(unit: bytes) -> bytes:
    return unit * (_BLOB_BYTES // len(unit))


# Path: the head, and what follows endlessly.
ENDLESS = {
    TINY: (b"Transfer-Encoding: chunked\r\n\r\n", _blob(_chunk(1))),
    MIXED: (b"Transfer-Encoding: chunked\r\n\r\n", _blob(_chunk(1) + _chunk(2) + _chunk(3))),
    SMALL: (b"Transfer-Encoding: chunked\r\n\r\n", _blob(_chunk(64))),
    EXTENDED: (b"Transfer-Encoding: chunked\r\n\r\n", _blob(_chunk(1024, b";x=" + b"y" * 997))),
    UNBOUNDED: (b"Connection: close\r\n\r\n", _blob(b"a")),
    LARGE: (b"Content-Length: %d\r\n\r\n" % LARGE_BYTES, _blob(b"a")),
}
_HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


class Connection:
    """One connection, served to its end by its own thread."""

    def __init__(self, peer: socket.socket) -> None:
        self._socket = peer
        self._received = b""

    def serve(self) -> None:
        """Answer requests until one side closes."""
        with self._socket, suppress(OSError, EOFError):
            while True:
                self._answer()

    def _answer(self) -> None:
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._more()
        head, self._received = self._received[:end], self._received[end + 4 :]
        path = head.split(b" ", 2)[1].decode("latin-1")
        if path in ENDLESS:
            fields, blob = ENDLESS[path]
            self._socket.sendall(_ANSWER + fields)
            self._send_on(blob, LARGE_BYTES if path == LARGE else 0)
        elif path == HINTS:
            self._send_on(_blob(_HINT), 0)
        elif path == STUCK:
            threading.Event().wait(3600.0)  # the balancer ends it, or the process ends
        else:
            self._read_body(head, drains=path == SINK)
            if path.startswith(WORK):
                time.sleep(WORK_SECONDS)
            body = path.rpartition("/")[2].encode().ljust(BODY_BYTES) or b"ok"
            if path == "/":
                body = b"ok"
            self._socket.sendall(_ANSWER + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _read_body(self, head: bytes, drains: bool) -> None:
        length = _LENGTH.search(head)
        if _CHUNKED.search(head) or (drains and length):
            while True:  # of an attack: endless
                self._received = b""
                self._more()
        size = int(length[1]) if length else 0
        while len(self._received) < size:
            self._more()
        self._received = self._received[size:]

    def _send_on(self, blob: bytes, most: int) -> None:
        sent = 0
        while not most or sent < most:
            self._socket.sendall(blob)
            sent += len(blob)

    def _more(self) -> None:
        data = self._socket.recv(_READ)
        if not data:
            raise EOFError
        self._received += data


def main() -> None:
    """The process."""
    host, port = sys.argv[1:]
    threading.stack_size(256 << 10)
    with socket.create_server((host, int(port)), backlog=BACKLOG) as listening:
        print(f"{READY}{host}:{port}", flush=True)
        while True:
            peer, _ = listening.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Connection(peer).serve, daemon=True).start()


if __name__ == "__main__":
    main()
