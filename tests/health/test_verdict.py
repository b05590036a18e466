"""Rise and fall: what results in a row change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.health.result import Result
from balancer.health.verdict import Flip, Verdict

LETTERS = {"p": Result.PASSED, "f": Result.STATUS, "t": Result.TIMEOUT, "s": Result.SLOW, "l": Result.LATE}
FLIPS = {None: ".", Flip.FAILING: "F", Flip.PASSING: "P"}

# rise, fall, results, and what each changed: F failing, P passing, . nothing.
CASES = {
    "one failed check does not eject": (2, 2, "f", "."),
    "the first check is no exception": (2, 2, "ff", ".F"),
    "any failure counts alike": (2, 3, "ftf", "..F"),
    "failures must be in a row": (2, 2, "fpfpf", "....."),
    "said once": (2, 2, "ffff", ".F.."),
    "passed checks must be in a row": (2, 2, "ffpfpp", ".F...P"),
    "and back again": (2, 2, "ffppff", ".F.P.F"),
    "at the first": (1, 1, "fpf", "FPF"),
    "rise and fall differ": (3, 2, "ffppp", ".F..P"),
    "what counts for nothing does not fail": (1, 1, "slsl", "...."),
    "what counts for nothing does not break a row": (2, 2, "fsf", "..F"),
    "nor one of passed checks": (2, 2, "ffplp", ".F..P"),
}


@pytest.mark.parametrize("case", CASES)
def test_results_change_the_verdict(case: str) -> None:
    rise, fall, results, flips = CASES[case]
    verdict = Verdict(rise, fall)
    assert "".join(FLIPS[verdict.observe(LETTERS[letter])] for letter in results) == flips


@pytest.mark.parametrize(("results", "unchecked"), [("", True), ("sl", True), ("p", False), ("sf", False)])
def test_unchecked_until_the_first_result_that_counts(results: str, unchecked: bool) -> None:
    verdict = Verdict(2, 2)
    for letter in results:
        verdict.observe(LETTERS[letter])
    assert verdict.unchecked is unchecked


def test_what_was_failing_before_rises_again() -> None:
    verdict = Verdict(2, 2, failing=True)
    assert not verdict.unchecked
    assert [verdict.observe(Result.PASSED) for _ in range(3)] == [None, Flip.PASSING, None]


def test_another_machine_starts_with_no_failures() -> None:
    verdict = Verdict(2, 2)
    verdict.observe(Result.STATUS)
    verdict.restart()
    assert verdict.observe(Result.STATUS) is None
    assert verdict.observe(Result.STATUS) is Flip.FAILING


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.sampled_from(Result), max_size=60))
def test_the_verdict_is_what_the_last_long_enough_row_says(
    rise: int, fall: int, results: list[Result]
) -> None:
    """Against the definition, taken literally: look back at the results that count."""
    verdict = Verdict(rise, fall)
    history: list[bool] = []
    failing = False
    for result in results:
        flip = verdict.observe(result)
        if result.counts:
            history.append(result is Result.PASSED)
        was_failing = failing
        if len(history) >= fall and not any(history[-fall:]):
            failing = True
        if len(history) >= rise and all(history[-rise:]):
            failing = False
        assert verdict.failing is failing
        expected = None if failing is was_failing else Flip.FAILING if failing else Flip.PASSING
        assert flip is expected
