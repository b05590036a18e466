"""Responses made here: one short body per failure, rendered in advance, with Proxy-Status (RFC 9209).

Under overload most responses are made here, so the parts that never change are rendered once.
"""

from http import HTTPStatus
from typing import Final

import orjson

from balancer.errors import FAILURES, VARIANTS, Failure
from balancer.http.request_head import RequestHead

LONGEST_RETRY_AFTER: Final = 30  # seconds

# RFC 9110's phrases, where Python still has those of RFC 2616.
_PHRASES: Final = {413: "Content Too Large", 414: "URI Too Long"}
_RETRY_AFTER: Final = [b"Retry-After: %d\r\n" % seconds for seconds in range(LONGEST_RETRY_AFTER + 1)]


def _phrase(status: int) -> str:
    return _PHRASES.get(status) or HTTPStatus(status).phrase


class _Parts:
    """The constant parts of every response for one failure."""

    __slots__ = ("body", "invites", "start")

    def __init__(self, failure: Failure) -> None:
        # RFC 9209 section 2: one list member per proxy.
        proxy_status = "balancer"
        if failure.proxy_error is not None:
            proxy_status += f"; error={failure.proxy_error}"
        proxy_status += f'; details="{failure.reason}"'
        line = f"HTTP/1.1 {failure.status} {_phrase(failure.status)}\r\n"
        self.start = f"{line}Proxy-Status: {proxy_status}\r\n".encode()
        self.body = _page(failure, failure.text)
        self.invites = failure.status in (429, 503)  # to retry


def _page(failure: Failure, message: str) -> bytes:
    return f"{failure.status} {_phrase(failure.status)}\n{message}\n".encode()


_PARTS: Final[dict[Failure, _Parts]] = {failure: _Parts(failure) for failure in (*FAILURES, *VARIANTS)}


def prefers_json(head: RequestHead) -> bool:
    """Whether the request asks for JSON rather than a page for people."""
    if head.raw and b"json" not in head.raw.lower():
        return False  # the head has it nowhere; searching for Accept is slow
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
    retry_after: int = 1,
) -> tuple[bytes, int]:
    """Returns a whole response, and how many bytes of it are the body. `detail`, if any, is added to the
    failure's own text.

    `head_only` omits the body, for a response to HEAD; Content-Length stays. `retry_after`, in seconds from 1
    to LONGEST_RETRY_AFTER, is sent if the failure is a 429 or 503.
    """
    parts = _PARTS[failure]
    if as_json:
        content_type = b"application/json"
        body = orjson.dumps(
            {
                "status": failure.status,
                "reason": failure.reason,
                "message": _message(failure, detail),
                "request_id": request_id.decode("ascii"),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
    else:
        content_type = b"text/plain; charset=utf-8"
        body = _page(failure, _message(failure, detail)) if detail else parts.body
        if request_id:
            body = b"%brequest id: %b\n" % (body, request_id)
    sent = b"" if head_only else body
    data = b"%b%b%bContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        parts.start,
        _RETRY_AFTER[retry_after] if parts.invites else b"",
        date_line,
        content_type,
        len(body),
        b"Connection: close\r\n" if close else b"",
        sent,
    )
    return data, len(sent)


def _message(failure: Failure, detail: str) -> str:
    return f"{failure.text} ({detail})" if detail else failure.text
