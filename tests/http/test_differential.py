"""What was seen before changes no byte of what is forwarded, and neither does compiling."""

import json
import os
import subprocess
import sys
from random import Random

import pytest

from tests.corpus import differential
from tests.corpus.cases import Case
from tests.corpus.differential import (
    REQUESTS,
    RESPONSES,
    Cold,
    by_settings,
    cold,
    cold_response,
    nearly,
    warm,
    warm_responses,
)
from tests.hot_rooms import ROOT

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
TIMES = 4  # what comes twice is remembered, and then recognised
# Two lines of which one ends like the other: what is patched must be the right one.
ALIKE = b"GET /%b HTTP/1.1\r\nHost: a\r\nX-Trace: %b\r\nTrace: %b\r\nCookie: trace: %b\r\n\r\n"


@pytest.mark.parametrize("case", REQUESTS, ids=[case.id for case in REQUESTS])
def test_a_request_is_forwarded_alike_each_time(case: Case) -> None:
    """Also when what comes between differs from it in one or two letters, and when it comes in two pieces."""
    random = Random(case.id)
    whole = cold(case)
    half = len(case.sent) // 2
    others = [cold(each) for each in nearly(case, random, 6)]
    halves = cold(case, case.sent[:half], case.sent[half:])
    plays = [whole] * TIMES
    for other in others:
        plays += [other, whole, other]
    plays += [halves, whole]
    check(case, plays)


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_are_forwarded_alike_in_any_order(seed: int) -> None:
    random = Random(seed)
    for cases in by_settings(REQUESTS):
        known = [cold(case) for case in cases]
        check(cases[0], [random.choice(known) for _ in range(3 * len(known))])


def test_lines_that_end_alike_are_told_apart() -> None:
    case = REQUESTS[0]
    values = [
        (b"p", b"1", b"1", b"1"),
        (b"p", b"2", b"1", b"1"),
        (b"q", b"1", b"2", b"1"),
        (b"p", b"1", b"1", b"2"),
    ]
    known = [cold(case, ALIKE % value) for value in values]
    random = Random(1)
    check(case, [random.choice(known) for _ in range(200)])


def check(case: Case, plays: list[Cold]) -> None:
    """Each play gives what it gives cold."""
    before = None
    for one, play in warm(case, plays):
        assert str(play) == str(one.play), f"{one.case.id}, after {before}"
        before = f"{one.case.id}: {one.pieces}"


@pytest.mark.parametrize("case", RESPONSES, ids=[case.id for case in RESPONSES])
def test_a_response_is_forwarded_alike_each_time(case: Case) -> None:
    check_responses([case] * TIMES)


@pytest.mark.parametrize("seed", SEEDS)
def test_responses_are_forwarded_alike_in_any_order(seed: int) -> None:
    random = Random(seed)
    limits = [tuple(line for line in case.setup if line.startswith("limit")) for case in RESPONSES]
    for limit in dict.fromkeys(limits):
        cases = [case for case, its in zip(RESPONSES, limits, strict=True) if its == limit]
        check_responses([random.choice(cases) for _ in range(3 * len(cases))])


def check_responses(cases: list[Case]) -> None:
    known = {case.id: str(cold_response(case)) for case in cases}
    before = ""
    for case, play in warm_responses(cases):
        assert str(play) == known[case.id], f"{case.id}, after {before}"
        before = case.id


@pytest.mark.integration
def test_the_plain_build_forwards_the_same_bytes() -> None:
    """In a process that imports the checkout, where nothing is compiled."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "EXPECT_BUILD": "plain"}
    command = [sys.executable, "-P", "-m", differential.__name__]
    run = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, check=True, timeout=300)
    plain = json.loads(run.stdout)
    here = differential.all_cold()
    assert [name for name in plain if plain[name] != here[name]] == []
    assert plain.keys() == here.keys()
