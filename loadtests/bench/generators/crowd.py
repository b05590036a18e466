"""Thousands of clients at once: all connect, then all send a request at the same time; or they stay idle.

    python -m loadtests.bench.generators.crowd burst|idle PORT CLIENTS

`burst` prints {"seconds", "served", "refused"} as JSON: the time until the last client has its response, and
how many got something other than a whole 200. `idle` has each client make one request, prints "holds", and
stays until SIGTERM.
"""

import json
import select
import signal
import socket
import sys
import time

from loadtests.wrk import REQUEST_HEADERS

LIMIT = 30.0  # seconds until a client without a response counts as refused
SETTLE = 1.0  # seconds in which the proxy accepts the last ones
AT_ONCE = 200  # connections under way, fewer than any listen queue takes
_REQUEST = f"GET / HTTP/1.1\r\n{''.join(line + chr(13) + chr(10) for line in REQUEST_HEADERS)}\r\n".encode()


class Crowd:
    """Connected clients."""

    def __init__(self, port: int, count: int) -> None:
        self._clients: dict[int, socket.socket] = {}
        while len(self._clients) < count:
            self._connect(port, min(AT_ONCE, count - len(self._clients)))

    def _connect(self, port: int, count: int) -> None:
        epoll = select.epoll()
        under_way = {}
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            under_way[one.fileno()] = one
            epoll.register(one, select.EPOLLOUT | select.EPOLLONESHOT)
        deadline = time.monotonic() + LIMIT
        while under_way and time.monotonic() < deadline:
            for fd, _ in epoll.poll(1.0):
                one = under_way.pop(fd)
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    sys.exit("a client could not connect")
                self._clients[fd] = one
        if under_way:
            sys.exit(f"{len(under_way)} clients could not connect within {LIMIT:.0f} s")
        epoll.close()

    def ask(self, at_once: int) -> dict[str, float]:
        """Every client makes one request, at most `at_once` at a time."""
        epoll = select.epoll()
        for one in self._clients.values():
            epoll.register(one, select.EPOLLIN)
        waiting = list(self._clients.values())
        received: dict[int, bytearray] = {}
        refused = served = 0
        begin = time.perf_counter()
        now = begin
        while (waiting or received) and now < begin + LIMIT:
            while waiting and len(received) < at_once:
                one = waiting.pop()
                received[one.fileno()] = bytearray()
                one.send(_REQUEST)
            for fd, _ in epoll.poll(1.0, 1024):
                ended = self._read(fd, received)
                if ended is not None:
                    del received[fd]
                    served, refused = served + ended, refused + (not ended)
                    if not ended:
                        epoll.unregister(fd)
            now = time.perf_counter()
        seconds = now - begin
        return {"seconds": seconds, "served": served, "refused": refused + len(received) + len(waiting)}

    def _read(self, fd: int, received: dict[int, bytearray]) -> bool | None:
        """Whether the response is good, None if it is incomplete."""
        try:
            data = self._clients[fd].recv(65536)
        except OSError:
            data = b""
        whole = received.get(fd)
        if not data or whole is None:
            if whole is None:
                sys.exit("a client that waits for no response was closed or got one")
            return False
        whole += data
        head, end, body = bytes(whole).partition(b"\r\n\r\n")
        if not end:
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            return False
        _, found, length = head.lower().partition(b"\r\ncontent-length:")
        return True if found and len(body) >= int(length.split(b"\r\n")[0]) else None


def main() -> None:
    """Do as the command line says."""
    kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    crowd = Crowd(port, count)
    time.sleep(SETTLE)
    if kind == "burst":
        print(json.dumps(crowd.ask(count)))
        return
    seen = crowd.ask(64)
    if seen["refused"]:
        sys.exit(f"{seen['refused']} of {count} clients were refused")
    print("holds", flush=True)
    signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main()
