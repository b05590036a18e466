"""Local responses: complete, short, and with the error types of RFC 9209."""

import json
import re

import orjson
import pytest

from balancer.errors import FAILURES, MALFORMED_REQUEST, NO_UPSTREAM, Failure
from balancer.http.request_head import parse_request_head
from balancer.http.responses import prefers_json, render_failure

DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
# RFC 9209 section 2.3.
ERROR_TYPES = [
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable",
    "destination_ip_prohibited", "destination_ip_unroutable", "connection_refused",
    "connection_terminated", "connection_timeout", "connection_read_timeout",
    "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size", "http_response_header_size",
    "http_response_body_size", "http_response_trailer_section_size", "http_response_trailer_size",
    "http_response_transfer_coding", "http_response_content_coding", "http_response_timeout",
    "http_upgrade_failed", "http_protocol_error", "proxy_internal_response", "proxy_internal_error",
    "proxy_configuration_error", "proxy_loop_detected",
]  # fmt: skip

every_failure = pytest.mark.parametrize("failure", FAILURES, ids=[failure.reason for failure in FAILURES])


def render(
    failure: Failure,
    *,
    close: bool = False,
    as_json: bool = False,
    head_only: bool = False,
    request_id: bytes = b"r-1",
    detail: str = "",
) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """The status line, the fields and the body."""
    data, length = render_failure(
        failure,
        detail,
        date_line=DATE,
        close=close,
        as_json=as_json,
        head_only=head_only,
        request_id=request_id,
    )
    head, _, body = data.partition(b"\r\n\r\n")
    assert length == len(body)
    status, *lines = head.split(b"\r\n")
    return status, {line.partition(b": ")[0]: line.partition(b": ")[2] for line in lines}, body


@every_failure
def test_local_response_as_text(failure: Failure) -> None:
    status, fields, body = render(failure)
    assert re.fullmatch(rb"HTTP/1\.1 %d [A-Z][A-Za-z -]+" % failure.status, status)
    assert int(fields[b"Content-Length"]) == len(body)
    assert fields[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert failure.text.encode() in body
    assert b"r-1" in body
    assert b"Connection" not in fields
    assert b"Date" in fields


@every_failure
def test_local_response_as_json(failure: Failure) -> None:
    _, fields, body = render(failure, as_json=True)
    assert fields[b"Content-Type"] == b"application/json"
    assert int(fields[b"Content-Length"]) == len(body)
    assert json.loads(body) == {
        "status": failure.status, "reason": failure.reason, "message": failure.text, "request_id": "r-1",
    }  # fmt: skip


@every_failure
def test_proxy_status(failure: Failure) -> None:
    _, fields, _ = render(failure)
    said = fields[b"Proxy-Status"].decode()
    match = re.fullmatch(r'balancer(?:; error=([a-z_]+))?; details="([a-z_0-9]+)"', said)
    assert match is not None
    assert match[1] == failure.proxy_error
    assert match[1] is None or match[1] in ERROR_TYPES
    assert match[2] == failure.reason


@every_failure
def test_every_503_and_429_has_retry_after(failure: Failure) -> None:
    _, fields, _ = render(failure)
    assert (b"Retry-After" in fields) is (failure.status in (429, 503))


@pytest.mark.parametrize("as_json", [True, False])
def test_the_response_to_head_has_the_length_and_no_body(as_json: bool) -> None:
    _, fields, body = render(NO_UPSTREAM, as_json=as_json)
    _, head_fields, nothing = render(NO_UPSTREAM, as_json=as_json, head_only=True)
    assert nothing == b""
    assert head_fields == fields
    assert body != b""


def test_closing_is_announced() -> None:
    assert render(MALFORMED_REQUEST, close=True)[1][b"Connection"] == b"close"


def test_without_a_request_id_none_is_shown() -> None:
    assert b"request id" not in render(MALFORMED_REQUEST, request_id=b"")[2]


@pytest.mark.parametrize(
    ("line", "json_wanted"),
    [
        (b"X: y", False),
        (b"Accept: */*", False),
        (b"Accept: application/json", True),
        (b"accept:Application/JSON;q=0.9", True),
        (b"Accept: application/problem+json, */*", True),
        (b"Accept: text/html,application/json", False),
        (b"X-Accept: application/json", False),
    ],
)
def test_which_clients_prefer_json(line: bytes, json_wanted: bool) -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line, 8192, 100)
    assert prefers_json(head) is json_wanted


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_the_detail_is_included(as_json: bool) -> None:
    _, fields, body = render(FAILURES[0], as_json=as_json, detail='two "Host" fields')
    assert int(fields[b"Content-Length"]) == len(body)
    told = orjson.loads(body)["message"] if as_json else body.decode()
    assert 'two "Host" fields' in told
