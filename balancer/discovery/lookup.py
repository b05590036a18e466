"""Lookups of names (L5): one at a time for each name, by the system's resolver, in separate threads.

The loop's own threads would not do: uvloop has four of them, so four hanging names would block every other
lookup, and the loop waits for its threads at exit, up to half a minute if a nameserver is dead.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address
from queue import SimpleQueue
from typing import Any, Protocol

THREADS = 64  # at most; started as needed, one for each name that is being looked up at the same time

GetAddrInfo = Callable[[str, None, int, int], Sequence[tuple[int, int, int, str, tuple[Any, ...]]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a lookup: distinct addresses in the resolver's order, or the `problem` in a few words."""

    addresses: tuple[str, ...] = ()
    problem: str = ""


class Resolver(Protocol):
    """Looks up the addresses of names."""

    def look_up(self, name: str, /) -> asyncio.Future[Answer]:
        """The running lookup of `name`, or a new one. Others may wait for it too: do not cancel it."""

    def close(self) -> None:
        """Release its resources; it must not be used afterwards."""


def resolve(name: str, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> Answer:
    """The IPv4 addresses of a name or, only if it has none, its IPv6 addresses. Blocks.

    With both families a dual-stack replica would count twice. IPv6 is looked up only after a definite "none"
    for IPv4: a failing nameserver must not switch the family.
    """
    try:
        try:
            found = getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno not in (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
                raise
            found = getaddrinfo(name, None, socket.AF_INET6, socket.SOCK_STREAM)
    except OSError as error:
        return Answer(problem=error.strerror or str(error))
    except UnicodeError:
        return Answer(problem="it is not a valid name")
    addresses = tuple(filter(is_usable, dict.fromkeys(str(entry[4][0]) for entry in found)))
    return Answer(addresses) if addresses else Answer(problem="it has no usable address")


def is_usable(address: str) -> bool:
    """Whether it can be the address of a host."""
    # Filtering nameservers answer 0.0.0.0 to block a name, and a connect to it reaches this machine.
    ip = ip_address(address)
    return not (ip.is_unspecified or ip.is_multicast)


class SystemResolver:
    """The system's resolver: /etc/hosts, search domains, DNS. Belongs to one event loop.

    A name has at most one lookup at a time. The threads are daemons: a hanging one does not delay the exit.
    """

    def __init__(self, resolve: Callable[[str], Answer] = resolve, max_threads: int = THREADS) -> None:
        self._resolve = resolve
        self._max_threads = max_threads
        self._threads = 0
        self._jobs: SimpleQueue[tuple[str, Future[Answer]] | None] = SimpleQueue()
        self._running: dict[str, asyncio.Future[Answer]] = {}

    def look_up(self, name: str) -> asyncio.Future[Answer]:
        """See Resolver. There is no timeout: the answer comes when the system returns."""
        running = self._running.get(name)
        if running is not None:
            return running
        job: Future[Answer] = Future()
        # One thread per lookup, this one included, so that none waits behind another that hangs.
        if self._threads <= len(self._running) and self._threads < self._max_threads:
            self._add_thread()
        if not self._threads:
            job.set_result(Answer(problem="no thread could be started for it"))
        else:
            self._jobs.put((name, job))
        answer = asyncio.wrap_future(job)
        self._running[name] = answer
        answer.add_done_callback(lambda _: self._running.pop(name))
        return answer

    def close(self) -> None:
        """End the threads, each after its present lookup."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"lookup-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the container's limit of processes: go on with the present threads; retried next time
        self._threads += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            name, answer = job
            answer.set_running_or_notify_cancel()
            try:
                answer.set_result(self._resolve(name))
            except Exception as error:
                answer.set_exception(error)
