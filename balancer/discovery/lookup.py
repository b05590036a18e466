"""Lookups of names (L5): one after the other for each name, by the system's resolver, in threads of its own.

The loop's own threads would not do: uvloop has four of them, so four names that hang would stop every other
lookup, and the loop waits for its threads at exit, up to half a minute where a nameserver is dead.
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

THREADS = 64  # made as needed: one each for the names that are being looked up at the same time

GetAddrInfo = Callable[[str, None, int, int], Sequence[tuple[int, int, int, str, tuple[Any, ...]]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lookup gave: distinct addresses in the resolver's order, or else the `problem`, a few words."""

    addresses: tuple[str, ...] = ()
    problem: str = ""


class Resolver(Protocol):
    """Who is asked for addresses."""

    def look_up(self, name: str, /) -> asyncio.Future[Answer]:
        """The lookup of `name` that runs, or a new one. Others may wait for it too: do not cancel it."""

    def close(self) -> None:
        """Let go of what it holds; nothing is asked afterwards."""


def resolve(name: str, getaddrinfo: GetAddrInfo = socket.getaddrinfo) -> Answer:
    """The IPv4 addresses of a name or, only where it has none, its IPv6 addresses. Blocks.

    Both families of a dual-stack replica would be one replica counted twice. IPv6 is asked for second and
    only after a certain "none": a nameserver in trouble must not turn one family into the other.
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
    addresses = tuple(filter(_is_usable, dict.fromkeys(str(entry[4][0]) for entry in found)))
    return Answer(addresses) if addresses else Answer(problem="it has no usable address")


def _is_usable(address: str) -> bool:
    # 0.0.0.0 is how filtering nameservers say no, and a connect to it comes back to this very machine.
    ip = ip_address(address)
    return not (ip.is_unspecified or ip.is_multicast)


class SystemResolver:
    """The system's resolver: /etc/hosts, search domains, DNS. Belongs to one event loop.

    A name has at most one lookup at a time. The threads are daemons: one that hangs does not delay the exit.
    """

    def __init__(self, resolve: Callable[[str], Answer] = resolve, max_threads: int = THREADS) -> None:
        self._resolve = resolve
        self._max_threads = max_threads
        self._threads = 0
        self._jobs: SimpleQueue[tuple[str, Future[Answer]] | None] = SimpleQueue()
        self._running: dict[str, asyncio.Future[Answer]] = {}

    def look_up(self, name: str) -> asyncio.Future[Answer]:
        """See Resolver. An answer, of whatever kind, comes when the system gives one."""
        running = self._running.get(name)
        if running is not None:
            return running
        job: Future[Answer] = Future()
        # Counted with this one: as long as there are no fewer threads, none waits behind another that hangs.
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
        """Let the threads end, each after the lookup that it is in."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"lookup-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the container's limit of processes: those there are will do, and it is tried again
        self._threads += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            name, answer = job
            answer.set_running_or_notify_cancel()
            try:
                answer.set_result(self._resolve(name))
            except Exception as error:
                answer.set_exception(error)
