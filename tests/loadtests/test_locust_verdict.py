"""The load test's verdict: the bounds broken by given figures, and settings from the environment."""

import pytest

from loadtests.tally import NO_ANSWER, Tally
from loadtests.verdict import (
    NOTHING_SENT,
    TOO_MANY_FAILURES,
    TOO_SLOW,
    WRONG_SHARES,
    Bounds,
    BoundsError,
    Figures,
    judge,
    read_bounds,
    report,
    switched_on,
)


def figures(failures: int = 0, p95: float = 0.02, exceptions: int = 0, **replicas: int) -> Figures:
    tally = Tally()
    tally.add({"statuses": {"200": 1000 - failures}, "replicas": replicas})
    return Figures(1000, failures, 0.01, p95, 0.03, tally, exceptions)


VERDICTS = {
    "within all bounds": (figures(), Bounds(), []),
    "one failure": (figures(failures=1), Bounds(), [TOO_MANY_FAILURES]),
    "as many failures as allowed": (figures(failures=10), Bounds(max_fail_ratio=0.01), []),
    "one failure more": (figures(failures=11), Bounds(max_fail_ratio=0.01), [TOO_MANY_FAILURES]),
    "a bug of the load test": (figures(exceptions=1), Bounds(max_fail_ratio=1.0), [TOO_MANY_FAILURES]),
    "as slow as allowed": (figures(p95=0.25), Bounds(max_p95=0.25), []),
    "slower": (figures(p95=0.26), Bounds(max_p95=0.25), [TOO_SLOW]),
    "gravest first": (figures(failures=1, p95=2.0), Bounds(), [TOO_MANY_FAILURES, TOO_SLOW]),
    "shares are not judged": (figures(a=900, b=100), Bounds(), []),
    "within tolerance": (figures(a=545, b=455), Bounds(share_tolerance=0.1), []),
    "outside tolerance": (figures(a=560, b=440), Bounds(share_tolerance=0.1), [WRONG_SHARES, WRONG_SHARES]),
    "by weight": (figures(a=750, b=250), Bounds(share_tolerance=0.1, weights={"a": 3}), []),
    "not by weight": (figures(a=500, b=500), Bounds(share_tolerance=0.5, weights={"a": 3}), [WRONG_SHARES]),
    "a weighted one is silent": (figures(a=1), Bounds(share_tolerance=1, weights={"b": 0.5}), []),
    "a weighted one is missed": (
        figures(a=1),
        Bounds(share_tolerance=0.9, weights={"b": 0.5}),
        [WRONG_SHARES],
    ),
    "no upstream is named": (figures(), Bounds(share_tolerance=0.1), [WRONG_SHARES]),
    "as many replicas": (figures(a=1, b=1), Bounds(replicas=2), []),
    "too few replicas": (figures(a=1), Bounds(replicas=2), [WRONG_SHARES]),
    "nothing was sent": (Figures(0, 0, 0.0, 0.0, 0.0, Tally()), Bounds(), [NOTHING_SENT]),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verdict_of_each_bound(case: str) -> None:
    run, bounds, codes = VERDICTS[case]
    assert [finding.code for finding in judge(run, bounds)] == codes


def test_the_report_of_a_good_run() -> None:
    run = figures(app1=1500, app22=500)
    bounds = Bounds(weights={"app1": 3})
    assert report(run, bounds, judge(run, bounds)).splitlines() == [
        "requests   1,000",
        "failures   0",
        "p50 p95 p99   10 ms   20 ms   30 ms",
        "replica app1        1,500    75.0%   by weight 75.0%",
        "replica app22         500    25.0%   by weight 25.0%",
        "verdict: good",
    ]


def test_the_report_has_a_sentence_for_each_broken_bound() -> None:
    run = figures(failures=250, p95=1.5)
    lines = report(run, Bounds(), judge(run, Bounds())).splitlines()
    assert lines[-3:] == [
        "replicas   no response named one in X-Replica: the shares are unknown",
        "verdict: BAD: 250 of 1,000 requests failed (25.00%); at most 0.00% may",
        "verdict: BAD: the p95 is 1,500 ms; at most 1,000 ms is allowed",
    ]


def test_tallies_of_several_processes_add_up() -> None:
    master, worker = Tally(), Tally()
    for status, replica in ((200, "a"), (200, "b"), (502, None), (0, None)):
        worker.count(status, replica)
    master.add(worker.take())
    worker.count(200, "a")
    master.add(worker.take())
    assert master.statuses == {"200": 3, "502": 1, NO_ANSWER: 1}
    assert master.replicas == {"a": 2, "b": 1}
    assert worker.take() == {"statuses": {}, "replicas": {}}


def test_bounds_are_read_from_the_environment() -> None:
    environ = {
        "LOAD_MAX_FAIL_RATIO": "0.01",
        "LOAD_MAX_P95": "250ms",
        "LOAD_SHARE_TOLERANCE": "0.2",
        "LOAD_WEIGHTS": "app1=3, app2=0.5",
        "LOAD_REPLICAS": "2",
    }
    assert read_bounds(environ) == Bounds(0.01, 0.25, 0.2, {"app1": 3.0, "app2": 0.5}, 2)


def test_empty_variables_count_as_not_set() -> None:
    names = ("MAX_FAIL_RATIO", "MAX_P95", "SHARE_TOLERANCE", "WEIGHTS", "REPLICAS")
    assert read_bounds({f"LOAD_{name}": "" for name in names}) == read_bounds({})


@pytest.mark.parametrize(
    ("name", "meant"),
    [("LOAD_MAXP95", "did you mean LOAD_MAX_P95?"), ("LOAD_XYZZY", "remove it")],
)
def test_an_unknown_name_is_reported(name: str, meant: str) -> None:
    with pytest.raises(BoundsError) as caught:
        read_bounds({name: "1"})
    assert str(caught.value) == f"{name}: no such setting of the load test; {meant}"


@pytest.mark.parametrize(("text", "on"), [("true", True), ("1", True), ("", False), ("off", False)])
def test_switches_are_parsed(text: str, on: bool) -> None:
    assert switched_on({"LOAD_JSON": text}, "JSON") is on


def test_an_ambiguous_switch_is_reported() -> None:
    with pytest.raises(BoundsError, match="LOAD_JSON: 'maybe' is neither true nor false"):
        switched_on({"LOAD_JSON": "maybe"}, "JSON")


WRONG = {
    "ratio": ("MAX_FAIL_RATIO", "1%", "'1%' is not a number from 0 to 1"),
    "ratio above 1": ("MAX_FAIL_RATIO", "2", "'2' is not a number from 0 to 1"),
    "no number": ("SHARE_TOLERANCE", "nan", "'nan' is not a number from 0 to 10"),
    "duration": ("MAX_P95", "1 min", "'1 min' is not a duration, such as 250ms or 1.5s"),
    "weights": ("WEIGHTS", "app1:3", "'app1:3' is not a replica and its weight, such as app1=3"),
    "weight of nothing": ("WEIGHTS", "app1=0", "'app1=0' is not a replica and its weight"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_bound_is_reported_with_its_name(case: str) -> None:
    name, value, problem = WRONG[case]
    with pytest.raises(BoundsError) as caught:
        read_bounds({f"LOAD_{name}": value})
    assert str(caught.value).startswith(f"LOAD_{name}: {problem}")
