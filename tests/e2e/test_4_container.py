"""The balancer's container: its privileges, commands run inside it, and its end."""

import json

import pytest

from tests.e2e.engine import COMPILED, run
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.e2e

WRITE = "open('/srv/x', 'w')"


@pytest.fixture
def container(stack: Stack) -> str:
    (container,) = stack.containers("balancer")
    return container


def test_the_container_is_healthy(container: str) -> None:
    def health() -> str:
        return run("docker", "inspect", "--format", "{{.State.Health.Status}}", container).strip()

    until("the engine calls it healthy", health, lambda status: status == "healthy")


def test_the_container_has_no_needless_rights(container: str) -> None:
    status = run("docker", "exec", container, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == ["10001"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    (inspected,) = json.loads(run("docker", "inspect", container))
    assert inspected["HostConfig"]["ReadonlyRootfs"] is True


def test_the_image_is_built_as_asked_and_contains_no_compiler(container: str) -> None:
    assert ("(compiled)" if COMPILED == "1" else "(plain)") in run(
        "docker", "exec", container, "balancer", "--version"
    )
    look = "command -v gcc cc objcopy; find /opt /srv -name '*.c' -o -name '*.debug'; true"
    assert run("docker", "exec", container, "sh", "-c", look) == ""


def test_its_status_can_be_shown_inside_it(stack: Stack, container: str) -> None:
    shown = run("docker", "exec", container, "balancer", "status")
    assert [address for address in stack.upstreams() if address not in shown] == []


def test_term_ends_it_with_0(container: str) -> None:
    run("docker", "stop", "--time=30", container)
    assert run("docker", "inspect", "--format", "{{.State.ExitCode}}", container).strip() == "0"
