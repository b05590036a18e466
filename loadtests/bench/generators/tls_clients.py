"""Clients with TLS: each makes new connections with full handshakes; or they stay idle.

    python -m loadtests.bench.generators.tls_clients new PORT CLIENTS SECONDS
    python -m loadtests.bench.generators.tls_clients idle PORT CLIENTS

`new` prints {"requests", "seconds", "p50", "p99"} as JSON: requests on a connection of their own each, no
session resumed, and the times from the connect to the whole response. `idle` has each client make one
request, prints "holds", and stays until SIGTERM. Both exit 1 with a sentence if anything else than a 200
comes back.
"""

import json
import select
import signal
import socket
import ssl
import sys
import time

from loadtests.bench.tls import client
from loadtests.wrk import REQUEST_HEADERS

_TIMEOUT = 10.0
_LINES = "".join(f"{line}\r\n" for line in REQUEST_HEADERS)
_KEPT = f"GET / HTTP/1.1\r\n{_LINES}\r\n".encode()
_CLOSING = _KEPT.replace(b"keep-alive", b"close")


class Request:
    """One request on a connection of its own."""

    def __init__(self, port: int, context: ssl.SSLContext, epoll: select.epoll) -> None:
        self.begin = time.perf_counter()
        plain = socket.socket()
        plain.setblocking(False)
        plain.connect_ex(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, do_handshake_on_connect=False)
        self._epoll = epoll
        self._sent = False
        self._received = b""
        self.fd = self._socket.fileno()
        epoll.register(self.fd, select.EPOLLOUT)

    def goes_on(self) -> bool:
        """Do what can be done now; whether more is to come."""
        try:
            if not self._sent:
                self._socket.do_handshake()
                if self._socket.session_reused:
                    sys.exit("a session was resumed")
                self._socket.send(_CLOSING)
                self._sent = True
            while piece := self._socket.recv(65536):
                self._received += piece
        except ssl.SSLWantReadError:
            self._epoll.modify(self.fd, select.EPOLLIN)
            return True
        except ssl.SSLWantWriteError:
            self._epoll.modify(self.fd, select.EPOLLOUT)
            return True
        except OSError as error:
            sys.exit(f"a connection failed: {error}")
        if not self._received.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"not a 200: {self._received[:60]!r}")
        self._epoll.unregister(self.fd)
        self._socket.close()
        return False


def new(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Each client makes one request after the other."""
    context, epoll = client(), select.epoll()
    under_way: dict[int, Request] = {}
    times: list[float] = []
    begin = now = time.perf_counter()
    for _ in range(clients):
        one = Request(port, context, epoll)
        under_way[one.fd] = one
    while under_way:
        ready = epoll.poll(_TIMEOUT)
        if not ready:
            sys.exit(f"nothing came within {_TIMEOUT:.0f} s")
        for fd, _ in ready:
            if under_way[fd].goes_on():
                continue
            now = time.perf_counter()
            times.append(now - under_way.pop(fd).begin)
            if now < begin + seconds:
                one = Request(port, context, epoll)
                under_way[one.fd] = one
    times.sort()
    return {
        "requests": len(times),
        "seconds": now - begin,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
    }


def connected(port: int, count: int) -> list[ssl.SSLSocket]:
    """Keep-alive clients that have been served once."""
    context = client()
    found = []
    for _ in range(count):
        one = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT))
        one.sendall(_KEPT)
        if not (start := one.recv(65536)).startswith(b"HTTP/1.1 200 "):
            sys.exit(f"not a 200: {start[:60]!r}")
        found.append(one)
    return found


def main() -> None:
    """Do as the command line says."""
    kind, port, count, *rest = sys.argv[1:]
    if kind == "new":
        print(json.dumps(new(int(port), int(count), float(rest[0]))))
        return
    held = connected(int(port), int(count))
    print("holds", len(held), flush=True)
    signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main()
