"""Whom a process is connected to, from /proc: the kernel's connections, by the sockets that it has."""

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

ESTABLISHED, CLOSE_WAIT = "01", "08"


def peers(pid: int) -> set[str]:
    """The far addresses of its TCP connections over IPv4, `127.0.0.1:40112`."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(entry))
    table = Path(f"/proc/{pid}/net/tcp").read_text()
    return {peer for peer, inode in parse(table) if f"socket:[{inode}]" in inodes}


def parse(table: str) -> list[tuple[str, str]]:
    """Read /proc/net/tcp, proc(5): the far address and the inode of each connection."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] in (ESTABLISHED, CLOSE_WAIT):
            host, _, port = fields[2].partition(":")
            address = socket.inet_ntoa(struct.pack("=I", int(host, 16)))  # in the machine's byte order
            found.append((f"{address}:{int(port, 16)}", fields[9]))
    return found
