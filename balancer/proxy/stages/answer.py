"""A route that answers by itself: a redirect, or a fixed response such as a maintenance page."""

from http import HTTPStatus

from balancer.http.edits import Facts, Text
from balancer.http.framing import NO_BODY
from balancer.http.response_head import ResponseHead
from balancer.spec.worker import AnswerSpec


class Answer:
    """Its request is not forwarded, and the rest of its body is not read."""

    __slots__ = ("_lines", "_location", "_status", "_status_line", "body")

    def __init__(self, spec: AnswerSpec) -> None:
        self.body = spec.body
        self._status = spec.status
        self._status_line = f"HTTP/1.1 {spec.status} {_phrase(spec.status)}".encode()
        self._location = Text(spec.location) if spec.location else None
        self._lines = [f"{name}: {value}".encode() for name, value in spec.headers]
        if spec.status != HTTPStatus.NO_CONTENT:
            self._lines.append(b"Content-Length: %d" % len(spec.body))

    def head(self, facts: Facts) -> ResponseHead:
        """The response's head for a request. Raises ProtocolError."""
        head = ResponseHead(self._status, self._status_line, True)
        head.length = NO_BODY
        head.lines = self._lines.copy()
        if self._location is not None:
            head.lines.append(b"Location: " + self._location.place(facts))
        return head


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
