"""A check without a whole response: who is to blame, and the name of the fault."""

import errno
import os

import pytest

from balancer.connections.tls_faults import TlsFault
from balancer.errors import (
    MALFORMED_RESPONSE,
    RESPONSE_HEAD_TOO_LARGE,
    RESPONSE_TRUNCATED,
    UPSTREAM_CLOSED,
    UPSTREAM_TLS_ALERT,
    UPSTREAM_TLS_BROKEN,
    Failure,
)
from balancer.health.faults import fault_of, not_connected
from balancer.health.result import Reply, Result


@pytest.mark.parametrize(
    ("number", "result", "piece"),
    [
        pytest.param(errno.ECONNREFUSED, Result.REFUSED, "nothing listens on 10.0.0.1:8000", id="refused"),
        pytest.param(
            errno.EHOSTUNREACH, Result.UNREACHABLE, "10.0.0.1:8000 cannot be reached", id="no route"
        ),
        pytest.param(errno.ENETUNREACH, Result.UNREACHABLE, "Network is unreachable", id="no network"),
        pytest.param(errno.ETIMEDOUT, Result.UNREACHABLE, "timed out", id="the kernel gave up"),
        pytest.param(errno.EADDRNOTAVAIL, Result.UNREACHABLE, "address", id="no address of that family"),
        pytest.param(errno.EMFILE, Result.NOT_MADE, "Too many open files", id="our open files"),
        pytest.param(errno.ENFILE, Result.NOT_MADE, "no check could be made", id="the machine's open files"),
    ],
)
def test_failures_without_a_connection_have_their_result(number: int, result: Result, piece: str) -> None:
    reply = not_connected(OSError(number, os.strerror(number)), "10.0.0.1:8000", by_tls=False)
    assert (reply.result, reply.status) == (result, 0)
    assert piece in reply.detail


@pytest.mark.parametrize(
    ("failure", "result", "detail"),
    [
        pytest.param(UPSTREAM_CLOSED, Result.CLOSED, "what was said", id="closed"),
        pytest.param(RESPONSE_TRUNCATED, Result.CLOSED, "its response broke off", id="broken off"),
        pytest.param(
            RESPONSE_HEAD_TOO_LARGE,
            Result.TOO_MUCH,
            "what was said came without a final response",
            id="large head",
        ),
        pytest.param(
            MALFORMED_RESPONSE,
            Result.MALFORMED,
            "its response is not valid HTTP/1.1 (what was said)",
            id="malformed",
        ),
    ],
)
def test_failures_without_a_whole_response_have_their_result(
    failure: Failure, result: Result, detail: str
) -> None:
    reply = fault_of(failure, "what was said")
    assert (reply.result, reply.status, reply.detail) == (result, 0, detail)


ALERT = "it refuses the connection (TLS alert: "


@pytest.mark.parametrize(
    ("failure", "detail", "fault"),
    [
        (UPSTREAM_TLS_ALERT, f"{ALERT}certificate required)", TlsFault.WANTS_CERTIFICATE),
        (UPSTREAM_TLS_ALERT, f"{ALERT}unknown ca)", TlsFault.WANTS_CERTIFICATE),
        (UPSTREAM_TLS_ALERT, f"{ALERT}internal error)", TlsFault.ALERT),
        (UPSTREAM_TLS_BROKEN, "TLS failed (bad record mac)", TlsFault.OTHER),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_end_of_tls_instead_of_a_response_has_its_fault(
    failure: Failure, detail: str, fault: TlsFault
) -> None:
    assert fault_of(failure, detail) == Reply(Result.TLS, 0, detail, fault)
