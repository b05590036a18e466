"""An app replica that some requests break, as happens to real apps, and that can also be ill."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.app import App

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
# What every replica does with a request for the path of this name.
POISONS = ("close", "reset", "half", "nonsense", "500", "hang")


class FragileReplica(App):
    """The path decides: one of POISONS breaks it, anything else is answered with its `name`. An upgrade is
    refused by closing, as node does if the app serves none.

    While it is `ill`, one of POISONS, it does that to all requests, and to checks too unless `passes_checks`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.ill = ""
        self.passes_checks = False
        self.requests = 0  # except checks

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
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


@asynccontextmanager
async def fragile_replica(name: str) -> AsyncIterator[FragileReplica]:
    """A replica on a free port of 127.0.0.1."""
    replica = FragileReplica(name)
    async with replica.listening():
        yield replica
