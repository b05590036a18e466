"""A check without a whole response: who is to blame, and the name of the fault."""

import errno
import os

import pytest

from balancer.errors import (
    MALFORMED_RESPONSE,
    RESPONSE_HEAD_TOO_LARGE,
    RESPONSE_TRUNCATED,
    UPSTREAM_CLOSED,
    Failure,
)
from balancer.health.faults import fault_of, not_connected
from balancer.health.result import Result


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
