"""The file of `STATE__FILE` (L7): written whole, so that it is never half of one state and half of
another."""

import os
import tempfile
from contextlib import suppress

from balancer.runtime.kept import VERSION, Kept, decode, version_of
from balancer.spec.part import DecodeError, encode

_UNUSABLE = ".unusable"  # appended to the name of a file that cannot be read


def read(path: str) -> tuple[Kept, str]:
    """What the file has, and a sentence if that cannot be used; nothing, if there is no file yet. An unusable
    file is kept under another name, for people."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        if (version := version_of(data)) > VERSION:
            return Kept(), _aside(path, f"{path} is of a later version of the balancer ({version})")
        kept = decode(data)
    except FileNotFoundError:
        return Kept(), ""
    except OSError as error:
        return Kept(), f"{path} cannot be read ({(error.strerror or str(error)).lower()})"
    except DecodeError as error:
        return Kept(), _aside(path, f"{path} is damaged ({error})")
    return kept, ""


def write(path: str, kept: Kept) -> None:
    """Replace the file. Raises OSError; the old one is there then."""
    number, beside = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=os.path.basename(path) + ".")
    try:
        with open(number, "wb") as file:
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


def _aside(path: str, why: str) -> str:
    with suppress(OSError):
        os.replace(path, path + _UNUSABLE)
    return f"{why}; it is kept as {path}{_UNUSABLE}"
