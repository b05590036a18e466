"""An upstream that answers neither checks nor requests is silent, since a known time; a slow one is not."""

import pytest

from balancer.health.result import Reply, Result
from balancer.health.silence import Reading, Silence
from tests.health.harness import CLOSED, ERROR, HANG, OK, SETTINGS, STEP, After, Answer, Harness

UNREACHABLE = Reply(Result.UNREACHABLE, 0, "no route to host")
REFUSED = Reply(Result.REFUSED, 0, "refused: nothing listens there")


# The results of one upstream's checks, beside a healthy one; what requests in flight are answered
# in the second before each of them; and after how many of them it is known to be silent, and until which.
CASES: dict[str, tuple[list[tuple[Answer, str]], list[str]]] = {
    "two timeouts": ([(HANG, ""), (HANG, "")], ["failing", "silent"]),
    "no way there": ([(UNREACHABLE, ""), (UNREACHABLE, "")], ["failing", "silent"]),
    "no answer, then no way there": ([(HANG, ""), (UNREACHABLE, "")], ["failing", "silent"]),
    "answers before the first check only": ([(HANG, "200"), (HANG, "")], ["failing", "silent"]),
    "an error between the checks": ([(HANG, ""), (HANG, "500"), (HANG, "")], ["failing", "silent"]),
    "an error between the checks, and no third": ([(HANG, ""), (HANG, "500")], ["failing"]),
    "a good answer between them": ([(HANG, ""), (HANG, "200")], []),
    "its own word, then silence": ([(ERROR, ""), (HANG, "")], ["failing"]),
    "its own word, then silence for as long": ([(ERROR, ""), (HANG, ""), (HANG, "")], ["failing", "silent"]),
    "its own word twice": ([(ERROR, ""), (ERROR, "")], ["failing"]),
    "refused": ([(REFUSED, ""), (REFUSED, "")], ["failing"]),
    "closed": ([(CLOSED, ""), (CLOSED, "")], ["failing"]),
    "silence, then refused": ([(HANG, ""), (HANG, ""), (REFUSED, "")], ["failing", "silent", "heard"]),
    "silence, then its own word": ([(HANG, ""), (HANG, ""), (ERROR, "")], ["failing", "silent", "heard"]),
    "silence, then a check that passes": ([(HANG, ""), (HANG, ""), (OK, "")], ["failing", "silent", "heard"]),
    "silence, then an answer in panic": (
        [(HANG, ""), (HANG, ""), (HANG, "200")],
        ["failing", "silent", "heard"],
    ),
    "silence, then an error in panic, then silence": (
        [(HANG, ""), (HANG, ""), (HANG, "500"), (HANG, "")],
        ["failing", "silent", "heard", "silent"],
    ),
    "back, and silent again": (
        [(HANG, ""), (HANG, ""), (OK, ""), (OK, ""), (HANG, ""), (HANG, "")],
        ["failing", "silent", "heard", "passing", "failing", "silent"],
    ),
}


def play(harness: Harness, checks: list[tuple[Answer, str]]) -> None:
    """The successive checks of app1; the first one passes."""
    harness.add("app1", "app2")
    harness.probes["app1"].script.extend([OK, *(answer for answer, _ in checks)])
    harness.probes["app1"].always = HANG
    harness.checks.start()
    for number, (answer, answered) in enumerate(checks, 1):
        harness.run(0.15)
        harness.live["app1"] += answered == "200"
        harness.errors["app1"] += answered == "500"
        while len(harness.probes["app1"].asked) == number:
            harness.run(STEP)
        harness.run(1.1 if answer is HANG else STEP)


def told_of(harness: Harness, name: str) -> list[str]:
    return [told.removeprefix(f"{name} ") for told in harness.told if told.startswith(name)]


@pytest.mark.parametrize("case", CASES)
def test_when_an_upstream_counts_as_silent(case: str) -> None:
    checks, expected = CASES[case]
    harness = Harness()
    play(harness, checks)
    assert told_of(harness, "app1") == ["checked", *expected]
    harness.close()


def test_silence_begins_with_the_first_unanswered_check() -> None:
    harness = Harness()
    play(harness, [(HANG, ""), (HANG, "")])
    asked = round(harness.probes["app1"].asked[1][0] * 1e9)
    since = harness.silences["app1"]
    assert asked < since < asked + 200_000_000
    harness.run(10.0)
    assert harness.silences["app1"] == since  # as long as it lasts
    harness.close()


def test_a_late_answer_to_a_check_ends_silence() -> None:
    harness = Harness()
    harness.add("app1", "app2")
    harness.probes["app1"].script.extend([OK, HANG, After(1.2, ERROR)])
    harness.probes["app1"].always = HANG
    harness.checks.start()
    while "app1 silent" not in harness.told:
        harness.run(STEP)
    assert harness.silences["app1"]
    harness.run(0.3)
    assert told_of(harness, "app1")[-1] == "heard"
    harness.close()


@pytest.mark.parametrize(
    "answer", [OK, ERROR, HANG, REFUSED], ids=["passing", "failing", "silent", "refusing"]
)
def test_silence_requires_another_healthy_upstream(answer: Answer) -> None:
    """If none is healthy, the cause is likely a shared dependency; and requests cannot move."""
    harness = Harness()
    harness.add("app1", "app2")
    harness.probes["app1"].script.append(OK)
    harness.probes["app2"].script.append(OK)
    harness.probes["app1"].always = HANG
    harness.probes["app2"].always = answer
    harness.checks.start()
    harness.run(20.0)
    assert "app1 failing" in harness.told
    assert ("app1 silent" in harness.told) is (answer is OK)
    harness.close()


def test_a_healthy_upstream_of_another_pool_does_not_count() -> None:
    harness = Harness()
    first, second = harness.add("app1", "app2")
    harness.checks.remove(second)
    second.pool = "other"
    harness.checks.add(second, SETTINGS)
    harness.probes["app1"].script.append(OK)
    harness.probes["app1"].always = HANG
    harness.checks.start()
    harness.run(20.0)
    assert told_of(harness, first.id) == ["checked", "failing"]
    harness.close()


def test_if_all_hang_and_one_recovers_the_others_are_silent() -> None:
    harness = Harness()
    harness.add("app1", "app2")
    for name in ("app1", "app2"):
        harness.probes[name].script.append(OK)
        harness.probes[name].always = HANG
    harness.checks.start()
    harness.run(10.0)
    assert not any(harness.silences.values())
    harness.probes["app2"].always = OK
    harness.run(6.0)
    assert harness.silences == {"app1": harness.silences["app1"]}
    assert harness.silences["app1"]
    harness.close()


def test_a_slow_healthy_upstream_counts_as_well() -> None:
    """Its checks queue behind requests, which are answered."""
    harness = Harness()
    harness.add("app1", "app2")
    for name in ("app1", "app2"):
        harness.probes[name].script.append(OK)
        harness.probes[name].always = HANG
    harness.checks.start()
    for _ in range(100):
        harness.live["app2"] += 1
        harness.run(0.1)
    assert told_of(harness, "app1") == ["checked", "failing", "silent"]
    assert told_of(harness, "app2") == ["checked"]
    harness.close()


def test_a_new_address_is_not_silent() -> None:
    harness = Harness()
    upstream, _ = harness.add("app1", "app2")
    harness.probes["app1"].script.append(OK)
    harness.probes["app1"].always = HANG
    harness.checks.start()
    while "app1 silent" not in harness.told:
        harness.run(STEP)
    upstream.address = "10.0.0.9"
    harness.checks.moved(upstream)
    harness.run(1.2)
    assert told_of(harness, "app1") == ["checked", "failing", "silent", "failing", "heard"]
    harness.close()


@pytest.mark.parametrize("fall", [1, 2, 3, 5])
def test_silence_is_reported_with_the_ejection(fall: int) -> None:
    for seed in range(20):
        harness = Harness(seed=seed)
        harness.add("app1", "app2", fall=fall)
        harness.probes["app1"].script.append(OK)
        harness.probes["app1"].always = HANG
        harness.checks.start()
        while "app1 failing" not in harness.told:
            harness.run(STEP)
        if fall > 1:
            assert "app1 silent" in harness.told, seed
        else:  # the other one may not have been checked meanwhile
            harness.run(3.1)
            assert "app1 silent" in harness.told, seed
        harness.close()


# --- what is counted

BEGINS = Reading(100, 7)


def test_consecutive_unanswered_checks_are_counted() -> None:
    silence = Silence()
    silence.goes_on(BEGINS, 7)
    assert (silence.checks, silence.since_ns) == (1, 100)
    silence.goes_on(Reading(200, 7), 7)
    assert (silence.checks, silence.since_ns) == (2, 100)
    silence.end()
    assert (silence.checks, silence.since_ns) == (0, 0)


def test_an_answer_between_two_checks_resets_the_count() -> None:
    silence = Silence()
    silence.goes_on(BEGINS, 7)
    silence.goes_on(Reading(200, 8), 8)
    assert (silence.checks, silence.since_ns) == (1, 200)


def test_an_answer_during_a_check_ends_silence() -> None:
    silence = Silence()
    silence.goes_on(BEGINS, 7)
    silence.goes_on(Reading(200, 7), 8)
    assert (silence.checks, silence.since_ns) == (0, 0)
    silence.goes_on(Reading(300, 8), 8)
    assert (silence.checks, silence.since_ns) == (1, 300)
