"""The command `balancer` with names looked up in a file: the test controls DNS, everything else is real.

The file is read every 0.2 s. Its lines are as in /etc/hosts, `127.0.0.2 app`; a name may have several.
`Names` is the test's side.
"""

import os
import socket
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from balancer.discovery import names
from balancer.discovery.lookup import SystemResolver, resolve
from balancer.runtime import control_plane

FILE = "NAMES_FILE"  # the environment variable with its path
REFRESH = 0.2  # seconds between two lookups of a name; 5 for users


class Names:
    """The names file, as written by the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.say()

    def say(self, **addresses: list[str]) -> None:
        """Each name has these addresses, in this order."""
        lines = [f"{address} {name}\n" for name, each in addresses.items() for address in each]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(lines))
        fresh.replace(self.path)


def _getaddrinfo(
    name: str, port: None, family: int, kind: int
) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
    lines = [line.split() for line in Path(os.environ[FILE]).read_text().splitlines()]
    found = [address for address, known in lines if known == name]
    if not found or family != socket.AF_INET:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return [(family, kind, socket.IPPROTO_TCP, "", (address, 0)) for address in found]


if __name__ == "__main__":
    from balancer.__main__ import main

    # The two differences from what users have.
    resolver = partial(SystemResolver, partial(resolve, getaddrinfo=_getaddrinfo))
    with patch.object(control_plane, "SystemResolver", resolver), patch.object(names, "REFRESH", REFRESH):
        main()
