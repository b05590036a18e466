"""Checks under overload: whoever is slow stays, whoever is dead goes, and whether it is us who are late."""

from random import Random

import pytest

from balancer.health.result import Result
from tests.health.harness import CLOSED, ERROR, HANG, OK, REFUSED, STEP, After, Answer, Scene

USUAL = 2 * 2.0 + 1.0  # FALL x INTERVAL + TIMEOUT: how long one that hangs may stay

# --- slow is not dead


def run_live(scene: Scene, seconds: float, every: float, random: Random) -> None:
    """Time passes, in which the replica answers a live request `every` so many seconds, more or less."""
    due = 0.0
    for step in range(round(seconds / STEP)):
        if step * STEP >= due:
            scene.live["app1"] += 1
            due += every * random.uniform(0.9, 1.1)
        scene.run(STEP)


@pytest.mark.parametrize("every", [0.01, 0.3, 0.8, 1.0, 1.5, 2.0, 2.3], ids=lambda every: f"{every}s")
def test_a_replica_that_serves_stays_however_slow_its_checks_are(every: float) -> None:
    """Two requests of three seconds at a time are one answer every 1.5 s, and none during many a check."""
    for seed in range(8):
        scene = Scene(seed=seed)
        scene.add("app1")
        scene.probes["app1"].script.append(OK)
        scene.probes["app1"].always = HANG
        scene.checks.start()
        run_live(scene, 40.0, every, Random(seed))
        assert "app1 failing" not in scene.told, seed
        scene.close()


@pytest.mark.parametrize("busy", [False, True], ids=["at ease", "busy"])
@pytest.mark.parametrize("every", [0.01, 0.3, 1.0, 2.0], ids=lambda every: f"{every}s")
def test_one_that_hangs_after_a_time_of_overload_goes_in_the_usual_time(every: float, busy: bool) -> None:
    for seed in range(20):
        scene = Scene(seed=seed)
        scene.add("app1")
        scene.busy.update(["app1"] if busy else [])
        scene.probes["app1"].script.append(OK)
        scene.probes["app1"].always = HANG
        scene.checks.start()
        run_live(scene, 8.0 + seed / 10, every, Random(seed))
        assert "app1 failing" not in scene.told
        scene.run(USUAL)
        assert "app1 failing" in scene.told, seed
        scene.close()


# What the checks of one upstream bring, whether live requests were answered in the second before each, and
# what comes of it; FALL is 2, RISE is 2.
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
    "silence before one that passed": (
        [(HANG, False), (OK, False), (ERROR, True), (HANG, True)],
        ["failing"],
    ),
    "failing, and served in panic": (
        [(HANG, False), (HANG, False), (HANG, True), (OK, True), (OK, True)],
        ["failing", "passing"],
    ),
}


@pytest.mark.parametrize("case", STREAKS)
def test_what_live_requests_say_between_two_checks(case: str) -> None:
    checks, expected = STREAKS[case]
    scene = Scene()
    scene.add("app1")
    scene.probes["app1"].script.extend([OK, *(answer for answer, _ in checks)])
    scene.checks.start()
    for number, (answer, served) in enumerate(checks, 1):
        scene.run(0.1)
        scene.live["app1"] += served
        while len(scene.probes["app1"].asked) == number:
            scene.run(STEP)
        scene.run(1.1 if answer is HANG else STEP)
    assert [told for told in scene.told if told != "app1 checked"] == [f"app1 {one}" for one in expected]
    scene.close()


# --- answered after all

# What every check brings, whether live requests are in flight, and whether that is failing.
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
def test_a_check_that_waits_behind_requests_and_is_answered_late_is_none_that_failed(case: str) -> None:
    always, busy, expected = LATE_ANSWERS[case]
    for seed in range(5):
        scene = Scene(seed=seed)
        [upstream] = scene.add("app1")
        scene.probes["app1"].script.append(OK)
        scene.probes["app1"].always = always
        scene.busy.update(["app1"] if busy else [])
        scene.checks.start()
        scene.run(2.0)
        scene.run(USUAL if expected else 40.0)
        assert ("app1 failing" in scene.told) is expected
        allowed = {"passed", "timeout", "slow"} | ({"status"} if expected else set())
        assert set(scene.checks.counts(upstream)) <= allowed
        scene.close()


def test_an_answer_after_all_is_shown() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", interval=60.0)
    scene.probes["app1"].always = After(1.5, OK)
    scene.busy.add("app1")
    scene.checks.start()
    scene.run(1.6)
    last = scene.checks.last(upstream)
    assert last is not None
    assert (last.result, last.passed) == (Result.SLOW, False)
    assert last.hint.startswith("200 on / after 1.5s: it waits behind live requests, which are answered")
    scene.close()


def test_one_that_is_failing_has_to_pass_in_time_to_come_back() -> None:
    scene = Scene()
    scene.add("app1")
    scene.probes["app1"].script.append(ERROR)
    scene.probes["app1"].always = After(1.5, OK)
    scene.busy.add("app1")
    scene.checks.start()
    scene.run(20.0)
    assert scene.told == ["app1 failing"]
    scene.close()


@pytest.mark.parametrize("what", ["removed", "moved", "closed"])
def test_a_check_that_still_waits_for_its_answer_ends_when_it_is(what: str) -> None:
    scene = Scene()
    [upstream] = scene.add("app1", interval=60.0)
    probe = scene.probes["app1"]
    probe.script.extend([HANG, OK])
    scene.busy.add("app1")
    scene.checks.start()
    scene.run(1.1)
    assert (probe.running, scene.checks.first_round_done) == (1, True)
    if what == "removed":
        scene.checks.remove(upstream)
    elif what == "moved":
        upstream.address = "10.0.0.2"
        scene.checks.moved(upstream)
        scene.loop.settle()
        assert scene.told == ["app1 checked"]
        assert [where for _, where, _ in probe.asked] == ["10.0.0.1", "10.0.0.2"]
    scene.close()
    assert (probe.running, probe.closed) == (0, True)


def test_a_check_that_stands_in_for_the_next_one_is_still_the_same_request() -> None:
    scene = Scene()
    [upstream] = scene.add("app1")
    scene.probes["app1"].script.extend([OK, After(2.5, OK)])
    scene.busy.add("app1")
    scene.checks.start()
    scene.run(2.0)
    (_, asked) = scene.probes["app1"].asked
    scene.run(asked[0] + 2.55 - scene.clock.monotonic_ns() / 1e9)
    assert len(scene.probes["app1"].asked) == 2
    assert scene.checks.counts(upstream) == {"passed": 1, "timeout": 1, "slow": 1}
    last = scene.checks.last(upstream)
    assert last is not None
    assert (last.result, round(last.seconds, 1)) == (Result.SLOW, 2.5)
    assert last.hint.startswith("200 on / after 2.5s: it waits behind live requests")
    scene.run(2.0)
    assert len(scene.probes["app1"].asked) == 3
    scene.close()


def test_checks_that_still_wait_for_their_answers_keep_nobody_waiting() -> None:
    scene = Scene(at_once=1)
    scene.add("app1", "app2", interval=60.0)
    scene.probes["app1"].always = HANG
    scene.checks.start()
    scene.run(1.1)
    assert len(scene.probes["app2"].asked) == 1
    scene.close()


# --- late ourselves


def checked_once(answer: Answer) -> Scene:
    """A check of one upstream has begun; FALL is 1, and the next one is far away."""
    scene = Scene()
    scene.add("app1", fall=1, interval=60.0)
    scene.probes["app1"].script.append(answer)
    scene.checks.start()
    scene.loop.settle()
    return scene


def results(scene: Scene) -> dict[str, int]:
    return dict(scene.checks._watches["default", "app1"].counts)


# When the answer came; when our loop stood still, and for how long; the result.
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
def test_a_check_has_its_timeout_of_our_good_time(case: str) -> None:
    answered, stalled, length, expected = STALLS[case]
    scene = checked_once(After(answered, OK))
    scene.run(stalled)
    scene.stall(length)
    scene.run(3.0)
    assert results(scene) == {expected: 1}
    assert scene.told == (
        [] if expected == "late" else ["app1 checked" if expected == "passed" else "app1 failing"]
    )
    scene.close()


@pytest.mark.parametrize(
    ("late", "expected", "by"),
    [(0.0, "timeout", 1.02), (0.01, "timeout", 1.3), (0.05, "timeout", 2.11), (0.2, "late", 2.26)],
    ids=["on time", "a little late", "as late as a beat is long", "hardly there"],
)
def test_a_loop_that_is_always_late_still_finds_who_hangs(late: float, expected: str, by: float) -> None:
    """Late with every beat, as under a CPU quota. Only where it is hardly there at all it cannot tell."""
    scene = checked_once(HANG)
    while not results(scene):
        scene.stall(0.05 + late)
    last = scene.checks._watches["default", "app1"].last
    assert last is not None
    assert (last.result, last.seconds <= by) == (expected, True)
    assert ("was late" in last.hint) is (expected == "late")
    scene.close()
