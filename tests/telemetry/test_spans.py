"""Spans of a request, by OpenTelemetry's conventions for HTTP."""

from typing import Any

import pytest

from balancer.telemetry.spans import Span, count, spans
from tests.fakes.traces import PARENT, SPAN, TRACE, traced_attempt, traced_request


def made(**changes: Any) -> tuple[Span, Span]:
    """The span of a request, and that of its last attempt."""
    all_spans = list(spans(traced_request(**changes)))
    return all_spans[0], all_spans[-1]


def test_a_request_is_a_span_of_kind_server() -> None:
    server, _ = made()
    assert server == Span(
        name="GET web",
        is_server=True,
        trace=TRACE,
        span=SPAN,
        parent=PARENT,
        remote=True,
        flags=1,
        state="",
        began_ns=1_700_000_000_000_000_000,
        ended_ns=1_700_000_000_000_010_000,
        attributes={
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "url.path": "/a/b",
            "url.scheme": "https",
            "server.address": "shop.example",
            "client.address": "203.0.113.5",
            "network.peer.address": "10.9.0.1",
            "network.protocol.version": "1.1",
            "user_agent.original": "curl/8",
            "balancer.route": "web",
            "balancer.pool": "default",
            "balancer.upstream": "app1:8000",
            "balancer.attempts": 1,
            "balancer.request_id": "id-1",
            "balancer.request_bytes": 3,
            "balancer.response_bytes": 5,
        },
        is_error=False,
        description="",
    )


def test_an_attempt_is_a_span_of_kind_client_below_it() -> None:
    _, client = made()
    assert client == Span(
        name="GET",
        is_server=False,
        trace=TRACE,
        span=f"{1:016x}",
        parent=SPAN,
        remote=False,
        flags=1,
        state="",
        began_ns=1_700_000_000_000_001_000,
        ended_ns=1_700_000_000_000_009_000,
        attributes={
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "url.full": "http://app1:8000/a/b",
            "server.address": "app1",
            "server.port": 8000,
            "network.peer.address": "10.0.0.1",
            "network.peer.port": 8000,
            "network.protocol.version": "1.1",
            "balancer.route": "web",
            "balancer.pool": "default",
            "balancer.upstream": "app1:8000",
            "balancer.reused": True,
            "balancer.first_byte_seconds": 6e-6,
        },
        is_error=False,
        description="",
    )


@pytest.mark.parametrize(
    ("changes", "kind", "is_error"),
    [
        pytest.param({"status": 200}, None, False, id="success"),
        pytest.param({"status": 404}, None, False, id="the client's error"),
        pytest.param({"status": 500}, "500", True, id="the app's error"),
        pytest.param({"status": 502, "reason": "connect_refused"}, "connect_refused", True, id="ours"),
        pytest.param(
            {"status": 408, "reason": "body_timeout"}, "body_timeout", False, id="ours, of a client"
        ),
        pytest.param({"status": 200, "reason": "truncated"}, "truncated", True, id="broken off"),
        pytest.param({"status": 499}, "client_gone", False, id="the client has left"),
    ],
)
def test_the_error_of_a_request(changes: dict[str, Any], kind: str | None, is_error: bool) -> None:
    server, _ = made(**changes)
    assert (server.attributes.get("error.type"), server.is_error) == (kind, is_error)
    assert ("http.response.status_code" in server.attributes) is (changes["status"] != 499)
    assert server.attributes.get("balancer.reason", "") == changes.get("reason", "")
    assert server.description == (changes.get("reason", "") if is_error else "")


@pytest.mark.parametrize(
    ("status", "failure", "kind", "is_error"),
    [
        pytest.param(200, "", None, False, id="success"),
        pytest.param(404, "", "404", True, id="the caller's error"),
        pytest.param(503, "", "503", True, id="the app's error"),
        pytest.param(0, "connect_refused", "connect_refused", True, id="no response"),
        pytest.param(200, "truncated", "truncated", True, id="broken off"),
        pytest.param(0, "client_gone", "client_gone", False, id="given up, as the client has left"),
    ],
)
def test_the_error_of_an_attempt(status: int, failure: str, kind: str | None, is_error: bool) -> None:
    _, client = made(attempts=(traced_attempt(status=status, failure=failure),))
    assert (client.attributes.get("error.type"), client.is_error) == (kind, is_error)
    assert client.attributes.get("http.response.status_code", 0) == status
    assert client.attributes.get("balancer.reason", "") == failure


def test_attempts_after_the_first_are_counted() -> None:
    record = traced_request(attempts=tuple(traced_attempt(number) for number in (1, 2, 3)))
    server, *clients = spans(record)
    assert count(record) == 4
    assert [one.attributes.get("http.request.resend_count") for one in clients] == [None, 1, 2]
    assert server.attributes["balancer.upstream"] == "app3:8000"
    assert len({one.span for one in clients}) == 3


def test_a_wait_for_a_slot_is_shown() -> None:
    server, _ = made(queue_ns=2_500_000)
    assert server.attributes["balancer.queue_seconds"] == 0.0025


def test_the_time_that_a_dial_took_is_shown() -> None:
    _, client = made(attempts=(traced_attempt(began_ns=1_000, sent_ns=501_000, ended_ns=900_000),))
    assert client.attributes["balancer.connect_seconds"] == 0.0005


def test_an_answer_of_our_own_has_no_attempt() -> None:
    (server,) = spans(traced_request(status=308, pool="", attempts=()))
    assert not {"balancer.pool", "balancer.upstream"} & server.attributes.keys()


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/a", None),
        ("/a?", ""),
        ("/a?b=c&token=s3cret", "b=REDACTED&token=REDACTED"),
        ("/a?b", "b"),
        ("/a?b=c?d=e", "b=REDACTED"),
    ],
)
def test_values_of_a_query_are_not_shown(target: str, query: str | None) -> None:
    server, client = made(target=target)
    assert (server.attributes["url.path"], server.attributes.get("url.query")) == ("/a", query)
    end = "" if query is None else f"?{query}"
    assert client.attributes["url.full"] == f"http://app1:8000/a{end}"


def test_a_method_that_could_be_anything_is_no_name() -> None:
    server, client = made(method="BREW")
    for one, name in ((server, "HTTP web"), (client, "HTTP")):
        assert one.name == name
        assert one.attributes["http.request.method"] == "_OTHER"
        assert one.attributes["http.request.method_original"] == "BREW"


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [
        ("shop.example:8443", "shop.example", 8443),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("", None, None),
    ],
)
def test_the_server_is_the_host_that_was_asked_for(host: str, address: str | None, port: int | None) -> None:
    server, _ = made(host=host)
    assert server.attributes.get("server.address") == address
    assert server.attributes.get("server.port") == port


def test_an_upstream_by_tls_and_one_at_a_unix_socket() -> None:
    _, client = made(attempts=(traced_attempt(upstream="https://app1:8443", scheme="https", port=8443),))
    assert client.attributes["url.full"] == "https://app1:8443/a/b"
    assert client.attributes["server.port"] == 8443
    _, client = made(attempts=(traced_attempt(upstream="unix:/run/a.sock", host="unix:/run/a.sock", port=0),))
    assert client.attributes["network.transport"] == "unix"
    assert client.attributes["server.address"] == "/run/a.sock"
    assert "network.peer.port" not in client.attributes
