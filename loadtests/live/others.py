"""nginx and HAProxy in the place of this balancer: each reload changes a weight, by the signal for it."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import Balancer
from loadtests.cpu import running_tree
from loadtests.live.processes import wait
from loadtests.proxies import Launch

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Other:
    """Another balancer. `write` takes the directory, the port, the replicas and the weight of the first, and
    writes the settings; `reloads` is the signal that makes its master read them."""

    balancer: Balancer
    write: Callable[[Path, int, Sequence[str], int], Launch]
    reloads: signal.Signals


@dataclass(slots=True)
class OtherScene:
    """It is running, with `pid` of its master. No workers are killed here, and it has no counters."""

    other: Other
    pid: int
    directory: Path
    port: int
    replicas: Sequence[str]
    problems: list[str] = field(default_factory=list)
    at_first: int = field(init=False)  # worker processes

    def __post_init__(self) -> None:
        self.at_first = len(self._workers())

    def reload(self, number: int) -> None:
        """Change a weight; returns when a new worker is there."""
        before = self._workers()
        self.other.write(self.directory, self.port, self.replicas, number % 2 + 2)
        os.kill(self.pid, self.other.reloads)
        wait(lambda: bool(self._workers() - before), f"{self.other.balancer.name} has no new worker")

    def counters(self) -> dict[str, float]:
        """None are compared."""
        return {}

    def settles(self, limit: float) -> None:
        """Wait until former workers have ended."""
        wait(
            lambda: len(self._workers()) <= self.at_first,
            f"former workers of {self.other.balancer.name} did not end after their tunnels",
            limit,
        )

    def _workers(self) -> set[int]:
        return {stat.pid for stat in running_tree(self.pid) if stat.parent == self.pid}


def _nginx(directory: Path, port: int, replicas: Sequence[str], weight: int) -> Launch:
    first, *rest = replicas
    servers = "\n        ".join([f"server {first} weight={weight};", *(f"server {one};" for one in rest)])
    return proxies.nginx(HERE / "nginx.conf.template", directory, port=str(port), servers=servers)


def _haproxy(directory: Path, port: int, replicas: Sequence[str], weight: int) -> Launch:
    first, *rest = replicas
    lines = [f"server app1 {first} weight {weight}"]
    lines += [f"server app{number} {one} weight 1" for number, one in enumerate(rest, 2)]
    template = HERE / "haproxy.cfg.template"
    launch = proxies.haproxy(
        template, directory, port=str(port), home=str(directory), servers="\n    ".join(lines)
    )
    name, *rest = launch.argv
    return Launch([name, "-W", *rest], launch.environment)  # with a master, which stays


def _other(name: str, package: str, write: Callable[[Path, int, Sequence[str], int], Launch]) -> Balancer:
    return Balancer(name, name, package, lambda path, port, _, upstreams: write(path, port, upstreams, 1))


OTHERS: dict[str, Other] = {
    "nginx": Other(_other("nginx", "nginx-light", _nginx), _nginx, signal.SIGHUP),
    "haproxy": Other(_other("haproxy", "haproxy", _haproxy), _haproxy, signal.SIGUSR2),
}
