"""Errors of a check without a response: whose they are, and what they are called."""

import errno
import os
from typing import Any, cast

import aiohttp
import pytest

from balancer.health.faults import fault_of
from balancer.health.result import Result

NO_KEY: Any = cast(Any, None)  # aiohttp's key of a connection, for its own messages


def not_connected(number: int) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(NO_KEY, OSError(number, os.strerror(number)))


CASES: dict[str, tuple[aiohttp.ClientError | OSError, Result, str]] = {
    "refused": (not_connected(errno.ECONNREFUSED), Result.REFUSED, "nothing listens on 10.0.0.1:8000"),
    "no route": (not_connected(errno.EHOSTUNREACH), Result.UNREACHABLE, "10.0.0.1:8000 cannot be reached"),
    "no network": (not_connected(errno.ENETUNREACH), Result.UNREACHABLE, "Network is unreachable"),
    "the kernel gave up": (not_connected(errno.ETIMEDOUT), Result.UNREACHABLE, "timed out"),
    "no address of that family here": (not_connected(errno.EADDRNOTAVAIL), Result.UNREACHABLE, "address"),
    "our open files": (not_connected(errno.EMFILE), Result.NOT_MADE, "Too many open files"),
    "the machine's open files": (not_connected(errno.ENFILE), Result.NOT_MADE, "no check could be made"),
    "reset": (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset"), Result.CLOSED, "reset"),
    "broken pipe": (BrokenPipeError(errno.EPIPE, "Broken pipe"), Result.CLOSED, "Broken pipe"),
    "closed": (aiohttp.ServerDisconnectedError(), Result.CLOSED, "without a response"),
    "our own misuse": (aiohttp.InvalidURL("x"), Result.NOT_MADE, "no check could be made"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_has_its_name(case: str) -> None:
    error, result, piece = CASES[case]
    reply = fault_of(error, "10.0.0.1:8000")
    assert reply.result is result
    assert reply.status == 0
    assert piece in reply.detail
