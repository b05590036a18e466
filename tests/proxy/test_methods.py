"""What becomes of a request whose method we have never heard of."""

import pytest

from balancer.telemetry.columns import METHOD_COLUMN
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import OK, Stage, status_of

METHODS = [b"LIST", b"VERSION-CONTROL", b"RPC_IN_DATA", b"BAN", b"get"]


@pytest.mark.parametrize("method", METHODS)
def test_it_is_passed_on_and_counted_as_other(stage: Stage, method: bytes) -> None:
    client = stage.ask(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert stage.upstream.take().startswith(method + b" /a HTTP/1.1\r\n")
    stage.answer()
    assert client.take() == OK
    assert method not in METHOD_COLUMN
    assert stage.requests_counted(method, 200) == 1
    assert stage.logged()["method"] == method


@pytest.mark.parametrize("method", METHODS)
def test_it_is_not_sent_twice(make_stage: MakeStage, method: bytes) -> None:
    stage = make_stage(2)
    client = stage.ask(method + b" /a HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.upstream.receive_eof()
    stage.settle()
    assert status_of(client.take()) == 502
    assert len(stage.loop.dials) == 1


def test_it_is_sent_twice_where_the_settings_say_so(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"methods": ["LIST"]})
    client = stage.ask(b"LIST /a HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.upstream.receive_eof()
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert len(stage.loop.dials) == 2
