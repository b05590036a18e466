"""The host names that the admin listener accepts, by its address, over real sockets."""

import asyncio
import json
import socket
from collections.abc import Sequence

import pytest

from balancer.admin.hosts import Hosts, host_of
from balancer.admin.server import AdminServer
from tests.admin.harness import FakeInstance

PATIENCE = 20.0
PATHS = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/pools",
    "/api/config",
    "/api/failures",
    "/api/events",
    "/no",
]


async def ask(
    listen: str, request: str, names: Sequence[str] = (), through: str | None = None
) -> tuple[int, str]:
    """The status and the error of the response to this raw request."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    listener = socket.create_server((listen, 0), family=family)
    port = listener.getsockname()[1]
    server = AdminServer(FakeInstance(), "", "", names, most=100)
    await server.start(listener)
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(through or listen, port)
            writer.write(request.replace("PORT", str(port)).encode("latin-1"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.partition(":")[2])
                for line in head.lower().split("\r\n")
                if line.startswith("content-length:")
            )
            body = await reader.readexactly(length) if not request.startswith("HEAD") else b""
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()
    status = int(head.split(" ")[1])
    return status, json.loads(body)["error"] if status >= 400 and body else ""


def get(host: str, path: str = "/healthz") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"


def refused(host: str) -> tuple[int, str]:
    return 403, (
        f"{host} is not a name of this listener: use localhost or 127.0.0.1, or add the name to ADMIN_HOSTS"
    )


LOOPBACK = [
    *("127.0.0.1:PORT", "127.0.0.1", "127.9.9.9", "127.0.0.1:", " 127.0.0.1 "),
    *("localhost", "LocalHost:PORT", "localhost.", "lb.localhost:1"),
    *("[::1]", "[0:0::1]:PORT", "[::ffff:127.0.0.1]"),
]
FOREIGN = [
    *("evil.example", "evil.example:9901", "127.0.0.1.nip.io", "localhost.evil.example", "notlocalhost"),
    *("evil@127.0.0.1", "evil:x@127.0.0.1:80", "127.0.0.1@evil.example"),
    *("10.0.0.5", "0.0.0.0", "[::]", "[fe80::1]", "127.1", "2130706433", "0x7f.0.0.1"),
    *("127.0.0.1 evil.example", "127.0.0.1,evil.example", "[::1", "::1"),
    *("127.0.0.1/", "127.0.0.1#", "127.0.0.1:80:80"),
]


@pytest.mark.parametrize("host", LOOPBACK)
async def test_a_listener_on_loopback_answers_for_loopback_names_and_addresses(host: str) -> None:
    assert await ask("127.0.0.1", get(host)) == (200, "")


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_listener_on_loopback_refuses_other_hosts(host: str) -> None:
    assert await ask("127.0.0.1", get(host)) == refused(host)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "POST"])
async def test_a_foreign_host_is_refused_for_every_resource(path: str, method: str) -> None:
    request = (
        f"{method} {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\n\r\n{}"
    )
    status, problem = await ask("127.0.0.1", request)
    assert (status, problem) == (403, "" if method == "HEAD" else refused("evil.example")[1])


async def test_on_ipv6_loopback_the_same_hosts_are_accepted() -> None:
    assert await ask("::1", get("[::1]:PORT")) == (200, "")
    assert await ask("::1", get("evil.example")) == refused("evil.example")


@pytest.mark.parametrize(
    "request_",
    ["GET /healthz HTTP/1.0\r\n\r\n", "GET /healthz HTTP/1.1\r\nHost:\r\n\r\n"],
    ids=["HTTP/1.0", "empty"],
)
async def test_a_request_without_host_is_answered(request_: str) -> None:
    assert await ask("127.0.0.1", request_) == (200, "")


async def test_a_target_in_absolute_form_is_as_good_as_a_host() -> None:
    request = "GET http://evil.example/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert await ask("127.0.0.1", request) == refused("evil.example")
    request = "GET http://127.0.0.1/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    assert await ask("127.0.0.1", request) == refused("evil.example")


async def test_admin_hosts_adds_names_and_addresses() -> None:
    names = ("lb.example", "10.0.0.5")
    assert await ask("127.0.0.1", get("LB.example:9901"), names) == (200, "")
    assert await ask("127.0.0.1", get("10.0.0.5"), names) == (200, "")
    assert await ask("127.0.0.1", get("localhost"), names) == (200, "")
    assert await ask("127.0.0.1", get("10.0.0.6"), names) == refused("10.0.0.6")
    assert await ask("127.0.0.1", get("www.lb.example"), names) == refused("www.lb.example")


async def test_off_loopback_any_host_is_accepted_until_hosts_are_configured() -> None:
    everywhere = "0.0.0.0"
    assert await ask(everywhere, get("balancer:9901"), through="127.0.0.1") == (200, "")
    assert await ask(everywhere, get("balancer:9901"), ["balancer"], "127.0.0.1") == (200, "")
    assert await ask(everywhere, get("localhost"), ["balancer"], "127.0.0.1") == (200, "")
    assert await ask(everywhere, get("10.42.0.7:9901"), ["balancer"], "127.0.0.1") == (200, "")
    assert await ask(everywhere, get("evil.example"), ["balancer"], "127.0.0.1") == refused("evil.example")


async def test_admin_hosts_do_not_allow_changes_without_a_token() -> None:
    request = (
        "PATCH /api/pools/default/upstreams/app1:8000 HTTP/1.1\r\nHost: lb.example\r\n"
        'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"weight": 3}'
    )
    assert await ask("127.0.0.1", request, ["lb.example"]) == (
        403,
        (
            "the request asks for lb.example, not for 127.0.0.1 or localhost: set ADMIN_TOKEN to allow "
            "changes from other machines"
        ),
    )


def test_hosts_are_compared_without_case_port_and_trailing_dot() -> None:
    hosts = Hosts(frozenset(["lb.example"]), is_loopback=True)
    assert hosts.answers_for("LB.Example.:80")
    assert host_of("LB.Example.:80") == "lb.example"
    assert host_of("[2001:DB8:0::1]:80") == "2001:db8::1"
    assert host_of("a b") == ""
