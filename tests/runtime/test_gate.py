"""The gate of a split: what it takes for a breach, for a change that holds, and for neither."""

from collections.abc import Mapping

import pytest

from balancer.edges import CELLS, DEFAULT, STANDARD, Edges, with_own
from balancer.runtime.gate import (
    LOOK,
    MOST_SAMPLES,
    WINDOW,
    Condition,
    Gate,
    Verdict,
    parse_conditions,
)
from balancer.runtime.tally import LEAST, Tally
from balancer.spec.slo import SloSpec

BOTH = "errors>+0.5%,p95>1.3x"
NO_SLOS: Mapping[str, SloSpec] = {}
NONE = Tally(0, 0, (0,) * CELLS)


def tally(requests: int, errors: int = 0, bucket: int = 3) -> Tally:
    counts = [0] * CELLS
    counts[STANDARD.cells[bucket]] = requests
    return Tally(requests, errors, tuple(counts))


class Run:
    """A gate that looks every half second while both sides get requests."""

    def __init__(
        self, conditions: str = BOTH, hold: float = 10.0, slos: Mapping[str, SloSpec] = NO_SLOS
    ) -> None:
        self.gate = Gate(frozenset(["new"]), parse_conditions(conditions, slos.get), hold)
        self.now = 100.0
        self.totals = {"old": NONE, "new": NONE}
        self.gate.look(self.now, dict(self.totals))

    def goes_on(self, more: Mapping[str, Tally], looks: int = 1) -> tuple[Verdict, str]:
        found = Verdict.WATCHING, ""
        for _ in range(looks):
            self.now += LOOK
            self.totals = {name: Tally.of([self.totals[name], more[name]]) for name in self.totals}
            found = self.gate.look(self.now, dict(self.totals))
            if found[0] is not Verdict.WATCHING:
                break
        return found


WELL = {"old": tally(200, 1), "new": tally(200, 1)}


def test_it_holds_after_its_time() -> None:
    run = Run(hold=10.0)
    assert run.goes_on(WELL, looks=19) == (Verdict.WATCHING, "")
    assert run.goes_on(WELL) == (Verdict.HELD, "")


def test_more_errors_than_the_others_are_a_breach_within_two_seconds() -> None:
    run = Run(hold=600.0)
    run.goes_on(WELL, looks=200)
    began = run.now
    verdict, why = run.goes_on({"old": tally(200, 1), "new": tally(200, 40)}, looks=20)
    assert verdict is Verdict.BREACHED
    assert run.now - began <= 2.0
    assert why.startswith("errors>+0.5%: ")


def test_slower_responses_are_a_breach_within_two_seconds() -> None:
    run = Run(hold=600.0)
    run.goes_on(WELL, looks=200)
    began = run.now
    verdict, why = run.goes_on({"old": tally(200), "new": tally(200, bucket=6)}, looks=20)
    assert verdict is Verdict.BREACHED
    assert run.now - began <= 2.0
    assert why.startswith("p95>1.3x: its p95 is ")


def test_time_without_requests_does_not_count() -> None:
    run = Run(hold=10.0)
    run.goes_on(WELL, looks=2)
    assert run.goes_on({"old": NONE, "new": NONE}, looks=200) == (Verdict.WATCHING, "")
    assert run.goes_on({"old": tally(200), "new": NONE}, looks=200) == (Verdict.WATCHING, "")
    assert run.gate.passed <= 1.0 + WINDOW + LOOK
    assert run.goes_on(WELL, looks=30)[0] is Verdict.HELD


def test_errors_of_both_sides_are_no_breach() -> None:
    run = Run(hold=10.0)
    assert run.goes_on({"old": tally(200, 60), "new": tally(200, 60)}, looks=20)[0] is Verdict.HELD


def test_a_single_error_is_no_breach() -> None:
    run = Run("errors>+0.5%", hold=5.0)
    run.goes_on({"old": tally(LEAST), "new": tally(LEAST, 1)})
    assert run.goes_on({"old": tally(LEAST), "new": tally(LEAST)}, looks=9)[0] is Verdict.HELD


@pytest.mark.parametrize("starved", ["old", "new"])
def test_too_few_requests_neither_hold_nor_fail(starved: str) -> None:
    run = Run(hold=1.0)
    few = {**WELL, starved: tally(0)}
    assert run.goes_on(few, looks=3000) == (Verdict.WATCHING, "")
    assert run.gate.passed == 0
    assert len(run.gate._samples) <= MOST_SAMPLES


def test_few_requests_are_judged_over_a_longer_window() -> None:
    run = Run("errors>+5%", hold=600.0)
    verdict, _ = run.goes_on({"old": tally(4), "new": tally(4, 1)}, looks=60)
    assert verdict is Verdict.BREACHED
    assert run.now - 100.0 >= LEAST / 4 * LOOK


def test_old_samples_are_forgotten() -> None:
    run = Run(hold=6000.0)
    run.goes_on(WELL, looks=1000)
    assert len(run.gate._samples) <= WINDOW / LOOK + 2


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("errors>+0.5%", Condition("errors>+0.5%", "errors", True, 0.005)),
        ("errors > 2%", Condition("errors > 2%", "errors", False, 0.02)),
        ("p99>1.3x", Condition("p99>1.3x", "p99", True, 1.3)),
        ("p50>250ms", Condition("p50>250ms", "p50", False, 0.25)),
        ("p95>2s", Condition("p95>2s", "p95", False, 2.0)),
    ],
)
def test_conditions_are_parsed(text: str, condition: Condition) -> None:
    (found,) = parse_conditions(text)
    assert isinstance(found, Condition)
    assert (found.text, found.figure, found.is_relative) == (
        condition.text,
        condition.figure,
        condition.is_relative,
    )
    assert found.limit == pytest.approx(condition.limit)


@pytest.mark.parametrize(
    "text",
    ["", ",", "errors", "errors>5", "errors>1.3x", "p95>5%", "p95>+5ms", "p94>1x", "errors<1%", "p95>٣s"],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write errors>\+0.5%,p95>1.3x"):
        parse_conditions(text)


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    # Half of them between 5 and 10 ms, half between 10 and 25 ms.
    counts = [0] * CELLS
    counts[STANDARD.cells[3]] = counts[STANDARD.cells[4]] = 50
    assert Tally(100, 0, tuple(counts)).quantile(0.5) == pytest.approx(0.010)
    assert Tally(100, 0, tuple(counts)).quantile(0.75) == pytest.approx(0.0175)
    assert NONE.quantile(0.95) == pytest.approx(60.0)


# --- slo

SLO = SloSpec(route="web", pool="new", latency=0.01, percentile=0.95, errors=0.01, window=86_400.0)


def promised(**slos: SloSpec) -> Run:
    return Run("slo", slos=slos)


def test_slo_is_breached_by_a_watched_side_that_is_too_slow() -> None:
    run = promised(new=SLO)
    assert run.goes_on({"old": tally(200), "new": tally(200, bucket=4)}) == (
        Verdict.BREACHED,
        "slo: new: 100.00% of its responses began later than 10 ms (promised: 5% at most)",
    )


def test_slo_is_breached_by_a_watched_side_that_fails() -> None:
    verdict, why = promised(new=SLO).goes_on({"old": tally(200), "new": tally(200, errors=9)})
    assert (verdict, why) == (
        Verdict.BREACHED,
        "slo: new: 4.50% of its requests failed (promised: 1% at most)",
    )


def test_slo_is_not_about_the_sides_that_are_not_watched() -> None:
    run = promised(new=SLO, old=SLO)
    assert run.goes_on({"old": tally(200, 100, bucket=9), "new": tally(200)}, looks=30)[0] is Verdict.HELD


def test_slo_holds_where_nothing_is_promised_any_more() -> None:
    run = promised()
    assert run.goes_on({"old": tally(200), "new": tally(200, 200)}, looks=30)[0] is Verdict.HELD


def test_two_watches_for_the_slo_are_the_same() -> None:
    assert parse_conditions("slo", NO_SLOS.get) == parse_conditions("slo", {"new": SLO}.get)


def test_a_side_is_compared_over_bounds_that_a_reload_has_added() -> None:
    run = Run("p95>1.3x")
    after = Edges(with_own(DEFAULT, [0.3]))
    more = {"old": tally(200)._replace(edges=after), "new": tally(200, bucket=9)._replace(edges=after)}
    assert run.goes_on(more)[0] is Verdict.BREACHED
