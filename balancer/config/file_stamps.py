"""Stamps of files (L1): two that are equal show the same content, as far as the file system tells."""

import os
from collections.abc import Iterable
from typing import TypeAlias

# Device, inode, size, times of the content and of the inode in ns; None for a file that cannot be looked at.
Stamp: TypeAlias = tuple[int, int, int, int, int] | None


def stamp(path: str) -> Stamp:
    """That of the file that `path` leads to in the end: another one once a symbolic link leads elsewhere."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    """Those of several paths. It may take long where the disk is slow or a network's."""
    return {path: stamp(path) for path in paths}
