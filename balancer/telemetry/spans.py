"""Spans out of the records of requests (L2), by OpenTelemetry's conventions for HTTP. Pure.

A request becomes a span of kind server, and each attempt one of kind client below it. Names that are not
in the conventions begin with `balancer.`; values of queries are never shown.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from balancer.spec.traced import TracedAttempt, TracedRequest

Value: TypeAlias = str | int | float | bool
CLIENT_GONE: Final = "client_gone"  # its status is 499, which is never sent
_GONE_STATUS: Final = 499
# Other methods could be anything, and there would be names without end.
_METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
_OTHER: Final = "_OTHER"
_QUERY_VALUE: Final = re.compile(r"=[^&]*")
_REDACTED: Final = "=REDACTED"
_UNIX: Final = "unix:"


class Span(NamedTuple):
    """One span. Ids are in hex digits, `parent` is "" for none, and may be `remote`; times are in ns since
    the epoch. `is_error`: its status is error, with `description`."""

    name: str
    is_server: bool
    trace: str
    span: str
    parent: str
    remote: bool
    flags: int
    state: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, Value]
    is_error: bool
    description: str


def count(record: TracedRequest) -> int:
    """How many spans a record becomes."""
    return 1 + len(record.attempts)


def spans(record: TracedRequest) -> Iterator[Span]:
    """Those of one request, its own first."""
    method = record.method if record.method in _METHODS else _OTHER
    of_method: dict[str, Value] = {"http.request.method": method}
    if method == _OTHER:
        of_method["http.request.method_original"] = record.method
    word = "HTTP" if method == _OTHER else method
    yield _server(record, of_method, f"{word} {record.route}")
    for number, attempt in enumerate(record.attempts):
        yield _client(record, attempt, number, of_method, word)


def _server(record: TracedRequest, of_method: dict[str, Value], name: str) -> Span:
    path, mark, query = record.target.partition("?")
    attributes: dict[str, Value] = {
        **of_method,
        "url.path": path,
        "url.scheme": record.scheme,
        "network.protocol.version": f"1.{record.minor}",
        "network.peer.address": record.peer,
        "client.address": record.client,
        "balancer.route": record.route,
        "balancer.attempts": len(record.attempts),
        "balancer.request_id": record.request_id,
        "balancer.request_bytes": record.request_bytes,
        "balancer.response_bytes": record.response_bytes,
    }
    if mark:
        attributes["url.query"] = _masked(query)
    _put_server(attributes, record.host)
    if record.agent:
        attributes["user_agent.original"] = record.agent
    if record.pool:
        attributes["balancer.pool"] = record.pool
    if record.queue_ns >= 0:
        attributes["balancer.queue_seconds"] = record.queue_ns / 1e9
    if record.attempts:
        attributes["balancer.upstream"] = record.attempts[-1].upstream
    status, reason = record.status, record.reason
    if status == _GONE_STATUS:
        attributes["error.type"] = CLIENT_GONE
    else:
        attributes["http.response.status_code"] = status
        if reason or status >= 500:
            attributes["error.type"] = reason or str(status)
    if reason:
        attributes["balancer.reason"] = reason
    # With another status the response was broken off.
    is_error = status >= 500 or (reason != "" and status < 400)
    return Span(
        name=name,
        is_server=True,
        trace=record.trace,
        span=record.span,
        parent=record.parent,
        remote=True,
        flags=record.flags,
        state=record.state,
        began_ns=record.began_ns,
        ended_ns=record.began_ns + record.duration_ns,
        attributes=attributes,
        is_error=is_error,
        description=reason if is_error else "",
    )


def _client(
    record: TracedRequest, attempt: TracedAttempt, number: int, of_method: dict[str, Value], name: str
) -> Span:
    path, mark, query = record.target.partition("?")
    address = attempt.upstream.rpartition("://")[2]
    attributes: dict[str, Value] = {
        **of_method,
        "url.full": f"{attempt.scheme}://{address}{path}" + (f"?{_masked(query)}" if mark else ""),
        "network.protocol.version": "1.1",
        "balancer.route": record.route,
        "balancer.pool": record.pool,
        "balancer.upstream": attempt.upstream,
        "balancer.reused": attempt.reused,
    }
    if attempt.host.startswith(_UNIX):
        attributes["network.transport"] = "unix"
        attributes["server.address"] = attributes["network.peer.address"] = attempt.host.removeprefix(_UNIX)
    else:
        _put_server(attributes, address)
        attributes["network.peer.address"] = attempt.host
        attributes["network.peer.port"] = attempt.port
    if number:
        attributes["http.request.resend_count"] = number
    if attempt.sent_ns > attempt.began_ns:
        attributes["balancer.connect_seconds"] = (attempt.sent_ns - attempt.began_ns) / 1e9
    if attempt.first_byte_ns >= 0:
        attributes["balancer.first_byte_seconds"] = attempt.first_byte_ns / 1e9
    status, failure = attempt.status, attempt.failure
    if status:
        attributes["http.response.status_code"] = status
    if failure or status >= 400:
        attributes["error.type"] = failure or str(status)
    if failure:
        attributes["balancer.reason"] = failure
    is_error = failure != CLIENT_GONE and (failure != "" or status >= 400)
    return Span(
        name=name,
        is_server=False,
        trace=record.trace,
        span=attempt.span,
        parent=record.span,
        remote=False,
        flags=record.flags,
        state=record.state,
        began_ns=record.began_ns + attempt.began_ns,
        ended_ns=record.began_ns + attempt.ended_ns,
        attributes=attributes,
        is_error=is_error,
        description=failure if is_error else "",
    )


def _put_server(attributes: dict[str, Value], authority: str) -> None:
    """The host, and the port if there is one."""
    if not authority:
        return
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():  # no port, or a part of an IPv6 address
        attributes["server.address"] = authority.strip("[]")
    else:
        attributes["server.address"] = host.strip("[]")
        attributes["server.port"] = int(port)


def _masked(query: str) -> str:
    return _QUERY_VALUE.sub(_REDACTED, query)
