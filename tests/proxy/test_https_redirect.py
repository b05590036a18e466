"""The plain listener sends its clients to the TLS listener, where that is wanted."""

import pytest

from balancer.proxy.router import Route
from balancer.spec.worker import FieldsSpec
from balancer.telemetry.columns import CODE_COLUMN, METHOD_COLUMN
from tests.fakes.specs import route_spec
from tests.fakes.tls_specs import tls_spec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness, body_of, head_of, status_of

PROXY = "10.9.9.9"


def redirecting(make: MakeHarness, **changes: object) -> Harness:
    values: dict[str, object] = {"public_port": 443, **changes}
    return make(tls=tls_spec(redirect=True, **values), trusted_proxies=[PROXY])


def request(target: str = "/", *lines: str, host: str = "shop.example") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def location(data: bytes) -> bytes:
    assert status_of(data) == 308
    (line,) = [line for line in head_of(data) if line.startswith(b"Location: ")]
    return line.removeprefix(b"Location: ")


@pytest.mark.parametrize(
    ("port", "asked", "found"),
    [
        pytest.param(443, request("/a/b?c=d"), b"https://shop.example/a/b?c=d", id="path and query stay"),
        pytest.param(443, request(host="shop.example:8080"), b"https://shop.example/", id="not the port"),
        pytest.param(8443, request(), b"https://shop.example:8443/", id="the public port"),
        pytest.param(8443, request(host="[::1]:80"), b"https://[::1]:8443/", id="IPv6"),
        pytest.param(
            443, request("//evil.example/x"), b"https://shop.example/evil.example/x", id="two slashes"
        ),
        pytest.param(443, request("/.well-known/x"), b"https://shop.example/.well-known/x", id="well-known"),
    ],
)
def test_a_request_is_redirected(make_harness: MakeHarness, port: int, asked: bytes, found: bytes) -> None:
    harness = redirecting(make_harness, public_port=port)
    client = harness.ask(asked)
    data = client.take()
    assert location(data) == found
    assert body_of(data) == b""
    assert not harness.loop.transports
    assert location(harness.ask(asked, client).take()) == found  # on the same connection


def test_it_counts_for_the_route_that_it_would_have_taken(make_harness: MakeHarness) -> None:
    harness = redirecting(make_harness)
    harness.ask(request()).take()
    cells = harness.page.row(3)
    assert cells[METHOD_COLUMN[b"GET"] + CODE_COLUMN[308]] == 1
    record = harness.logged()
    assert (record["status"], record["route"], record["upstream"]) == (308, "default", None)


def test_challenges_of_certificate_authorities_go_to_the_app(make_harness: MakeHarness) -> None:
    harness = redirecting(make_harness)
    harness.ask(request("/.well-known/acme-challenge/token"))
    harness.answer()
    assert harness.upstream.take().startswith(b"GET /.well-known/acme-challenge/token ")


@pytest.mark.parametrize(
    ("address", "line", "redirected"),
    [
        pytest.param(PROXY, "X-Forwarded-Proto: https", False, id="a trusted proxy says https"),
        pytest.param(PROXY, "Forwarded: proto=https", False, id="by Forwarded"),
        pytest.param(PROXY, "X-Forwarded-Ssl: on", False, id="by another field"),
        pytest.param(PROXY, "X-Forwarded-Proto: http", True, id="a trusted proxy says http"),
        pytest.param(PROXY, "Accept: */*", True, id="a trusted proxy says nothing"),
        pytest.param("192.0.2.9", "X-Forwarded-Proto: https", True, id="anybody says https"),
    ],
)
def test_a_client_that_speaks_https_with_a_trusted_proxy_is_not_redirected(
    make_harness: MakeHarness, address: str, line: str, redirected: bool
) -> None:
    harness = redirecting(make_harness)
    for _ in range(2):  # the second time its head is known
        client = harness.client(address)
        for _ in range(2):
            harness.ask(request("/", line), client)
            if redirected:
                assert location(client.take()) == b"https://shop.example/"
            else:
                harness.answer()
                assert status_of(client.take()) == 200


def test_a_request_without_host_cannot_be_redirected(make_harness: MakeHarness) -> None:
    harness = redirecting(make_harness)
    assert status_of(harness.ask(b"GET / HTTP/1.0\r\n\r\n").take()) == 400


def test_what_a_route_changes_does_not_change_the_redirect(make_harness: MakeHarness) -> None:
    fields = FieldsSpec(set=(("Location", "https://elsewhere.example/"),))
    harness = make_harness(tls=tls_spec(redirect=True), routes=[route_spec("default", response=fields)])
    assert location(harness.ask(request()).take()) == b"https://shop.example/"


def test_without_it_the_plain_listener_has_the_same_router(make_harness: MakeHarness) -> None:
    harness = make_harness(tls=tls_spec())
    assert harness.proxy.entrance.router is harness.proxy.router
    assert isinstance(harness.proxy.entrance.router.only, Route)
