"""The open-file limit (L7): raised at start, for the supervisor and the workers that inherit it.

The supervisor must always be able to start a worker. So the descriptors that clients and upstreams may use up
are limited (`shares`), and some are held in reserve (`Reserve`).
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from balancer.errors import StartupError

MOST_ADMIN = 100  # connections to the admin listener

# For everything but served clients: listeners, idle upstream connections, and surplus clients that are being
# closed (up to 100 per worker, see `clients.connection`).
RESERVE = 200


# Descriptors that the supervisor has from the start (output, the admin listener, the segment, the event
# loop's own), and those that are open for a moment: files of /proc.
_OWN = 32
_PER_WORKER = 4  # besides its listeners: channel and pidfd, twice, as its predecessor may drain
_PER_LOOKUP = 2  # a file or socket, and a second one if two queries are made
_ADMIN_ON_THE_WAY = 24  # connections just being accepted or closed, in addition to the limit
_LEAST_ADMIN = 4
_LEAST_CHECKS = 8
# Descriptors for starting a worker: a socketpair, Popen's pipe and /dev/null, a pidfd; and two to spare.
SPAWNING = 8

# Fewer clients than this are a few browsers, or a proxy's idle connections: worth a warning in any case.
FEW = 1000
_ENDLESS = 1 << 30


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def hard_limit() -> int:
    """What `raise_limit` would return."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def lowered(wanted: int, affordable: int, open_files: int, workers: int) -> str:
    """The sentence about a limit that allows only `affordable` of the client connections wanted."""
    return (
        f"the open-file limit is {open_files}: BALANCER_LIMITS__MAX_CONNECTIONS is lowered from {wanted} to "
        f"{affordable}; to keep it, raise the hard limit (ulimit -Hn, or ulimits: nofile: of the container) "
        f"to {open_files_for(wanted, workers)}"
    )


def is_alarming(affordable: int, asked_for: bool) -> bool:
    """Whether it is a warning: if more was asked for, or few are left. Else it is information."""
    return asked_for or affordable < FEW


def affordable_connections(max_connections: int, open_files: int, workers: int) -> int:
    """How many client connections the limit allows: each needs one descriptor for itself and one for its
    upstream. The limit applies to each process, and the connections are divided among the workers.

    At least one for each worker, so that the workers' shares add up to it.
    """
    if open_files >= open_files_for(max_connections, workers):
        return max_connections
    return min(max_connections, workers * max(1, (open_files - RESERVE) // 2))


def open_files_for(max_connections: int, workers: int) -> int:
    """The limit that this number of client connections needs."""
    return 2 * -(-max_connections // workers)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many connections and threads the supervisor may have per purpose, to stay within its open files."""

    admin: int  # connections to the admin listener
    checks: int  # connections of active checks
    lookups: int  # names that are looked up at the same time


def shares(open_files: int, workers: int, listeners: int = 1) -> Shares:
    """The shares for a limit of `open_files`, with so many listening sockets for each worker. Below about 100
    not even the minimum of each fits."""
    from balancer.discovery.lookup import THREADS  # here: 20 ms of asyncio, which the reader does not need

    left = max(0, open_files - _OWN - (_PER_WORKER + listeners) * workers - SPAWNING)
    admin = max(_LEAST_ADMIN, min(MOST_ADMIN, left // 4))
    lookups = max(1, min(THREADS, left // 16))
    left -= admin + min(admin, _ADMIN_ON_THE_WAY) + _PER_LOOKUP * lookups
    return Shares(admin, max(_LEAST_CHECKS, left), lookups)


class Reserve:
    """Descriptors held in reserve for actions that must not fail for lack of them. Not thread-safe."""

    def __init__(self, size: int = SPAWNING) -> None:
        """Raises StartupError if they cannot be opened."""
        self._size = size
        self._held: list[int] = []
        self.refill()
        if len(self._held) < size:
            self.close()
            raise StartupError(
                "the open-file limit is too low to start anything; raise the hard limit (ulimit -Hn, or "
                "ulimits: nofile: of the container)"
            )

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Release them inside the context; afterwards take them back, as far as possible."""
        self.close()
        try:
            yield
        finally:
            self.refill()

    def refill(self) -> None:
        """Take back missing ones, as far as possible; call it periodically."""
        try:
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return

    def close(self) -> None:
        """Release all."""
        while self._held:
            os.close(self._held.pop())
