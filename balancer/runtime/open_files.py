"""The open-file limit (L7): raised at start, for the supervisor and the workers that inherit it.

The supervisor must always be able to start a worker. So what others may make it open is bounded (`shares`),
and some descriptors are held back (`Reserve`).
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from balancer.discovery.lookup import THREADS
from balancer.errors import StartupError

MOST_ADMIN = 100  # connections to the admin listener

# For what is no client: listeners, idle upstream connections, and surplus clients on their way out (up to
# 100 a worker, see `clients.connection`).
RESERVE = 200


# Descriptors of the supervisor that are there from the start (output, the admin listener, the segment, the
# event loop's own), and those that are open for a moment: files of /proc.
_OWN = 32
_PER_WORKER = 5  # its listener; channel and pidfd, twice, as its predecessor may drain
_PER_LOOKUP = 2  # a file or socket, and a second one where a nameserver is asked twice
_ADMIN_ON_THE_WAY = 24  # connections that are just accepted, or just closed, beside those that may be there
_LEAST_ADMIN = 4
_LEAST_CHECKS = 8
# What it takes to start a worker: a socketpair, Popen's pipe and /dev/null, a pidfd; and two to spare.
SPAWNING = 8

# Fewer clients than this are a handful of browsers, or a proxy's idle connections: nobody wants that unasked.
FEW = 1000
_ENDLESS = 1 << 30


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard one, and give what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def hard_limit() -> int:
    """What `raise_limit` would give."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return hard if hard != resource.RLIM_INFINITY else _ENDLESS


def lowered(wanted: int, affordable: int, open_files: int, workers: int) -> str:
    """The sentence on a limit that allows no more than `affordable` of the client connections wanted."""
    return (
        f"the open-file limit is {open_files}: BALANCER_LIMITS__MAX_CONNECTIONS is lowered from {wanted} to "
        f"{affordable}; to keep it, raise the hard limit (ulimit -Hn, or ulimits: nofile: of the container) "
        f"to {open_files_for(wanted, workers)}"
    )


def is_alarming(affordable: int, asked_for: bool) -> bool:
    """Whether that is a warning, to who has asked for more, and where few are left; else it is news."""
    return asked_for or affordable < FEW


def affordable_connections(max_connections: int, open_files: int, workers: int) -> int:
    """How many client connections the limit allows: each needs a descriptor for itself and one upstream. It
    is a limit of each process, and the connections are shared out among the workers.

    At least one for each worker, so that the workers' shares add up to it.
    """
    if open_files >= open_files_for(max_connections, workers):
        return max_connections
    return min(max_connections, workers * max(1, (open_files - RESERVE) // 2))


def open_files_for(max_connections: int, workers: int) -> int:
    """The limit that allows so many client connections."""
    return 2 * -(-max_connections // workers)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many connections and threads the supervisor may have for what, so that all fit its open files."""

    admin: int  # connections to the admin listener
    checks: int  # connections of active checks
    lookups: int  # names that are looked up at the same time


def shares(open_files: int, workers: int) -> Shares:
    """Of a limit of `open_files`. Where that is lower than about 100 not even the least of each fits."""
    left = max(0, open_files - _OWN - _PER_WORKER * workers - SPAWNING)
    admin = max(_LEAST_ADMIN, min(MOST_ADMIN, left // 4))
    lookups = max(1, min(THREADS, left // 16))
    left -= admin + min(admin, _ADMIN_ON_THE_WAY) + _PER_LOOKUP * lookups
    return Shares(admin, max(_LEAST_CHECKS, left), lookups)


class Reserve:
    """Descriptors that are held for what must not fail for want of them. Not for threads."""

    def __init__(self, size: int = SPAWNING) -> None:
        """Raises StartupError where they cannot be had."""
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
        """Within this they can be had by others; afterwards, as far as they can, they are taken back."""
        self.close()
        try:
            yield
        finally:
            self.refill()

    def refill(self) -> None:
        """Take back what is missing, as far as that can be had; to be called now and then."""
        try:
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return

    def close(self) -> None:
        """Hold none."""
        while self._held:
            os.close(self._held.pop())
