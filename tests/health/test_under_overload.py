"""Checks under overload: a slow upstream stays, a dead one is ejected, and our own lateness is recognised."""

from random import Random

import pytest

from balancer.health.result import Result
from tests.health.harness import CLOSED, ERROR, HANG, OK, REFUSED, STEP, After, Answer, Harness

USUAL = 2 * 2.0 + 1.0  # FALL x INTERVAL + TIMEOUT: how long a hanging upstream may stay

# --- a slow upstream is not a dead one


def run_live(harness: Harness, seconds: float, every: float, random: Random) -> None:
    """Let time pass, with an answered live request about `every` so many seconds."""
    due = 0.0
    for step in range(round(seconds / STEP)):
        if step * STEP >= due:
            harness.live["app1"] += 1
            due += every * random.uniform(0.9, 1.1)
        harness.run(STEP)


@pytest.mark.parametrize("every", [0.01, 0.3, 0.8, 1.0, 1.5, 2.0, 2.3], ids=lambda every: f"{every}s")
def test_a_serving_replica_stays_however_slow_its_checks_are(every: float) -> None:
    """Two concurrent requests of three seconds give an answer every 1.5 s, and none during many checks."""
    for seed in range(8):
        harness = Harness(seed=seed)
        harness.add("app1")
        harness.probes["app1"].script.append(OK)
        harness.probes["app1"].always = HANG
        harness.checks.start()
        run_live(harness, 40.0, every, Random(seed))
        assert "app1 failing" not in harness.told, seed
        harness.close()


@pytest.mark.parametrize("busy", [False, True], ids=["at ease", "busy"])
@pytest.mark.parametrize("every", [0.01, 0.3, 1.0, 2.0], ids=lambda every: f"{every}s")
def test_after_an_overload_a_hanging_replica_is_ejected_in_the_usual_time(every: float, busy: bool) -> None:
    for seed in range(20):
        harness = Harness(seed=seed)
        harness.add("app1")
        harness.busy.update(["app1"] if busy else [])
        harness.probes["app1"].script.append(OK)
        harness.probes["app1"].always = HANG
        harness.checks.start()
        run_live(harness, 8.0 + seed / 10, every, Random(seed))
        assert "app1 failing" not in harness.told
        harness.run(USUAL)
        assert "app1 failing" in harness.told, seed
        harness.close()


# The results of one upstream's checks, whether live requests were answered in the second before each, and the
# conclusions; FALL is 2, RISE is 2.
STREAKS: dict[str, tuple[list[tuple[Answer, bool]], list[str]]] = {
    "two timeouts": ([(HANG, False), (HANG, False)], ["failing"]),
    "two, with answers before the first only": ([(HANG, True), (HANG, False)], ["failing"]),
    "two, with answers in between": ([(HANG, False), (HANG, True)], []),
    "two, with answers between the first ones": ([(HANG, False), (HANG, True), (HANG, False)], ["failing"]),
    "answers between all": ([(HANG, False), (HANG, True), (HANG, True), (HANG, True)], []),
    "refused twice, with answers in between": ([(REFUSED, False), (REFUSED, True)], ["failing"]),
    "closed twice, with answers in between": ([(CLOSED, False), (CLOSED, True)], ["failing"]),
    "an answer other than 200, then silence": ([(ERROR, True), (HANG, True)], ["failing"]),
    "silence, then an answer other than 200": ([(HANG, True), (ERROR, True)], ["failing"]),
    "silence before a passed check": (
        [(HANG, False), (OK, False), (ERROR, True), (HANG, True)],
        ["failing"],
    ),
    "failing, and served in panic": (
        [(HANG, False), (HANG, False), (HANG, True), (OK, True), (OK, True)],
        ["failing", "passing"],
    ),
}


@pytest.mark.parametrize("case", STREAKS)
def test_live_responses_between_two_checks_decide_about_timeouts(case: str) -> None:
    checks, expected = STREAKS[case]
    harness = Harness()
    harness.add("app1")
    harness.probes["app1"].script.extend([OK, *(answer for answer, _ in checks)])
    harness.checks.start()
    for number, (answer, served) in enumerate(checks, 1):
        harness.run(0.1)
        harness.live["app1"] += served
        while len(harness.probes["app1"].asked) == number:
            harness.run(STEP)
        harness.run(1.1 if answer is HANG else STEP)
    assert [told for told in harness.told if told != "app1 checked"] == [f"app1 {one}" for one in expected]
    harness.close()


# --- late answers

# The result of every check, whether live requests are in flight, and whether the upstream is failing.
LATE_ANSWERS: dict[str, tuple[Answer, bool, bool]] = {
    "behind live requests": (After(1.5, OK), True, False),
    "just before the next check": (After(1.75, OK), True, False),
    "after the next check is due": (After(2.2, OK), True, False),
    "just before that would have failed as well": (After(2.7, OK), True, False),
    "after that": (After(3.3, OK), True, True),
    "after the next check is due, with nothing to wait behind": (After(2.2, OK), False, True),
    "an error after the next check is due": (After(2.2, ERROR), True, True),
    "with nothing to wait behind": (After(1.5, OK), False, True),
    "an error": (After(1.5, ERROR), True, True),
    "closed": (After(1.5, CLOSED), True, True),
    "never": (HANG, True, True),
}


@pytest.mark.parametrize("case", LATE_ANSWERS)
def test_a_check_that_queues_behind_requests_and_is_answered_late_did_not_fail(case: str) -> None:
    always, busy, expected = LATE_ANSWERS[case]
    for seed in range(5):
        harness = Harness(seed=seed)
        [upstream] = harness.add("app1")
        harness.probes["app1"].script.append(OK)
        harness.probes["app1"].always = always
        harness.busy.update(["app1"] if busy else [])
        harness.checks.start()
        harness.run(2.0)
        harness.run(USUAL if expected else 40.0)
        assert ("app1 failing" in harness.told) is expected
        allowed = {"passed", "timeout", "slow"} | ({"status"} if expected else set())
        assert set(harness.checks.counts(upstream)) <= allowed
        harness.close()


def test_a_late_answer_is_shown() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", interval=60.0)
    harness.probes["app1"].always = After(1.5, OK)
    harness.busy.add("app1")
    harness.checks.start()
    harness.run(1.6)
    last = harness.checks.last(upstream)
    assert last is not None
    assert (last.result, last.passed) == (Result.SLOW, False)
    assert last.hint.startswith("200 on / after 1.5s: it waited behind live requests, which succeed")
    harness.close()


def test_a_failing_upstream_must_pass_in_time_to_be_readmitted() -> None:
    harness = Harness()
    harness.add("app1")
    harness.probes["app1"].script.append(ERROR)
    harness.probes["app1"].always = After(1.5, OK)
    harness.busy.add("app1")
    harness.checks.start()
    harness.run(20.0)
    assert harness.told == ["app1 failing"]
    harness.close()


@pytest.mark.parametrize("what", ["removed", "moved", "closed"])
def test_a_check_still_waiting_for_its_answer_ends_when_the_upstream_is_removed(what: str) -> None:
    harness = Harness()
    [upstream] = harness.add("app1", interval=60.0)
    probe = harness.probes["app1"]
    probe.script.extend([HANG, OK])
    harness.busy.add("app1")
    harness.checks.start()
    harness.run(1.1)
    assert (probe.running, harness.checks.first_round_done) == (1, True)
    if what == "removed":
        harness.checks.remove(upstream)
    elif what == "moved":
        upstream.address = "10.0.0.2"
        harness.checks.moved(upstream)
        harness.loop.settle()
        assert harness.told == ["app1 checked"]
        assert [where for _, where, _ in probe.asked] == ["10.0.0.1", "10.0.0.2"]
    harness.close()
    assert (probe.running, probe.closed) == (0, True)


def test_a_late_check_that_replaces_the_next_one_is_the_same_request() -> None:
    harness = Harness()
    [upstream] = harness.add("app1")
    harness.probes["app1"].script.extend([OK, After(2.5, OK)])
    harness.busy.add("app1")
    harness.checks.start()
    harness.run(2.0)
    (_, asked) = harness.probes["app1"].asked
    harness.run(asked[0] + 2.55 - harness.clock.monotonic_ns() / 1e9)
    assert len(harness.probes["app1"].asked) == 2
    assert harness.checks.counts(upstream) == {"passed": 1, "timeout": 1, "slow": 1}
    last = harness.checks.last(upstream)
    assert last is not None
    assert (last.result, round(last.seconds, 1)) == (Result.SLOW, 2.5)
    assert last.hint.startswith("200 on / after 2.5s: it waited behind live requests")
    harness.run(2.0)
    assert len(harness.probes["app1"].asked) == 3
    harness.close()


def test_checks_still_waiting_for_answers_block_no_others() -> None:
    harness = Harness(at_once=1)
    harness.add("app1", "app2", interval=60.0)
    harness.probes["app1"].always = HANG
    harness.checks.start()
    harness.run(1.1)
    assert len(harness.probes["app2"].asked) == 1
    harness.close()


# --- our own lateness


def checked_once(answer: Answer) -> Harness:
    """A check of one upstream has begun; FALL is 1, and the next check is far away."""
    harness = Harness()
    harness.add("app1", fall=1, interval=60.0)
    harness.probes["app1"].script.append(answer)
    harness.checks.start()
    harness.loop.settle()
    return harness


def results(harness: Harness) -> dict[str, int]:
    return dict(harness.checks._watches["default", "app1"].counts)


# When the answer came; when our loop stalled, and for how long; the result.
STALLS: dict[str, tuple[float, float, float, str]] = {
    "here when we woke after the deadline": (0.9, 0.8, 0.4, "passed"),
    "here in a short pause over the deadline": (0.97, 0.95, 0.15, "passed"),
    "here in a long one": (0.5, 0.2, 1.7, "passed"),
    "here when we had slept all the time and longer": (0.5, 0.01, 10.0, "passed"),
    "here after the deadline, but within the time we missed": (1.2, 0.3, 0.5, "passed"),
    "here after that too": (1.6, 0.3, 0.5, "timeout"),
    "never, and we missed a tenth": (99.0, 0.3, 0.1, "timeout"),
    "never, and we missed a half": (99.0, 0.3, 0.5, "timeout"),
    "never, and we missed twice the timeout": (99.0, 0.3, 2.0, "late"),
}


@pytest.mark.parametrize("case", STALLS)
def test_a_check_has_its_timeout_in_good_time(case: str) -> None:
    answered, stalled, length, expected = STALLS[case]
    harness = checked_once(After(answered, OK))
    harness.run(stalled)
    harness.stall(length)
    harness.run(3.0)
    assert results(harness) == {expected: 1}
    assert harness.told == (
        [] if expected == "late" else ["app1 checked" if expected == "passed" else "app1 failing"]
    )
    harness.close()


@pytest.mark.parametrize(
    ("late", "expected", "by"),
    [(0.0, "timeout", 1.02), (0.01, "timeout", 1.3), (0.05, "timeout", 2.11), (0.2, "late", 2.26)],
    ids=["on time", "a little late", "as late as a beat is long", "hardly there"],
)
def test_a_loop_that_is_always_late_still_finds_a_hanging_upstream(
    late: float, expected: str, by: float
) -> None:
    """Late with every beat, as under a CPU quota. Only with hardly any CPU can it not tell."""
    harness = checked_once(HANG)
    while not results(harness):
        harness.stall(0.05 + late)
    last = harness.checks._watches["default", "app1"].last
    assert last is not None
    assert (last.result, last.seconds <= by) == (expected, True)
    assert ("ran late" in last.hint) is (expected == "late")
    harness.close()
