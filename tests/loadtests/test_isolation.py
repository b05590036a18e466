"""Whether another pool notices one that hangs: the verdict on clients' records, and a short complete run."""

import subprocess
import sys
from collections import Counter

import pytest

from loadtests.isolation import Half, Round, Seen, missed, seen
from loadtests.open_loop.records import Kind, Record


def half(p99: float = 0.02, lag: float = 0.001, **failures: int) -> Half:
    b = Seen(1000, 0.01, p99, Counter(failures), lag)
    return Half(Seen(3000, 5.0, 5.0, Counter(timeout=3000), 0.001), b)


def test_records_become_figures() -> None:
    kinds = [Kind.OK] * 98 + [Kind.RESET, Kind.STATUS]
    found = [Record(number, "GET", 0.0, 0.0, number / 1000, kind, 503) for number, kind in enumerate(kinds)]
    figures = seen(found)
    assert (figures.requests, figures.p50, figures.p99) == (100, 0.049, 0.098)
    assert figures.failures == {Kind.RESET.value: 1, "status 503": 1}


@pytest.mark.parametrize(
    ("hung", "sentence"),
    [
        pytest.param(half(0.0219), "", id="less than 2 ms"),
        pytest.param(half(0.0221), "B's p99 is 22.1 ms beside a hung pool, 20.0 ms otherwise", id="more"),
        pytest.param(half(reset=2), "requests to B failed: 2 reset", id="failures"),
        pytest.param(half(lag=0.1), "invalid, as the load was late in each round", id="late"),
    ],
)
def test_the_verdict(hung: Half, sentence: str) -> None:
    found = missed([Round(half(), hung)])
    assert [one[: len(sentence)] for one in found] == ([sentence] if sentence else [])


def test_of_longer_times_a_tenth_is_allowed() -> None:
    assert missed([Round(half(0.1), half(0.109))]) == []
    assert len(missed([Round(half(0.1), half(0.111))])) == 1


def test_the_best_rounds_count() -> None:
    assert missed([Round(half(0.05), half(0.021)), Round(half(0.02), half(0.3))]) == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.alone
def test_no_request_to_the_other_pool_fails() -> None:
    """The p99 is for `python -m loadtests.isolation`: a machine that does something else adds more."""
    command = [sys.executable, "-m", "loadtests.isolation", "--rounds", "1", "--seconds", "6"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("round 1, A healthy: B p50 "), done
    for line in lines[:2]:
        assert "1,200 requests, failures: none; A " in line, done
    assert "A hung" in lines[1]
    assert "timeout" in lines[1]
