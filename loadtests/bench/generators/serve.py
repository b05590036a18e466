"""An origin on raw sockets: reads whole requests, or switches to WebSocket and returns messages.

    python -m loadtests.bench.generators.serve reading|echo BODY PORT ...

Answers `BODY` bytes on every port of 127.0.0.1. A message is MESSAGE bytes in one masked frame; the answer is
the same without the mask, which must be zeros.
"""

import select
import signal
import socket
import sys

from loadtests.bench.generators.frames import ECHO, FRAME, SWITCHED

_BUFFER = 1 << 20


class Origin:
    """All connections by descriptor, with how many bytes each still expects."""

    def __init__(self, switches: bool, body: int, ports: list[int]) -> None:
        self._switches = switches
        head = f"HTTP/1.1 200 OK\r\nServer: app\r\nContent-Type: text/plain\r\nContent-Length: {body}\r\n\r\n"
        self._response = head.encode() + b"x" * body
        self._epoll = select.epoll()
        self._listeners = {}
        self._open: dict[int, socket.socket] = {}
        self._missing: dict[int, int] = {}  # bytes of the request body or message
        self._heads: dict[int, bytes] = {}  # incomplete ones
        self._switched: set[int] = set()
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        for port in ports:
            listener = socket.create_server(("127.0.0.1", port), backlog=4096)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = listener
            self._epoll.register(listener, select.EPOLLIN)

    def serve(self) -> None:
        """Serve until the process ends."""
        while True:
            for fd, _ in self._epoll.poll():
                listener = self._listeners.get(fd)
                if listener is not None:
                    self._accept(listener)
                elif not self._read(fd):
                    self._epoll.unregister(fd)
                    self._open.pop(fd).close()
                    for state in (self._missing, self._heads):
                        state.pop(fd, None)
                    self._switched.discard(fd)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN)

    def _read(self, fd: int) -> bool:
        """Read once and answer what is complete; whether the connection goes on."""
        connection = self._open[fd]
        try:
            size = connection.recv_into(self._buffer)
            if size == 0:
                return False
            if fd in self._switched:
                self._returns(connection, size)
            elif self._missing.get(fd, 0) > 0:
                self._body(connection, size)
            else:
                self._head(connection, self._heads.pop(fd, b"") + bytes(self._view[:size]))
        except OSError:
            return False
        return True

    def _head(self, connection: socket.socket, data: bytes) -> None:
        fd = connection.fileno()
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._heads[fd] = data
            return
        lowered = head.lower()
        if self._switches and b"\r\nupgrade: websocket" in lowered:
            self._switched.add(fd)
            self._missing[fd] = FRAME
            connection.sendall(SWITCHED)
            return
        _, found, length = lowered.partition(b"\r\ncontent-length:")
        self._missing[fd] = int(length.split(b"\r\n")[0]) if found else 0
        self._body(connection, len(rest))

    def _body(self, connection: socket.socket, size: int) -> None:
        fd = connection.fileno()
        self._missing[fd] -= size
        if self._missing[fd] <= 0:
            connection.sendall(self._response)

    def _returns(self, connection: socket.socket, size: int) -> None:
        fd = connection.fileno()
        missing = self._missing[fd] - size
        while missing <= 0:
            connection.sendall(ECHO)
            missing += FRAME
        self._missing[fd] = missing


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    kind, size, *numbers = sys.argv[1:]
    Origin(kind == "echo", int(size), [int(number) for number in numbers]).serve()
