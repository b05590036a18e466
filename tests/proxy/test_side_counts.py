"""What a side of a route counts: errors, times to the first byte, and retries."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.edges import STANDARD
from balancer.runtime.tally import Tally, tally
from balancer.telemetry.columns import (
    HISTOGRAM_CELLS,
    ROUTE_BROKEN_OFF,
    ROUTE_CELLS,
    ROUTE_DURATION,
    ROUTE_RETRIES,
)
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha"


def counted(harness: Harness) -> Tally:
    harness.proxy.sweep()
    return tally(cells(harness), STANDARD)


def cells(harness: Harness) -> list[int]:
    return harness.route.side.counters.cells[:ROUTE_CELLS].tolist()


def seconds(harness: Harness) -> dict[float, int]:
    """Times to the first byte: the bound of each bucket that has any."""
    counts = STANDARD.ascending(counted(harness).cells)
    return {bound: n for bound, n in zip((*STANDARD.bounds, 99.0), counts, strict=True) if n}


@pytest.mark.parametrize("code", [500, 503, 511, 521, 599])
def test_every_5xx_is_an_error(harness: Harness, code: int) -> None:
    harness.ask()
    harness.answer(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % code)
    assert counted(harness)[:2] == (1, 1)


@pytest.mark.parametrize("code", [200, 299, 404, 451])
def test_nothing_below_500_is_an_error(harness: Harness, code: int) -> None:
    harness.ask()
    harness.answer(b"HTTP/1.1 %d So\r\nContent-Length: 0\r\n\r\n" % code)
    assert counted(harness)[:2] == (1, 0)


def test_a_response_that_the_upstream_breaks_off_is_an_error(harness: Harness) -> None:
    harness.ask()
    harness.answer(HALF)
    harness.upstream.lose(ConnectionResetError())
    harness.settle()
    assert counted(harness)[:2] == (1, 1)
    assert cells(harness)[ROUTE_BROKEN_OFF] == 1


def test_a_response_that_stops_in_the_middle_is_an_error(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={"idle": 3.0})
    harness.ask()
    harness.answer(HALF)
    harness.advance(3.5)
    assert counted(harness)[:2] == (1, 1)


def test_a_client_that_leaves_in_the_middle_is_no_error(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(HALF)
    client.lose()
    harness.settle()
    assert counted(harness)[:2] == (1, 0)


def test_a_client_that_breaks_its_upload_after_the_response_has_begun_is_no_error(harness: Harness) -> None:
    client = harness.ask(POST)
    harness.answer(HALF)
    client.lose()
    harness.settle()
    assert counted(harness)[:2] == (1, 0)


def test_a_response_cut_off_by_a_drain_is_no_error(harness: Harness) -> None:
    harness.ask()
    harness.answer(HALF)
    harness.proxy.abort_all()
    harness.settle()
    assert counted(harness)[:2] == (1, 0)


def test_the_first_byte_of_a_whole_response_is_its_last(harness: Harness) -> None:
    harness.ask()
    harness.clock.advance(0.3)
    harness.answer(OK)
    assert seconds(harness) == {0.5: 1}


def test_the_first_byte_of_a_slow_body_is_that_of_its_head(harness: Harness) -> None:
    harness.ask()
    harness.clock.advance(0.03)
    harness.answer(HALF)
    harness.clock.advance(2.0)
    harness.answer(b"lf")
    assert seconds(harness) == {0.05: 1}
    assert (
        cells(harness)[ROUTE_DURATION : ROUTE_DURATION + HISTOGRAM_CELLS][STANDARD.cell(2_500_000_000)] == 1
    )


def test_a_response_that_breaks_off_has_a_first_byte(harness: Harness) -> None:
    harness.ask()
    harness.answer(HALF)
    harness.clock.advance(2.0)
    harness.upstream.lose()
    harness.settle()
    assert seconds(harness) == {0.001: 1}


def test_a_request_whose_client_leaves_before_the_response_has_no_first_byte(harness: Harness) -> None:
    client = harness.ask()
    harness.clock.advance(2.0)
    client.lose()
    harness.settle()
    assert seconds(harness) == {}
    assert counted(harness).requests == 1


def test_an_error_answered_here_has_a_first_byte(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={"first_byte": 3.0})
    harness.ask()
    harness.advance(3.5)
    assert seconds(harness) == {5.0: 1}


def test_retries_are_those_of_the_side(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.refuse(1, 2)
    harness.ask(GET)
    harness.proxy.sweep()
    assert harness.retries() == {"connect_failed": cells(harness)[ROUTE_RETRIES]} == {"connect_failed": 1}
