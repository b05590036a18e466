"""The compose stack, as the tests see it: its load, and its admin API and Prometheus over loopback."""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeVar

from tests.e2e.engine import ROOT, run
from tests.e2e.project import Project

NAME = "balancer-e2e"
FILES = ("docker-compose.yml", "tests/e2e/compose.yml")
PATIENCE = 30.0  # seconds after which a test has failed
POLL = 0.1
PROFILES = ("observability", "load")
SUBNETS = {"EDGE": "172.31.244.0/24", "APPS": "172.31.245.0/24", "LOAD": "172.31.246.0/24"}

T = TypeVar("T")

_REQUESTS = re.compile(r'balancer_requests_total\{.*code="(?P<code>\w+)".*\} (?P<count>\S+)')


class Stack(Project):
    """The project of docker-compose.yml, as the tests extend it."""

    def __init__(self) -> None:
        http, admin, prometheus, alertmanager = free_ports(4)
        self.admin = f"http://127.0.0.1:{admin}"
        self.prometheus = f"http://127.0.0.1:{prometheus}"
        self.alertmanager = f"http://127.0.0.1:{alertmanager}"
        environ = {
            "PUBLISH_HTTP": f"127.0.0.1:{http}",
            "PUBLISH_ADMIN": f"127.0.0.1:{admin}",
            "PUBLISH_PROMETHEUS": f"127.0.0.1:{prometheus}",
            "PUBLISH_ALERTMANAGER": f"127.0.0.1:{alertmanager}",
            "LOAD_JSON": "true",
            **{f"SUBNET_{name}": subnet for name, subnet in SUBNETS.items()},
        }
        profiles = [option for profile in PROFILES for option in ("--profile", profile)]
        super().__init__(NAME, FILES, environ, *profiles)

    def run_load(self, **environ: str) -> tuple[int, str]:
        """Run the load service to its end, with workers; returns its exit code and output."""
        command = (*self.compose, "run", "--rm", "--use-aliases", "-T", "load")
        settings = {**self.environ, **environ}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=settings)
        return done.returncode, done.stdout + done.stderr

    def addresses(self, service: str) -> dict[str, str]:
        """Address as seen by the balancer -> id, of a service's running containers."""
        format = f'{{{{(index .NetworkSettings.Networks "{self.name}_apps").IPAddress}}}}'
        ids = self.containers(service)
        return {run("docker", "inspect", "--format", format, one).strip(): one for one in ids}

    def upstreams(self) -> dict[str, dict[str, Any]]:
        """The upstreams of the one pool, by their address."""
        (pool,) = fetch(f"{self.admin}/api/pools")["pools"]
        return {one["address"]: one for one in pool["upstreams"]}

    def responses(self) -> Counter[str]:
        """Responses to clients by status, as the balancer counts them."""
        counts: Counter[str] = Counter()
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10.0) as response:
            for line in response.read().decode().splitlines():
                if found := _REQUESTS.match(line):
                    counts[found["code"]] += int(float(found["count"]))
        return +counts

    def last_event(self) -> int:
        """The revision of the newest event."""
        return int(fetch(f"{self.admin}/api/events?after=1000000000")["last"])

    def event(self, after: int, kind: str, address: str, cause: str | None = None) -> dict[str, Any]:
        """Wait for the first event of this kind and cause about this upstream after a revision."""
        deadline = time.monotonic() + PATIENCE
        seen: list[str] = []
        while time.monotonic() < deadline:
            answer = fetch(f"{self.admin}/api/events?after={after}&wait=2")
            for event in answer["events"]:
                seen.append(event["text"])
                if (event["kind"], event["upstream"], event["cause"]) == (kind, address, cause):
                    return dict(event)
            after = max(after, answer["last"])
        raise AssertionError(f"no event {kind} of {address} within {PATIENCE:.0f} s, only {seen}")

    def query(self, promql: str) -> list[tuple[dict[str, str], float]]:
        """An instant query: labels and value of each series."""
        answer = fetch(f"{self.prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": promql}))
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]


def fetch(url: str) -> Any:
    """A JSON document."""
    with urllib.request.urlopen(url, timeout=10.0) as response:
        return json.load(response)


def until(what: str, ask: Callable[[], T], enough: Callable[[T], bool] = bool) -> T:
    """Poll until the answer is enough, and return it; the failure message has the last answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer: T | OSError = ask()
        except OSError as error:  # not up yet, or just stopped
            answer = error
        if not isinstance(answer, OSError) and enough(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}; at last {answer!r}")
        time.sleep(POLL)


def free_ports(count: int) -> Sequence[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
