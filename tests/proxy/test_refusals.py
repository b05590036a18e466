"""A request refused after its head was parsed is answered and logged, and reaches no app."""

import pytest

from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.proxy.router import Route, Router
from balancer.spec.worker import MatchSpec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

TOO_LARGE = b"POST /up HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\nContent-Length: 11\r\n\r\n"
CHUNKED = b"POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        pytest.param(TOO_LARGE + b"01234567890", 413, "body_too_large", id="by its length"),
        pytest.param(CHUNKED + b"b\r\n01234567890\r\n0\r\n\r\n", 413, "body_too_large", id="by its chunks"),
        pytest.param(CHUNKED + b"xyz\r\n", 400, "malformed_request", id="malformed chunks"),
    ],
)
def test_a_body_that_cannot_be_accepted_is_refused(
    make_harness: MakeHarness, request_bytes: bytes, status: int, reason: str
) -> None:
    harness = make_harness(1, limits={"body_bytes": 10})
    client = harness.ask(request_bytes)
    sent = client.take()
    assert status_of(sent) == status
    assert b"Connection: close" in head_of(sent)
    assert client.eof_written
    assert harness.loop.dials == []
    logged = harness.logged()
    assert (logged["method"], logged["target"], logged["host"]) == ("POST", "/up", "a")
    assert (logged["status"], logged["reason"], logged["attempts"]) == (status, reason, 0)
    assert harness.requests_counted(b"POST", status) == 1


def test_refusals_have_the_form_that_the_client_prefers(make_harness: MakeHarness) -> None:
    harness = make_harness(1, limits={"body_bytes": 10})
    client = harness.ask(TOO_LARGE)
    assert body_of(client.take()).startswith(b"{")


class FailingOnce(Router):
    """Raises for the first request."""

    __slots__ = ("failed",)

    def __init__(self, routes: list[Route]) -> None:
        super().__init__(routes, [MatchSpec()])
        self.only = None
        self.failed = False

    def match(self, head: RequestHead, peer: Peer) -> Route:
        if not self.failed:
            self.failed = True
            raise ZeroDivisionError("a bug planted in the router")
        return super().match(head, peer)


def test_a_bug_before_the_exchange_has_begun(harness: Harness) -> None:
    harness.expects_bug = True
    harness.proxy.entrance.router = FailingOnce(harness.proxy.router.routes)
    client = harness.ask()
    assert status_of(client.take()) == 500
    assert client.eof_written
    assert "a bug planted in the router" in (harness.logs[0][2] or "")
    again = harness.ask(GET)
    harness.answer()
    assert again.take() == OK
