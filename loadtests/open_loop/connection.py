"""One client connection on a raw non-blocking socket: one request at a time, and its response."""

import errno
import re
import socket
from enum import Enum, auto
from itertools import cycle

from loadtests.open_loop.records import Kind

HOST = "127.0.0.1"
MAX_READ = 65536
POST_BYTES = 256
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
# A closed connection's port is not free for a minute, and 4,000/s close. One address has too few of them:
# the kernel searches for longer and longer.
_SOURCES = cycle([f"127.1.0.{number}" for number in range(1, 65)])
_UNDER_WAY = (0, errno.EINPROGRESS)


class State(Enum):
    """The state of a connection."""

    CONNECTING = auto()
    BUSY = auto()  # the request is on the wire
    IDLE = auto()
    CLOSED = auto()


class Request:
    """A request in flight. `connection` is None once it has ended; times by the monotonic clock."""

    __slots__ = ("begun", "connection", "lag", "method", "number", "path")

    def __init__(self, number: int, method: str, path: str, begun: float, lag: float) -> None:
        self.number = number
        self.method = method
        self.path = path
        self.begun = begun
        self.lag = lag
        self.connection: Connection | None = None

    @property
    def body(self) -> bytes:
        """The required body of its response."""
        return b"%d" % self.number

    def encode(self) -> bytes:
        """The request as it is sent."""
        line = f"{self.method} {self.path}{self.number} HTTP/1.1\r\nHost: load.test\r\n"
        if self.method == "GET":
            return f"{line}Accept: */*\r\n\r\n".encode()
        return f"{line}Content-Length: {POST_BYTES}\r\n\r\n".encode() + self.body.ljust(POST_BYTES)


class Connection:
    """A socket and its state. Creating it raises `OSError` if this machine is out of files or ports.

    `client` is its own address, `127.1.0.5:40112`.
    """

    __slots__ = ("_received", "_socket", "client", "fd", "request", "state")

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self.request: Request | None = None
        self.state = State.CONNECTING
        self._received = b""
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        self._socket.bind((next(_SOURCES), 0))
        error = self._socket.connect_ex((HOST, port))
        if error not in _UNDER_WAY and error != errno.ECONNREFUSED:  # the poll reports a refusal
            self._socket.close()
            raise OSError(error, errno.errorcode[error])
        self.client = "{}:{}".format(*self._socket.getsockname())

    def send(self) -> bool:
        """Send the request; False if the connection is not yet made, or already closed."""
        assert self.request is not None
        try:
            self._socket.send(self.request.encode())
        except OSError:
            return False
        self.state = State.BUSY
        return True

    def receive(self) -> tuple[Kind, int] | None:
        """Read; returns the outcome of the request and its status, once known.

        Then the connection is idle or closed.
        """
        try:
            data = self._socket.recv(MAX_READ)
        except BlockingIOError:
            return None
        except OSError:
            return self._ended(broken=True)
        if not data:
            return self._ended(broken=False)
        self._received = received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        length = _LENGTH.search(received, 0, end)
        if length is None or len(received) < end + 4 + int(length[1]):
            return None
        outcome = self._judge(received, end)
        if _CLOSE.search(received, 0, end) or self.request is None:  # or an unrequested response
            self.close()
        else:
            self.state = State.IDLE
        self._received = b""
        return outcome

    def close(self) -> None:
        """Close the connection; the peer sees FIN."""
        self.state = State.CLOSED
        self._socket.close()

    def _ended(self, broken: bool) -> tuple[Kind, int]:
        received = self._received
        self.close()
        end = received.find(b"\r\n\r\n")
        if end >= 0 and not broken and not _LENGTH.search(received, 0, end):
            return self._judge(received, end)  # a response that ends with its connection, by a FIN
        return (Kind.CUT if received else Kind.RESET), 0

    def _judge(self, received: bytes, end: int) -> tuple[Kind, int]:
        status = int(received[9:12])
        if status != 200:
            return Kind.STATUS, status
        own = self.request is not None and received[end + 4 :].strip() == self.request.body
        return (Kind.OK if own else Kind.WRONG), status
