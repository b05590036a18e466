"""The file of `STATE__FILE` (L7): written whole, so that it is never half of one state and half of
another."""

import os
from contextlib import suppress

from balancer.runtime.kept import VERSION, Kept, decode
from balancer.spec.part import DecodeError, encode

_UNUSABLE = ".unusable"  # appended to the name of a file that cannot be read


def read(path: str) -> tuple[Kept, str]:
    """What the file has, and a sentence if that cannot be used; nothing, if there is no file yet. An unusable
    file is kept under another name, for people."""
    try:
        with open(path, "rb") as file:
            kept = decode(file.read())
    except FileNotFoundError:
        return Kept(), ""
    except OSError as error:
        return Kept(), f"{path} cannot be read ({(error.strerror or str(error)).lower()})"
    except DecodeError as error:
        return Kept(), _aside(path, f"{path} is damaged ({error})")
    if kept.version != VERSION:
        return Kept(), _aside(path, f"{path} is of another version of the balancer")
    return kept, ""


def write(path: str, kept: Kept) -> None:
    """Replace the file. Raises OSError; the old one is there then."""
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "wb", opener=_private) as file:
            file.write(encode(kept) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(beside)
        raise
    with suppress(OSError):  # some file systems cannot; the content is safe
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _aside(path: str, why: str) -> str:
    with suppress(OSError):
        os.replace(path, path + _UNUSABLE)
    return f"{why}; it is kept as {path}{_UNUSABLE}"
