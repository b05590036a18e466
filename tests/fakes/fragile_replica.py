"""An app replica that some requests break, as happens to real apps, and that can also be ill."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
# What every replica does with a request for the path of this name.
POISONS = ("close", "reset", "half", "nonsense", "500", "hang")


class FragileReplica:
    """The path decides: one of POISONS breaks it, anything else is answered with its `name`. An upgrade is
    refused by closing, as node does if the app serves none.

    While it is `ill`, one of POISONS, it does that to all requests, and to checks too unless `passes_checks`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ""
        self.ill = ""
        self.passes_checks = False
        self.requests = 0  # except checks
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the other side has closed, or the test has ended
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._serving.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; returns whether another may follow on this connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        if length := _LENGTH.search(head):
            await reader.readexactly(int(length[1]))
        is_check = b"User-Agent: balancer-check/" in head
        self.requests += not is_check
        what = head.split(b" ")[1].decode()[1:]
        if b"\r\nupgrade: websocket" in head.lower():
            what = "close"
        if self.ill and not (is_check and self.passes_checks):
            what = self.ill
        body = self.name.encode()
        status = 500 if what == "500" else 200
        answer = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
        match what:
            case "close":
                return False
            case "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
                return False
            case "half":
                writer.write(answer[:-1])
                return False
            case "nonsense":
                writer.write(b"nonsense\r\n\r\n")
                return False
            case "hang":
                await asyncio.get_running_loop().create_future()
        writer.write(answer)
        await writer.drain()
        return True

    async def stop(self) -> None:
        """End all connections."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def fragile_replica(name: str) -> AsyncIterator[FragileReplica]:
    """A replica on a free port of 127.0.0.1."""
    replica = FragileReplica(name)
    server = await asyncio.start_server(replica.serve, "127.0.0.1", 0, backlog=1024)
    replica.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield replica
    finally:
        server.close()
        await replica.stop()
        await server.wait_closed()
