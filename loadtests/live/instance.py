"""The running balancer as its operators see it: admin API, processes, memory and descriptors."""

import json
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from loadtests.bench.memory import resident
from loadtests.cpu import running_tree
from loadtests.errors import BenchError
from loadtests.live import sockets

PATIENCE = 60.0  # seconds
GLANCE = 0.05  # seconds between two looks
WORKER = b"balancer.runtime.worker"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the admin API, decoded if it is JSON."""

    status: int
    body: Any

    def require(self, *statuses: int) -> Any:
        """The body; `BenchError` if the status is none of these."""
        if self.status not in statuses:
            raise BenchError(f"the admin API answered {self.status}: {self.body}")
        return self.body


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a tree of processes holds: bytes of memory, shared pages counted once, and open descriptors."""

    memory: int
    descriptors: int
    processes: int


def holdings(pid: int) -> Holdings:
    """Those of the tree under `pid`, as of now."""
    pids = [stat.pid for stat in running_tree(pid)]
    return Holdings(resident(pid), sum(map(_descriptors, pids)), len(pids))


class Instance:
    """The balancer with this admin port. `pid` is its supervisor's, another one after each replacement."""

    def __init__(self, admin: int, pid: int, workers: int) -> None:
        self._admin = admin
        self._count = workers
        self.pid = pid
        self.former: list[int] = []  # supervisors that were replaced

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """One request to the admin API; the answer may be an error."""
        connection = HTTPConnection("127.0.0.1", self._admin, timeout=PATIENCE)
        try:
            connection.request(
                method,
                path,
                None if body is None else json.dumps(body),
                {} if body is None else {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            read = response.read()
        except (OSError, HTTPException) as error:
            raise BenchError(f"{method} {path} of the admin API: {type(error).__name__}: {error}") from None
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, json.loads(read) if is_json else read.decode())

    def scrape(self) -> str:
        """The metrics."""
        return str(self.ask("GET", "/metrics").require(200))

    def workers(self) -> list[int]:
        """The workers that have started last, one for each slot."""
        return sorted(self._all_workers(), key=_start_time)[-self._count :]

    def kill(self, pid: int) -> set[str]:
        """Kill a worker; returns the clients that were connected to it.

        It is stopped first, so that it accepts none between the look and its end.
        """
        os.kill(pid, signal.SIGSTOP)
        _wait(lambda: _state(pid) == "T", "a worker did not stop")
        clients = sockets.peers(pid)
        os.kill(pid, signal.SIGKILL)
        _wait(lambda: not _exists(pid), "a worker did not end")
        self.becomes_ready()
        return clients

    def becomes_ready(self) -> None:
        """Wait until all its workers serve."""
        _wait(lambda: self.ask("GET", "/readyz").status == 200, "the balancer is not ready again")

    def replaced(self, pid: int) -> None:
        """Another supervisor serves."""
        self.former.append(self.pid)
        self.pid = pid

    def settles(self, limit: float) -> None:
        """Wait until nothing is left of former workers and supervisors."""
        _wait(self._is_settled, "former workers did not end after their tunnels", limit)

    def end(self) -> None:
        """End its processes; those that were started by others are theirs to end too."""
        for pid in (*self.former, self.pid):
            tree = [stat.pid for stat in running_tree(pid)]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE / 2
            while any(map(_exists, tree)) and time.monotonic() < deadline:
                time.sleep(GLANCE)
            for one in filter(_exists, tree):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)

    def _is_settled(self) -> bool:
        return len(self._all_workers()) == self._count and not any(map(_exists, self.former))

    def _all_workers(self) -> list[int]:
        """Those that drain included, but not those of another program."""
        children = [stat.pid for stat in running_tree(self.pid) if stat.parent == self.pid]
        return [pid for pid in children if _is_worker(pid)]


def _wait(condition: Any, sentence: str, limit: float = PATIENCE) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{sentence} within {limit:.0f} s")
        time.sleep(GLANCE)


def _is_worker(pid: int) -> bool:
    try:
        return WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return False


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third one, the state; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    fields = _fields(pid)
    return fields[0] if fields else ""


def _start_time(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[19]) if fields else 0


def _exists(pid: int) -> bool:
    """Whether it runs; one that was not waited for does not."""
    return _state(pid) not in ("", "Z")


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
