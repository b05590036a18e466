"""The benchmark's own generators and origins, on real sockets."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from loadtests.bench.generators.frames import ECHO, QUESTION
from loadtests.builds import plain
from loadtests.processes import free_ports

pytestmark = pytest.mark.integration
MODULE = "loadtests.bench.generators"


def command(name: str, *words: object) -> list[str]:
    return [sys.executable, "-m", f"{MODULE}.{name}", *map(str, words)]


@contextlib.contextmanager
def origin(kind: str) -> Iterator[int]:
    """The port of a running origin."""
    (port,) = free_ports(1)
    process = subprocess.Popen(command("serve", kind, 100, port), env=plain().environment())
    try:
        deadline = time.monotonic() + 20.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(10.0)


def run(argv: list[str]) -> dict[str, float]:
    done = subprocess.run(
        argv, env=plain().environment(), capture_output=True, text=True, timeout=60.0, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_the_reading_origin_answers_when_it_has_the_whole_body() -> None:
    with origin("reading") as port, socket.create_connection(("127.0.0.1", port), timeout=0.3) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-")
        client.sendall(b"Length: 6\r\n\r\nabc")
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10.0)
        client.sendall(b"def")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_messages_come_back_from_the_echo_origin() -> None:
    with origin("echo") as port:
        seen = run(command("messages", port, 4, 0.2))
    assert seen["messages"] > 4
    assert 0.0 < seen["p50"] <= seen["p99"]
    assert len(QUESTION) - len(ECHO) == 4  # the mask


def test_an_origin_that_does_not_switch_fails_the_clients() -> None:
    with origin("reading") as port:
        done = subprocess.run(
            command("messages", port, 1, 0.2),
            env=plain().environment(), capture_output=True, text=True, timeout=60.0, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "not switched" in done.stderr


def test_a_crowd_is_served_at_once() -> None:
    with origin("reading") as port:
        seen = run(command("crowd", "burst", port, 50))
    assert (seen["served"], seen["refused"]) == (50, 0)


def test_an_idle_crowd_stays_until_it_is_ended() -> None:
    with origin("reading") as port:
        process = subprocess.Popen(
            command("crowd", "idle", port, 20), env=plain().environment(), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.terminate()
        assert process.wait(10.0) != 0
        process.stdout.close()
