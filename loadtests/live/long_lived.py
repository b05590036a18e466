"""What is open for long: how each WebSocket and download ended, one line of JSON each."""

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path


class Sort(StrEnum):
    """What it was."""

    WEBSOCKET = "websocket"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class LongLived:
    """One of them. Times by the monotonic clock; `client` is its own address, `127.0.0.1:40112`.

    `why` it failed, empty if it came to its own end: closed by its client, or received whole. `exchanged`
    counts the messages that came back, or the bytes that were received.
    """

    sort: Sort
    client: str
    begun: float
    ended: float
    exchanged: int
    why: str


def write(path: Path, ends: Iterable[LongLived]) -> None:
    """One line for each."""
    path.write_text("".join(f"{json.dumps(astuple(one))}\n" for one in ends))


def read(path: Path) -> list[LongLived]:
    """Read the file of `write`."""
    found = []
    for line in path.read_text().splitlines():
        sort, *rest = json.loads(line)
        found.append(LongLived(Sort(sort), *rest))
    return found
