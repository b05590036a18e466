"""A real start, as in production: what the supervisor keeps, and what it answers meanwhile."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PATIENCE = 20.0


@contextmanager
def started() -> Iterator[tuple[int, int]]:
    """`python -m balancer`, without the tests' forkserver; its pid and admin port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin = taken.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    settings = {
        "BALANCER_LISTEN": "127.0.0.1:0",
        "BALANCER_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "BALANCER_UPSTREAMS": "127.0.0.1:1",
        "BALANCER_HEALTH_CHECK__ENABLED": "false",
        "BALANCER_WORKERS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "balancer"], env={**own, **settings}, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid, admin
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def get(port: int, target: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_settings_models_are_not_kept_and_the_admin_listener_answers_from_the_start() -> None:
    with started() as (pid, admin):
        end = time.monotonic() + PATIENCE
        while not connects(admin):
            assert time.monotonic() < end
        # Accepted by the kernel, and answered once the server is loaded, whether workers are ready or not.
        status, body = get(admin, "/readyz")
        assert status in (200, 503), body
        while get(admin, "/readyz")[0] != 200:
            assert time.monotonic() < end
        assert get(admin, "/metrics")[0] == 200
        config = json.loads(get(admin, "/api/config")[1])
        assert config["settings"]["upstreams"] == ["127.0.0.1:1"]
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "/aiohttp/" in mapped
        assert "/pydantic_core/" not in mapped
        assert "/yaml/" not in mapped
