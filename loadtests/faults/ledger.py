"""The requests that a replica has read in full: one line of a file each, which outlives the replica."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TARGET = "/r/"  # and the request's number


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that a replica has read; an app would have acted on it."""

    method: str
    number: int


class Ledger:
    """The replica's side: each line is written before the request is answered."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def enter(self, method: bytes, target: bytes) -> None:
        """Record one request, in one write, so that a kill leaves no partial line."""
        os.write(self._fd, method + b" " + target + b"\n")


def read(path: Path) -> list[Entry]:
    """All requests that a replica has read, in all its lives."""
    found = []
    for line in path.read_text().splitlines():
        method, _, target = line.partition(" ")
        found.append(Entry(method, int(target.removeprefix(TARGET))))
    return found


def posts_read_twice(ledgers: Iterable[Iterable[Entry]]) -> set[int]:
    """Numbers of the POST requests that were read more than once, by one replica or by two."""
    once: set[int] = set()
    twice: set[int] = set()
    for ledger in ledgers:
        for entry in ledger:
            if entry.method == "POST":
                (twice if entry.number in once else once).add(entry.number)
    return twice
