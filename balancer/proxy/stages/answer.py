"""A route that answers by itself: a redirect, or a fixed response such as a maintenance page."""

from http import HTTPStatus
from typing import Final

from balancer.http.edits import Facts, value_of
from balancer.http.framing import NO_BODY
from balancer.http.response_head import ResponseHead
from balancer.spec.worker import AnswerSpec

# RFC 9110 section 8.6: 204 never has a Content-Length, and that of a 304 would be about the whole response.
_WITHOUT_LENGTH: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Answer:
    """Its request is not forwarded, and the rest of its body is not read."""

    __slots__ = ("_fields", "_lines", "_status", "_status_line", "body")

    def __init__(self, spec: AnswerSpec) -> None:
        self.body = spec.body
        self._status = spec.status
        self._status_line = f"HTTP/1.1 {spec.status} {_phrase(spec.status)}".encode()
        self._lines: list[bytes] = []
        fields = [*spec.headers, ("Location", spec.location)] if spec.location else spec.headers
        self._fields = [(name.encode(), value_of(name, value)) for name, value in fields]
        if spec.status not in _WITHOUT_LENGTH:
            self._lines.append(b"Content-Length: %d" % len(spec.body))

    def head(self, facts: Facts) -> ResponseHead:
        """The response's head for a request. Raises ProtocolError."""
        head = ResponseHead(self._status, self._status_line, True)
        head.length = NO_BODY
        head.lines = self._lines + [b"%b: %b" % (name, value.of(facts)) for name, value in self._fields]
        return head


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
