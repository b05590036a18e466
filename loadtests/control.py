"""Commands to a running replica: a line over a Unix socket, answered when it is done."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

DONE = b"done\n"
PATIENCE = 5.0  # seconds


def tell(control: Path, line: bytes) -> None:
    """Send a command to the replica behind a control socket; returns when it is done."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(control))
        connection.sendall(line)
        if connection.recv(16) != DONE:
            raise ConnectionError(f"the replica did not confirm the command ({control})")


async def listen(control: Path, obey: Callable[[bytes], Awaitable[None]]) -> asyncio.Server:
    """The replica's side: `obey` is called with each line. The socket of an earlier life is replaced."""

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await obey(await reader.readline())
        writer.write(DONE)
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_unix_server(told, control)
