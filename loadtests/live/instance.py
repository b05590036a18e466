"""The running balancer as its operators see it: admin API, processes, memory and descriptors."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from loadtests.cpu import running_tree
from loadtests.errors import BenchError
from loadtests.live import sockets
from loadtests.live.counters import parse
from loadtests.live.processes import GLANCE, PATIENCE, of_session, runs, runs_module, start_time, state, wait

WORKER = "balancer.runtime.worker"
RELOADS = "balancer_config_reloads_total{"


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


class Instance:
    """The balancer with this admin port. `pid` is its supervisor's, another one after each replacement."""

    def __init__(self, admin: int, pid: int, workers: int) -> None:
        self._admin = admin
        self._count = workers
        self.pid = pid
        self._session = pid  # every supervisor is in the session of the first
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
        return sorted(self._all_workers(), key=start_time)[-self._count :]

    def kill(self, pid: int) -> set[str]:
        """Kill a worker; returns the clients that were connected to it.

        It is stopped first, so that it accepts none between the look and its end.
        """
        os.kill(pid, signal.SIGSTOP)
        wait(lambda: state(pid) == "T", "a worker did not stop")
        clients = sockets.peers(pid)
        os.kill(pid, signal.SIGKILL)
        wait(lambda: not runs(pid), "a worker did not end")
        self.becomes_ready()
        return clients

    def becomes_ready(self) -> None:
        """Wait until all its workers serve."""
        wait(lambda: self.ask("GET", "/readyz").status == 200, "the balancer is not ready again")

    def reload_by_signal(self) -> bool:
        """Send HUP, and wait for the end of the reload; whether it was applied."""
        before = self._reloads()
        os.kill(self.pid, signal.SIGHUP)
        wait(lambda: self._reloads() != before, "a reload by HUP did not end")
        return self._reloads()["applied"] == before["applied"] + 1

    def replace_by_signal(self) -> None:
        """Send USR2, and wait until another supervisor serves."""
        before = self._started()
        successors: list[int] = []

        def is_replaced() -> bool:
            children = [stat.pid for stat in running_tree(self.pid) if stat.parent == self.pid]
            successors.extend(pid for pid in children if not runs_module(pid, WORKER))
            return self._started() != before

        os.kill(self.pid, signal.SIGUSR2)
        wait(is_replaced, "a replacement by USR2 did not end")
        self.replaced(successors[-1])

    def _reloads(self) -> Counter[str]:
        """Reloads so far, by their result."""
        series = parse(self.scrape()).items()
        return Counter({name.split('"')[1]: int(value) for name, value in series if name.startswith(RELOADS)})

    def _started(self) -> str:
        """When the instance was started, which tells one from the next."""
        return str(self.ask("GET", f"/api/events?after={10**9}").require(200)["started"])

    def replaced(self, pid: int) -> None:
        """Another supervisor serves."""
        self.former.append(self.pid)
        self.pid = pid

    def settles(self, limit: float) -> None:
        """Wait until nothing is left of former workers and supervisors."""
        wait(self._is_settled, "former workers did not end after their tunnels", limit)

    def end(self) -> None:
        """End all its processes: those of a replacement are nobody's children."""
        supervisors = of_session(self._session)
        trees = [stat.pid for pid in supervisors for stat in running_tree(pid)]
        for pid in supervisors:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE / 2
        while any(map(runs, trees)) and time.monotonic() < deadline:
            time.sleep(GLANCE)
        for pid in filter(runs, trees):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_settled(self) -> bool:
        return len(self._all_workers()) == self._count and not any(map(runs, self.former))

    def _all_workers(self) -> list[int]:
        """Those that drain included, but not those of another program."""
        children = [stat.pid for stat in running_tree(self.pid) if stat.parent == self.pid]
        return [pid for pid in children if runs_module(pid, WORKER)]
