"""The figures of a run of `make hostile`, and which of them break a promise."""

from collections import Counter
from dataclasses import replace

import pytest

from loadtests.hostile.figures import Memory, Run, Window, broken_promises, seen
from loadtests.open_loop.figures import Latency
from loadtests.open_loop.records import Kind, Record

CALM = Latency(0.001, 0.002, 0.003)
GOOD = Run(
    "idle", "balancer", 600, Counter(), CALM, CALM, 0.0, Memory(1000, 1500, 1100), 100, "opened 100", False
)


def record(begun: float, kind: Kind = Kind.OK, took: float = 0.001, lag: float = 0.0) -> Record:
    return Record(1, "GET", begun, lag, took, kind, 200 if kind is Kind.OK else 503)


def test_only_requests_begun_during_the_attack_count() -> None:
    records = [
        record(0.5, Kind.TIMEOUT),  # while it warms up
        record(1.5, took=0.004),
        record(2.0, Kind.STATUS, took=0.010, lag=0.002),
        record(2.9, took=0.020),
        record(3.0, Kind.RESET),  # after it
    ]
    requests, failures, before, during, lag = seen(records, Window(calm=1.0, onset=2.0, end=3.0))
    assert (requests, failures) == (2, Counter({"status 503": 1}))
    assert (before.max, during.p50, during.max, lag) == (0.004, 0.010, 0.020, 0.002)


def test_growth_is_reported_per_connection() -> None:
    assert GOOD.kib_each == 5.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"failures": Counter(reset=2)}, "idle: 2 good requests failed"),
        ({"replaced": True}, "idle: a worker has ended"),
        ({"unready": 2}, "idle: 2 probes of /readyz failed"),
        ({"during": Latency(0.0, 0.021, 0.03)}, "idle: good p99 21 ms, more than 20"),
    ],
    ids=["failure", "worker", "unready", "late"],
)
def test_each_kind_of_harm_is_reported(change: dict[str, object], sentence: str) -> None:
    assert broken_promises([replace(GOOD, **change)], "balancer") == [sentence]  # type: ignore[arg-type]  # of a table


def test_lateness_of_the_load_generator_does_not_count() -> None:
    assert broken_promises([replace(GOOD, during=Latency(0.0, 0.021, 0.03), lag=0.002)], "balancer") == []


def test_other_balancers_have_no_bounds_to_keep() -> None:
    run = replace(GOOD, balancer="nginx", failures=Counter(reset=2), replaced=True)
    assert broken_promises([run], "balancer") == []
