"""The app replica that fails on the wire: raw asyncio, as an HTTP server would correct half of the faults.

    python -m loadtests.faults.replica HOST PORT CONTROL_SOCKET LEDGER

It serves GET and POST with a Content-Length; `/health` is the check's path. SIGTERM ends it at once, without
a drain, as in the rolling restart.
"""

import asyncio
import re
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

from loadtests.control import listen
from loadtests.faults.behaviour import HEALTHY, Answer, Behaviour, Door, decode
from loadtests.faults.ledger import TARGET, Ledger
from loadtests.stage import READY

CHECK_PATH = b"/health"
BODY_BYTES = 100
BACKLOG = 1024
FILLERS = 4  # connections that fill a backlog of 0, with room to spare
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Connection(asyncio.Protocol):
    """One connection: one request at a time, each read in full before it is handled."""

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self.busy = False
        self.frozen = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._replica.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._replica.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._read_request()

    def freeze(self, frozen: bool) -> None:
        """Stop or resume reading and writing."""
        self.frozen = frozen
        if self._transport is not None and not self._transport.is_closing():
            if frozen:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def answer(self, behaviour: Behaviour, body: bytes) -> None:
        """Handle the request, after its service time."""
        if self._transport is None or self.frozen:
            return
        if behaviour.answer is Answer.RESET:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
            return
        head = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (behaviour.status, len(body))
        if behaviour.answer is Answer.HALF:
            self._transport.write(head + body[: len(body) // 2])
            self._transport.close()
            return
        self._transport.write(head + body)
        self.busy = False
        if self._replica.is_closed:
            self._transport.close()
        else:
            self._read_request()

    def _read_request(self) -> None:
        """Take the next whole request, if there is one and none is being served."""
        end = self._received.find(b"\r\n\r\n")
        if self.busy or end < 0:
            return
        head = bytes(self._received[:end])
        length = _LENGTH.search(head)
        whole = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < whole:
            return
        del self._received[:whole]
        self.busy = True
        method, target, _ = head.split(b" ", 2)
        self._replica.serve(self, method, target)


class Replica:
    """The listening socket, its connections, and its behaviour."""

    def __init__(self, host: str, port: int, ledger: Ledger) -> None:
        self._address = (host, port)
        self._ledger = ledger
        self._behaviour = HEALTHY
        self._server: asyncio.Server | None = None
        self._full: list[
            socket.socket
        ] = []  # the socket whose backlog is full, and the connections that fill it
        self.connections: set[Connection] = set()

    @property
    def is_closed(self) -> bool:
        return self._behaviour.door is Door.CLOSED

    def serve(self, connection: Connection, method: bytes, target: bytes) -> None:
        """Begin to serve a request that was read."""
        behaviour = self._behaviour
        body = b"ok"
        if target.startswith(TARGET.encode()):
            self._ledger.enter(method, target)
            body = target.removeprefix(TARGET.encode()).ljust(BODY_BYTES)
        elif target == CHECK_PATH and behaviour.healthy_check:
            behaviour = HEALTHY
        if behaviour.answer is not Answer.NEVER:
            loop = asyncio.get_running_loop()
            loop.call_later(behaviour.delay, connection.answer, behaviour, body)

    async def behave(self, behaviour: Behaviour) -> None:
        """Apply this behaviour from now on, to the listening socket first."""
        self._behaviour = behaviour
        match behaviour.door:
            case Door.OPEN:
                await self._open()
            case Door.CLOSED:
                self._close()
                for one in [one for one in self.connections if not one.busy]:
                    one.close()
            case Door.FULL:
                self._close()
                self._fill()
                self._freeze(True)

    async def _open(self) -> None:
        if self._server is None:
            for one in self._full:
                one.close()
            self._full = []
            loop = asyncio.get_running_loop()
            listening = self._listening(BACKLOG)
            self._server = await loop.create_server(lambda: Connection(self), sock=listening, backlog=BACKLOG)
            self._freeze(False)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _fill(self) -> None:
        """Listen with a backlog of 0, and fill it: Linux then drops every SYN."""
        self._full = [self._listening(0)]
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(self._address)
            self._full.append(filler)

    def _freeze(self, frozen: bool) -> None:
        for one in self.connections:
            one.freeze(frozen)

    def _listening(self, backlog: int) -> socket.socket:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(self._address)
        listening.listen(backlog)
        return listening


async def _run(host: str, port: int, control: Path, ledger: Ledger) -> None:
    replica = Replica(host, port, ledger)
    await replica.behave(HEALTHY)

    async def obey(line: bytes) -> None:
        await replica.behave(decode(line))

    async with await listen(control, obey) as server:
        print(f"{READY}{host}:{port}", flush=True)
        await server.serve_forever()


def main() -> None:
    """The process."""
    host, port, control, ledger = sys.argv[1:]
    with Ledger(Path(ledger)) as written:
        asyncio.run(_run(host, int(port), Path(control), written))


if __name__ == "__main__":
    main()
