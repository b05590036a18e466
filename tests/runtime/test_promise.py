"""Whether a promise was kept in a window."""

import pytest

from balancer.edges import CELLS, DEFAULT, Edges, with_own
from balancer.runtime.promise import in_words, judged, judged_together
from balancer.runtime.tally import Tally
from balancer.spec.slo import SloSpec

EDGES = Edges(with_own(DEFAULT, [0.3]))
SLO = SloSpec(route="web", pool="apps", latency=0.3, percentile=0.95, errors=0.01, window=2_592_000.0)


def tally(fast: int, slow: int = 0, failed: int = 0, left: int = 0) -> Tally:
    """`fast` requests began after exactly 300 ms, `slow` ones later; `left`: clients left before."""
    cells = [0] * CELLS
    cells[EDGES.cell(300_000_000)] = fast
    cells[EDGES.cell(300_000_001)] = slow
    return Tally(fast + slow + left, failed, tuple(cells), EDGES)


@pytest.mark.parametrize(
    ("counted", "met"),
    [
        pytest.param(tally(1000), True, id="all fast"),
        pytest.param(tally(950, slow=50), True, id="as many slow ones as promised"),
        pytest.param(tally(948, slow=52), True, id="two more may be chance"),
        pytest.param(tally(947, slow=53), False, id="three more slow ones"),
        pytest.param(tally(1000, failed=10), True, id="as many failed ones as promised"),
        pytest.param(tally(1000, failed=12), True, id="two more failed ones"),
        pytest.param(tally(1000, failed=13), False, id="three more failed ones"),
        pytest.param(tally(92, slow=8), False, id="the fewest requests for a verdict"),
        pytest.param(tally(50, slow=49), None, id="too few to tell"),
        pytest.param(tally(0), None, id="none"),
        pytest.param(tally(99, left=1000), None, id="clients that left do not count"),
    ],
)
def test_a_promise_is_judged(counted: Tally, met: bool | None) -> None:
    assert judged(SLO, counted).met is met


def test_the_figures_are_of_requests_whose_response_has_begun() -> None:
    view = judged(SLO, tally(150, slow=50, failed=4, left=100))
    assert (view.n, view.slow_share, view.failed_share) == (200, 0.25, 0.02)
    assert (view.latency, view.percentile, view.errors) == (0.3, 95.0, 0.01)


def test_without_requests_there_are_no_shares() -> None:
    view = judged(SLO, tally(0))
    assert (view.n, view.slow_share, view.failed_share) == (0, None, None)


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        (tally(1000), ""),
        (tally(10, slow=5), ""),
        (tally(900, slow=100), "10.00% of its responses began later than 300 ms (promised: 5% at most)"),
        (tally(1000, failed=25), "2.50% of its requests failed (promised: 1% at most)"),
        (
            tally(900, slow=100, failed=25),
            "10.00% of its responses began later than 300 ms (promised: 5% at most), and 2.50% of its "
            "requests failed (promised: 1% at most)",
        ),
    ],
    ids=["kept", "unknown", "slow", "failed", "both"],
)
def test_what_was_missed_is_said_in_words(counted: Tally, words: str) -> None:
    assert in_words(judged(SLO, counted)) == words


def of(pool: str, latency: float = 0.3) -> SloSpec:
    return SloSpec(route="web", pool=pool, latency=latency, percentile=0.95, errors=0.01, window=2_592_000.0)


def test_sides_that_promise_the_same_are_judged_together() -> None:
    view = judged_together([(of("old"), tally(60)), (of("new"), tally(60))])
    assert view is not None
    assert (view.n, view.met) == (120, True)


def test_of_sides_that_promise_different_things_the_worst_is_shown() -> None:
    kept, missed = (of("old", 0.5), tally(1000)), (of("new"), tally(800, slow=200))
    for sides in ([kept, missed], [missed, kept]):
        view = judged_together(sides)
        assert view is not None
        assert (view.latency, view.met) == (0.3, False)


def test_nothing_is_judged_where_nothing_is_promised() -> None:
    assert judged_together([]) is None
