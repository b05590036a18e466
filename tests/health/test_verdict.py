"""Rise and fall: which consecutive results change the verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.health.result import Result
from balancer.health.verdict import Flip, Verdict

LETTERS = {"p": Result.PASSED, "f": Result.STATUS, "t": Result.TIMEOUT, "s": Result.SLOW, "l": Result.LATE}
FLIPS = {None: ".", Flip.FAILING: "F", Flip.PASSING: "P"}

# rise, fall, results, and what each changed: F failing, P passing, . nothing.
CASES = {
    "one failed check after a passed one is not enough": (2, 2, "pf", ".."),
    "two in a row are enough": (2, 2, "pff", "..F"),
    "all failures count alike": (2, 3, "pftf", "...F"),
    "failures must be in a row": (2, 2, "pfpfpf", "......"),
    "reported once": (2, 2, "pffff", "..F.."),
    "passed checks must be in a row": (2, 2, "pffpfpp", "..F...P"),
    "failing and back": (2, 2, "pffppff", "..F.P.F"),
    "fall 1, rise 1": (1, 1, "pfpf", ".FPF"),
    "rise and fall differ": (3, 2, "pffppp", "..F..P"),
    "ignored results do not fail": (1, 1, "pslsl", "....."),
    "ignored results do not break a row": (2, 2, "pfsf", "...F"),
    "ignored results do not break a row of passed checks": (2, 2, "pffplp", "..F..P"),
    "one failed first check is enough": (2, 2, "f", "F"),
    "a first timeout is enough": (2, 2, "t", "F"),
    "a doubtful first timeout is not enough": (2, 2, "d", "."),
    "two doubtful first timeouts are enough": (2, 2, "dd", ".F"),
    "a doubtful timeout and a certain failure are enough": (2, 3, "df", ".F"),
    "a failed first check is reported once": (2, 2, "ffdf", "F..."),
    "ignored results are no first result": (2, 2, "slf", "..F"),
    "after failed first checks one passed check is enough": (3, 2, "fffp", "F..P"),
    "after the first passed check rise applies": (3, 2, "fpffpp", "FP.F.."),
    "doubt or not": (2, 2, "pdf", "..F"),
}


def observe(verdict: Verdict, letter: str) -> Flip | None:
    """`d` is a doubtful timeout."""
    return verdict.observe(Result.TIMEOUT, True) if letter == "d" else verdict.observe(LETTERS[letter])


@pytest.mark.parametrize("case", CASES)
def test_rise_and_fall_change_the_verdict(case: str) -> None:
    rise, fall, results, flips = CASES[case]
    verdict = Verdict(rise, fall)
    assert "".join(FLIPS[observe(verdict, letter)] for letter in results) == flips


@pytest.mark.parametrize(
    ("results", "has_passed"), [("", False), ("sl", False), ("f", False), ("sp", True), ("fp", True)]
)
def test_one_passed_check_is_remembered(results: str, has_passed: bool) -> None:
    verdict = Verdict(2, 2)
    for letter in results:
        observe(verdict, letter)
    assert verdict.has_passed is has_passed


def test_counts_restart_at_zero() -> None:
    verdict = Verdict(2, 2)
    for letter in "pf":
        observe(verdict, letter)
    verdict.restart()
    assert [observe(verdict, "f") for _ in range(2)] == [None, Flip.FAILING]


@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.sampled_from(Result), max_size=60))
def test_the_verdict_follows_the_last_run_that_was_long_enough(
    rise: int, fall: int, results: list[Result]
) -> None:
    """Compare with the literal definition: look back at the results that count."""
    verdict = Verdict(rise, fall)
    history: list[bool] = []
    failing = False
    for result in results:
        flip = verdict.observe(result)
        if result.counts:
            history.append(result is Result.PASSED)
        was_failing = failing
        has_passed_before = any(history[:-1] if result.counts else history)
        falls, rises = (fall, rise) if has_passed_before else (1, 1)
        if len(history) >= falls and not any(history[-falls:]):
            failing = True
        if len(history) >= rises and all(history[-rises:]):
            failing = False
        assert verdict.failing is failing
        expected = None if failing is was_failing else Flip.FAILING if failing else Flip.PASSING
        assert flip is expected
