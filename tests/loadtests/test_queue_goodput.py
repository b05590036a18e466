"""The measurement of goodput: its verdict on clients' records, and a short complete run."""

import pytest

from loadtests import queue_goodput
from loadtests.open_loop.records import Kind, Record
from loadtests.queue_goodput import Replica, judge


def replica(done: int = 100, worked: float = 2.0, most: int = 2) -> Replica:
    made = Replica(2)
    made.done, made.worked, made.most = done, worked, most
    return made


def record(at: float, took: float = 0.02, kind: Kind = Kind.OK, status: int = 200) -> Record:
    return Record(0, "GET", at, 0.0, took, kind, status)


def test_goodput_is_what_was_served_while_requests_arrived() -> None:
    seen = [
        record(10.5),  # during the ramp-up of queues
        *(record(11.0 + number / 100, took=0.005) for number in range(200)),
        record(12.99, took=0.5),  # too late to be counted
        record(11.5, kind=Kind.STATUS, status=503),
        record(11.5, kind=Kind.TIMEOUT, status=0),
    ]
    outcome = judge(seen, 10.0, 3.0, 2, [replica(), replica(worked=3.0, most=5)])
    assert (outcome.goodput, outcome.nominal) == (100.0, 200.0)
    assert outcome.capacity == pytest.approx(160.0)
    assert (outcome.p50, outcome.p99) == (0.005, 0.005)
    assert outcome.others == {"status 503": 1, "timeout": 1}
    assert outcome.most == 5


@pytest.mark.parametrize(
    ("served", "kind", "well"),
    [(200, Kind.STATUS, True), (189, Kind.STATUS, False), (200, Kind.TIMEOUT, False)],
    ids=["all of it", "less than 95 %", "a client that waited in vain"],
)
def test_goodput_verdict(served: int, kind: Kind, well: bool) -> None:
    seen = [record(11.0 + number / 200) for number in range(served)]
    seen.append(record(11.5, kind=kind, status=503))
    outcome = judge(seen, 10.0, 2.0, 2, [replica(), replica()])
    assert queue_goodput.report(outcome) is well


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.alone
def test_a_short_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The goodput depends on the machine; that a replica never exceeds its limit does not."""
    assert queue_goodput.main(["--seconds", "2"]) in (0, 1)
    said = capsys.readouterr().out
    assert "a replica had 2 at once at most" in said
    assert " x status 503; " in said
