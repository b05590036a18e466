"""Responses made here: one short body per failure, rendered ahead, with Proxy-Status (RFC 9209)."""

from http import HTTPStatus

import orjson

from balancer.errors import FAILURES, Failure, Source
from balancer.http.head import RequestHead

_RETRY_AFTER = b"Retry-After: 1\r\n"


# RFC 9110's names where Python still has those of RFC 2616.
_PHRASES = {413: "Content Too Large", 414: "URI Too Long"}


def _phrase(status: int) -> str:
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def _start(failure: Failure) -> bytes:
    """Status line and the lines that are always the same. RFC 9209 section 2: a list member per proxy."""
    proxy_status = "balancer"
    if failure.proxy_error is not None:
        proxy_status += f"; error={failure.proxy_error}"
    proxy_status += f'; details="{failure.reason}"'
    start = (
        f"HTTP/1.1 {failure.status} {_phrase(failure.status)}\r\nProxy-Status: {proxy_status}\r\n".encode()
    )
    return start + _RETRY_AFTER if failure.status == 503 and failure.source is Source.BALANCER else start


_STARTS: dict[Failure, bytes] = {failure: _start(failure) for failure in FAILURES}


def prefers_json(head: RequestHead) -> bool:
    """Whether the request asks for JSON rather than a page a person reads."""
    accepted = (head.find(b"accept") or b"").lower()
    return b"json" in accepted and b"text/html" not in accepted


def render_failure(
    failure: Failure,
    detail: str,
    *,
    date_line: bytes,
    close: bool,
    as_json: bool,
    head_only: bool,
    request_id: bytes,
) -> bytes:
    """A whole response. `detail`, if any, says more than the failure's own text.

    `head_only` leaves the body out, as the answer to HEAD; Content-Length stays.
    """
    message = f"{failure.text} ({detail})" if detail else failure.text
    if as_json:
        content_type = b"application/json"
        body = orjson.dumps(
            {
                "status": failure.status,
                "reason": failure.reason,
                "message": message,
                "request_id": request_id.decode("ascii"),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
    else:
        content_type = b"text/plain; charset=utf-8"
        lines = [f"{failure.status} {_phrase(failure.status)}", message]
        if request_id:
            lines.append(f"request id: {request_id.decode('ascii')}")
        body = ("\n".join(lines) + "\n").encode()
    return b"%b%bContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        _STARTS[failure],
        date_line,
        content_type,
        len(body),
        b"Connection: close\r\n" if close else b"",
        b"" if head_only else body,
    )
