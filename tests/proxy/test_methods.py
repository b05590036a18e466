"""Requests with an unknown method."""

import pytest

from balancer.telemetry.columns import METHOD_COLUMN
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, status_of

METHODS = [b"LIST", b"VERSION-CONTROL", b"RPC_IN_DATA", b"BAN", b"get"]


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_method_is_passed_on_and_counted_as_other(harness: Harness, method: bytes) -> None:
    client = harness.ask(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert harness.upstream.take().startswith(method + b" /a HTTP/1.1\r\n")
    harness.answer()
    assert client.take() == OK
    assert method not in METHOD_COLUMN
    assert harness.requests_counted(method, 200) == 1
    assert harness.logged()["method"] == method.decode()


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_method_is_not_sent_twice(make_harness: MakeHarness, method: bytes) -> None:
    harness = make_harness(2)
    client = harness.ask(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502
    assert len(harness.loop.dials) == 1


def test_an_unknown_method_is_sent_twice_if_the_settings_allow(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"methods": ["LIST"]})
    client = harness.ask(b"LIST /a HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.upstream.receive_eof()
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert len(harness.loop.dials) == 2
