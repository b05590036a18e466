"""examples/own_app runs as it is, but for its ports: two replicas are found, checked and served by."""

import os
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.engine import BASE_IMAGE, compose_command, run
from tests.e2e.stack import fetch, free_ports, until

pytestmark = pytest.mark.e2e

FILE = "examples/own_app/compose.yml"


class Addresses(NamedTuple):
    http: str
    admin: str


@pytest.fixture
def addresses() -> Iterator[Addresses]:
    """Where the example is reached, which is up."""
    http, admin = free_ports(2)
    environ = {
        "COMPOSE_PROJECT_NAME": "balancer-e2e-own-app",
        "PUBLISH_HTTP": f"127.0.0.1:{http}",
        "PUBLISH_ADMIN": f"127.0.0.1:{admin}",
        "WEB_IMAGE": os.environ.get("BASE_IMAGE") or BASE_IMAGE,
    }
    compose = (*compose_command(), "-f", FILE)
    try:
        run(*compose, "up", "--detach", seconds=180.0, environ=environ)
        yield Addresses(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{admin}")
    finally:
        run(*compose, "down", "--timeout", "2", seconds=180.0, environ=environ)


def test_both_replicas_are_found_and_pass_their_checks(addresses: Addresses) -> None:
    def passed() -> list[bool]:
        (pool,) = fetch(f"{addresses.admin}/api/pools")["pools"]
        return [one["eligible"] and not one["unchecked"] for one in pool["upstreams"]]

    until("two upstreams that have passed a check", passed, lambda answers: answers == [True, True])
    with urllib.request.urlopen(addresses.http, timeout=10.0) as response:
        assert response.read() == b"0 orders\n"
