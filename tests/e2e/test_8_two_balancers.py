"""Compose profile `ha`: two balancers behind one name are replaced in turn, by another commit's image."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.e2e.conftest import PROJECT
from tests.e2e.engine import BASE_IMAGE, BUILD_SECONDS, ROOT, EngineError, run
from tests.e2e.project import Project
from tests.e2e.stack import fetch, free_ports, until
from tests.fakes.tools import missing

pytestmark = pytest.mark.e2e

FILES = ("docker-compose.yml", "tests/e2e/ha.yml")
BALANCERS = ("balancer", "balancer-b")
OLD, NEW = "balancer:e2e-old", "balancer:dev"
ENOUGH = 200  # requests between two steps


class Site(Project):
    """Both balancers with two app replicas, and clients that use the common name."""

    def __init__(self) -> None:
        *ports, admin, admin_b = free_ports(4)
        self.admin = {"balancer": f"http://127.0.0.1:{admin}", "balancer-b": f"http://127.0.0.1:{admin_b}"}
        environ = {
            "PUBLISH_HTTP": f"127.0.0.1:{ports[0]}",
            "PUBLISH_HTTP_B": f"127.0.0.1:{ports[1]}",
            "PUBLISH_ADMIN": f"127.0.0.1:{admin}",
            "PUBLISH_ADMIN_B": f"127.0.0.1:{admin_b}",
            "APP_REPLICAS": "2",
            "SUBNET_EDGE": "172.31.247.0/24",
            "SUBNET_APPS": "172.31.248.0/24",
            "SUBNET_LOAD": "172.31.249.0/24",
        }
        super().__init__("balancer-e2e-ha", FILES, environ, "--profile=ha", "--profile=clients")

    def image(self, balancer: str) -> str:
        (container,) = self.containers(balancer)
        return run("docker", "inspect", "--format", "{{.Image}}", container).strip()

    def served(self, balancer: str) -> int:
        """Requests that one balancer has served since its start."""
        (pool,) = fetch(f"{self.admin[balancer]}/api/pools")["pools"]
        return sum(int(upstream["requests"]) for upstream in pool["upstreams"])

    def becomes_ready(self, balancer: str) -> None:
        until(f"{balancer} is ready", lambda: fetch(f"{self.admin[balancer]}/readyz"))

    def serves(self, balancer: str) -> None:
        """Wait until it is ready, and has served enough."""
        self.becomes_ready(balancer)
        until(f"{balancer} serves", lambda: self.served(balancer), lambda count: count > ENOUGH)

    def end_clients(self) -> dict[str, Any]:
        (clients,) = self.containers("clients")
        self.signal(clients, "TERM")
        run("docker", "wait", clients)
        counts: dict[str, Any] = json.loads(run("docker", "logs", clients).splitlines()[-1])
        return counts


@pytest.fixture(scope="module")
def images() -> Sequence[str]:
    """The ids of two images: of the state before the last change of the package, and of this tree. In a
    shallow clone, which has no older commit, the first is another build of the same state."""
    try:
        commits = run("git", "log", "--format=%H", "--max-count=2", "--", "balancer").split()
    except EngineError as error:
        missing(f"no commit to build an older image from: {error}")
    archive = subprocess.run(["git", "archive", commits[-1]], cwd=ROOT, capture_output=True, check=True)
    base = f"BASE_IMAGE={os.environ.get('BASE_IMAGE') or BASE_IMAGE}"
    build = (
        "docker",
        "build",
        "--build-arg",
        base,
        "--build-arg",
        "BUILD_COMPILED=0",
        "--label",
        "older=1",
        "--tag",
        OLD,
        "-",
    )
    subprocess.run(
        build,
        input=archive.stdout,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        capture_output=True,
        check=True,
        timeout=BUILD_SECONDS,
    )
    ids = [run("docker", "image", "inspect", "--format", "{{.Id}}", tag).strip() for tag in (OLD, NEW)]
    assert ids[0] != ids[1]
    return ids


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    request.config.stash[PROJECT] = site = Site()
    site.down()
    try:
        yield site
    except AssertionError as error:
        error.add_note(site.logs())
        raise
    finally:
        site.down()


def test_both_are_replaced_and_no_request_fails(site: Site, images: Sequence[str]) -> None:
    site.up(*BALANCERS, "app", environ={"BALANCER_IMAGE": OLD})
    for balancer in BALANCERS:
        site.becomes_ready(balancer)
    site.up("clients", environ={"BALANCER_IMAGE": OLD})
    for balancer in BALANCERS:
        site.serves(balancer)
        assert site.image(balancer) == images[0]
    for balancer in BALANCERS:
        site.replace(balancer, environ={"BALANCER_IMAGE": NEW})
        site.serves(balancer)
        assert site.image(balancer) == images[1]
    counts = site.end_clients()
    assert counts["failures"] == {}
    assert counts["refused"], "the stopped one was never tried"
    assert counts["requests"] > len(BALANCERS) * 2 * ENOUGH
