"""WebSocket clients, each of which sends its next message when the last one has come back.

    python -m loadtests.bench.generators.messages PORT CONNECTIONS SECONDS

Prints {"messages", "seconds", "p50", "p99"} as JSON; exits 1 with a sentence if anything else comes back.
"""

import json
import select
import socket
import sys
import time

from loadtests.bench.generators.frames import ECHO, QUESTION, UPGRADE


def clients(port: int, count: int) -> dict[int, socket.socket]:
    """Connections switched to WebSocket, by descriptor."""
    found = {}
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), timeout=10.0)
        one.sendall(UPGRADE)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = one.recv(4096)
            if not piece:
                sys.exit("closed before the switch")
            head += piece
        if not head.startswith(b"HTTP/1.1 101 "):
            sys.exit(f"not switched: {head[:60]!r}")
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        found[one.fileno()] = one
    return found


def run(port: int, count: int, seconds: float) -> dict[str, float]:
    """Send and receive for some seconds."""
    connections = clients(port, count)
    epoll = select.epoll()
    received = dict.fromkeys(connections, b"")
    sent: dict[int, float] = {}
    times: list[float] = []
    begin = time.perf_counter()
    for fd, one in connections.items():
        epoll.register(fd, select.EPOLLIN)
        sent[fd] = time.perf_counter()
        one.send(QUESTION)
    end = begin + seconds
    now = begin
    while now < end:
        for fd, _ in epoll.poll(1.0):
            one = connections[fd]
            data = one.recv(65536)
            if not data:
                sys.exit("a tunnel was closed")
            if len(data) < len(ECHO):
                data = received[fd] = received[fd] + data
            now = time.perf_counter()
            if data == ECHO:
                received[fd] = b""
                times.append(now - sent[fd])
                sent[fd] = now
                if one.send(QUESTION) != len(QUESTION):
                    sys.exit("a message did not fit the socket's buffer")
            elif not ECHO.startswith(data):
                sys.exit("what came back is not what was sent")
        now = time.perf_counter()
        if not times and now > begin + 5.0:
            sys.exit("no message came back within 5 s")
    times.sort()
    if not times:
        sys.exit("no message came back")
    return {
        "messages": len(times),
        "seconds": now - begin,
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
