"""Files of the storage (L7): written whole or not at all, and for the owner only.

`config/acme_paths` has the layout. All of it may wait for a disk: the supervisor calls it in a thread, and
the process that orders is one of its own.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from balancer.config.acme_paths import CERTIFICATES, PENDING, STATE, certificate_file
from balancer.config.file_stamps import Stamp, stamp
from balancer.runtime.acme_parts import AccountRecord, Pending, State
from balancer.spec.part import DecodeError, Decoder, Part, encode

PartT = TypeVar("PartT", bound=Part)
_ACCOUNT = "account.json"
_LARGEST = 1 << 20  # bytes that are read of a file
_TEMPORARY = ".new-"  # how the names of files begin that are being written
_ROOM = 64 << 10  # bytes: more than the files of an order take


def write(path: str, data: bytes) -> None:
    """Replace a file. Whoever reads it meanwhile, or after a crash, sees the old or the new one. Raises
    OSError."""
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = os.path.join(folder, f"{_TEMPORARY}{os.getpid()}-{name}")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync(folder)


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot do that
            raise
    finally:
        os.close(descriptor)


def read(path: str, kind: type[PartT]) -> PartT | None:
    """The part in a file; None if there is no file. Raises DecodeError or OSError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    return Decoder[PartT](kind).decode(data)


def account_file(folder: str) -> str:
    """The file with the account at an authority."""
    return os.path.join(folder, _ACCOUNT)


def write_account(folder: str, account: AccountRecord) -> None:
    """Raises OSError."""
    write(account_file(folder), encode(account))


def write_certificate(folder: str, domain: str, data: bytes) -> None:
    """`data` is PEM: the chain and the key. Raises OSError."""
    write(certificate_file(folder, domain), data)


def write_state(folder: str, domain: str, state: State) -> None:
    """Raises OSError."""
    write(_state_file(folder, domain), encode(state))


def read_state(folder: str, domain: str) -> State:
    """What is known of the orders for a domain: nothing, if its file cannot be read."""
    try:
        return read(_state_file(folder, domain), State) or State()
    except (DecodeError, OSError):
        return State()


def _state_file(folder: str, domain: str) -> str:
    return os.path.join(folder, STATE, f"{domain}.json")


class Folder:
    """One instance's view of an authority's folder: what others have written there since the last look."""

    def __init__(self, folder: str, domains: tuple[str, ...]) -> None:
        self.path = folder
        self._domains = domains
        self._states: dict[str, tuple[Stamp, State]] = {}
        self._pending: dict[str, tuple[Stamp, Pending]] = {}

    def states(self) -> dict[str, State]:
        """Those of all domains."""
        for domain in self._domains:
            found = stamp(_state_file(self.path, domain))
            if domain not in self._states or self._states[domain][0] != found:
                self._states[domain] = found, read_state(self.path, domain)
        return {domain: state for domain, (_, state) in self._states.items()}

    def pending(self, now: float) -> list[Pending]:
        """The challenges that authorities look for now, in the order of their files; `now` is in seconds
        since the epoch. Raises OSError."""
        there = dict(self._pending_files())
        self._pending = {path: kept for path, kept in self._pending.items() if path in there}
        for path, found in there.items():
            if path not in self._pending or self._pending[path][0] != found:
                with suppress(DecodeError, OSError):  # it goes just now; or nobody can use it
                    if (read_one := read(path, Pending)) is not None:
                        self._pending[path] = found, read_one
        return [one for _, (_, one) in sorted(self._pending.items()) if one.until > now]

    def _pending_files(self) -> Iterator[tuple[str, Stamp]]:
        try:
            with os.scandir(os.path.join(self.path, PENDING)) as entries:
                paths = [one.path for one in entries if not one.name.startswith(_TEMPORARY)]
        except FileNotFoundError:
            return
        for path in paths:
            yield path, stamp(path)

    def publish(self, domain: str, pending: Pending) -> None:
        """Let all instances answer these. Raises OSError."""
        write(self._pending_file(domain), encode(pending))

    def withdraw(self, domain: str) -> None:
        """They need not be answered any more. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self._pending_file(domain))

    def _pending_file(self, domain: str) -> str:
        return os.path.join(self.path, PENDING, f"{domain}.json")

    def write_state(self, domain: str, state: State) -> None:
        """Raises OSError."""
        write_state(self.path, domain, state)


def sweep(folder: str) -> None:
    """Remove what processes have left that ended while they wrote. Only the holder of the lock may."""
    for path in Path(folder).rglob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            path.unlink()


def try_room(folder: str) -> None:
    """Raise OSError now if there is no room for a certificate, and not when it has been issued."""
    path = os.path.join(folder, CERTIFICATES, f"{_TEMPORARY}room")
    write(path, bytes(_ROOM))
    os.unlink(path)
