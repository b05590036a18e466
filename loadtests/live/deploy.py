"""The case `deploy`: replicas of real apps are restarted one by one, by the recipes of docs/deploy.md."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.errors import BenchError
from loadtests.live.instance import Instance
from loadtests.live.processes import wait
from loadtests.live.report import counted
from loadtests.live.stage import SORTS
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase
from loadtests.open_loop.figures import Latency, latency
from loadtests.open_loop.order import Order
from loadtests.open_loop.records import Kind
from loadtests.processes import Processes
from loadtests.proxies import Launch
from loadtests.stage import FIRST_ANSWER, RunningReplica, Stage

HERE = Path(__file__).parent
REPLICAS = 2
RATE = 100  # requests per second
PATIENCE = 10.0  # seconds a client waits
BETWEEN = 1.0  # seconds between two restarts
LONGEST = 600.0  # seconds of one app's deploys, at most
KNOWN = 0.1  # seconds within which all workers know that an upstream drains
LEAVES = 410  # DRAIN_STATUS
_GUNICORN = [sys.executable, "-m", "gunicorn", "--workers", "2", "--log-level", "warning"]

APPS: Mapping[str, Callable[[str, int], list[str]]] = {
    "gunicorn sync": lambda host, port: [
        *_GUNICORN,
        *("--worker-class", "sync", "--bind", f"{host}:{port}", "loadtests.live.apps.wsgi:app"),
    ],
    "gunicorn gthread": lambda host, port: [
        *_GUNICORN,
        *("--worker-class", "gthread", "--threads", "4"),
        *("--bind", f"{host}:{port}", "loadtests.live.apps.wsgi:app"),
    ],
    "uvicorn": lambda host, port: [
        *(sys.executable, "-m", "uvicorn", "--log-level", "warning"),
        *("--host", host, "--port", str(port), "loadtests.live.apps.asgi:app"),
    ],
    "node": lambda host, port: ["node", str(HERE / "apps" / "server.js"), host, str(port)],
}


class DeployStage(Stage):
    """Replicas of one app, and a balancer."""

    def __init__(self, processes: Processes, directory: Path, app: str) -> None:
        super().__init__(processes, directory, REPLICAS)
        self._app = app

    def command(self, replica: RunningReplica) -> Sequence[str]:
        app = APPS[self._app](replica.host, replica.port)
        return ["env", f"LEAVING={self.leaving(replica)}", *app]

    def leaving(self, replica: RunningReplica) -> Path:
        """The file by which this replica knows that it is about to end."""
        return self._directory / f"{replica.name}.leaving"

    def _await(self, replica: RunningReplica) -> None:
        self._processes.wait_for_body(replica.log_name, replica.pid, replica.port, FIRST_ANSWER)


@dataclass(frozen=True, slots=True)
class Deploy:
    """What clients saw of an app's deploys. `restarts` of replicas, by both recipes."""

    app: str
    restarts: int
    requests: int
    failed: Counter[str]
    latency: Latency
    said: Sequence[str]  # by the balancer, about the failures


def perform(app: str, rounds: int) -> Deploy:
    """Restart each replica under load: in each round by the one recipe, and by the other."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-deploy-")))
        processes = stack.enter_context(Processes(directory))
        stage = DeployStage(processes, directory, app)
        stage.start(Balancer(OURS, "", "", _ours))
        instance = Instance(stage.spare, stage.balancer_pid, 1)
        instance.becomes_ready()
        pid, _ = stage.start_load(
            Order(stage.port, [Phase(RATE, LONGEST, SORTS)], PATIENCE, 1, stage.records)
        )
        time.sleep(BETWEEN)
        for _ in range(rounds):
            for recipe in (by_command, by_check):
                for replica in stage.replicas:
                    recipe(stage, instance, replica)
                    time.sleep(BETWEEN)
        os.kill(pid, signal.SIGUSR1)
        stage.wait_for_load(pid, 3 * PATIENCE)
        seen = records.read(stage.records)
        said = [_sentence(one) for one in instance.ask("GET", "/api/failures").require(200)["failures"]]
        failed = Counter(one.failure for one in seen if one.kind is not Kind.OK)
        restarts = sum(replica.lives - 1 for replica in stage.replicas)
        return Deploy(app, restarts, len(seen), failed, latency([one.took for one in seen]), said)


def by_command(stage: DeployStage, _instance: Instance, replica: RunningReplica) -> None:
    """Drain, restart, activate."""
    _command(stage, "drain", replica.address, "--wait", "30")
    stage.end(replica, signal.SIGTERM)
    stage.start_again(replica)
    _command(stage, "activate", replica.address)


def by_check(stage: DeployStage, instance: Instance, replica: RunningReplica) -> None:
    """The app itself announces its end by its check, and is taken back when its check passes again."""
    path = f"/api/pools/default/upstreams/{replica.address}"
    stage.leaving(replica).touch()
    wait(lambda: _has_left(instance, path), f"{replica.name} is not drained by its check")
    time.sleep(KNOWN)
    stage.end(replica, signal.SIGTERM)
    stage.leaving(replica).unlink()
    stage.start_again(replica)
    wait(
        lambda: bool(instance.ask("GET", path).require(200)["eligible"]),
        f"{replica.name} is not taken back after its restart",
    )


def _sentence(failure: Mapping[str, Any]) -> str:
    attempts = ", ".join(
        f"{one['upstream']} {one['failure']} ({one['detail']})" for one in failure["attempts"]
    )
    return f"{failure['time']} {failure['method']} {failure['status']} {failure['reason']}: {attempts}"


def _has_left(instance: Instance, path: str) -> bool:
    upstream = instance.ask("GET", path).require(200)
    return bool(upstream["announced"]) and not upstream["inflight"]


def _command(stage: DeployStage, *words: str) -> None:
    command = [sys.executable, "-m", "balancer", *words, "--admin", f"127.0.0.1:{stage.spare}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise BenchError(f"balancer {' '.join(words)}: {done.stdout}{done.stderr}")


def _ours(_directory: Path, port: int, spare: int, upstreams: Sequence[str]) -> Launch:
    return proxies.balancer(
        port,
        spare,
        upstreams,
        HEALTH_CHECK__PATH="/health",
        HEALTH_CHECK__INTERVAL="1s",
        HEALTH_CHECK__DRAIN_STATUS=str(LEAVES),
    )


def require() -> None:
    """`BenchError` with the remedy if something is not installed."""
    if shutil.which("node") is None:
        raise BenchError("node not found: on Debian, apt-get install nodejs")


def table(deploys: Sequence[Deploy]) -> Table:
    """One row for each app."""
    result = Table(title=f"deploy: {REPLICAS} replicas, {RATE} requests/s", title_justify="left")
    result.add_column("app", no_wrap=True)
    for column in ("restarts", "requests", "failed", "p99, ms", "slowest, ms"):
        result.add_column(column, justify="right")
    for one in deploys:
        result.add_row(
            one.app,
            str(one.restarts),
            f"{one.requests:,}",
            counted(one.failed),
            f"{one.latency.p99 * 1e3:.0f}",
            f"{one.latency.max * 1e3:.0f}",
        )
    return result


def broken_promises(deploys: Sequence[Deploy]) -> list[str]:
    """A sentence for each app with failed requests."""
    return [
        f"deploy, {one.app}: failed requests: {counted(one.failed)}; the balancer says: {'; '.join(one.said)}"
        for one in deploys
        if one.failed
    ]
