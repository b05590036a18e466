"""What checks lead to: ejected, readmitted, draining; and what is not held against an upstream."""

import pytest

from balancer.health.result import Reply, Result
from tests.health.harness import CLOSED, ERROR, HANG, OK, REFUSED, After, Answer, FakeUpstream, Scene

ENDING = Reply(Result.PASSED, 503, "503 on /: it wants no new work")


def test_a_replica_that_answers_500_is_failing_within_fall_times_interval() -> None:
    """Whatever the beat: turned bad at any moment, for several seeds."""
    for seed in range(20):
        scene = Scene(seed=seed)
        scene.add("app1")
        scene.checks.start()
        scene.run(3 + seed / 10)
        scene.probes["app1"].always = ERROR
        scene.run(2 * 2.0)
        assert scene.told == ["app1 checked", "app1 failing"]
        scene.close()


def test_one_that_hangs_is_failing_within_fall_times_interval_and_one_timeout() -> None:
    for seed in range(20):
        scene = Scene(seed=seed)
        scene.add("app1")
        scene.checks.start()
        scene.run(3 + seed / 10)
        scene.probes["app1"].always = HANG
        scene.run(2 * 2.0 + 1.0)
        assert scene.told == ["app1 checked", "app1 failing"]
        scene.close()


def test_an_upstream_may_still_be_starting_until_it_has_passed_where_it_is() -> None:
    not_found = Reply(Result.STATUS, 404, "404 on /")
    scene = Scene()
    (upstream,) = scene.add("app1:8000")
    probe = scene.probes["app1:8000"]
    hints: list[str] = []

    def check(reply: Reply) -> None:
        probe.always = reply
        asked = len(probe.asked)
        while len(probe.asked) == asked:
            scene.run(0.1)
        last = scene.checks.last(upstream)
        assert last is not None
        hints.append(last.hint.partition(":")[2].partition(";")[0].partition(",")[0])

    scene.checks.start()
    check(not_found)
    check(OK)
    check(not_found)
    upstream.address = "10.0.0.2"  # another machine, of which nothing is known
    check(not_found)
    starting = " is the app still starting? If not"
    assert hints == [starting, "", " it has passed before", starting]
    scene.close()


def test_failing_and_passing_say_why() -> None:
    scene = Scene()
    scene.add("app1")
    scene.probes["app1"].script.extend([OK, ERROR, ERROR])
    scene.checks.start()
    scene.run(12)
    assert scene.told == ["app1 checked", "app1 failing", "app1 passing"]
    assert scene.whys == [
        "200 on /",
        "2 checks in a row have failed; 500 on /: the app fails on this path; look at its log",
        "2 checks in a row have passed; 200 on /",
    ]
    scene.close()


def test_the_last_result_is_kept() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", interval=60.0)
    assert scene.checks.last(upstream) is None
    scene.probes["app1"].script.append(HANG)
    scene.checks.start()
    scene.run(1.1)
    last = scene.checks.last(upstream)
    assert last is not None
    assert (last.passed, last.result, last.status) == (False, Result.TIMEOUT, 0)
    assert 0.99 < last.seconds < 1.02
    assert 0.08 < scene.clock.wall() - last.time < 0.12
    assert last.detail == "no whole response within 1s"
    assert last.hint == "no whole response within 1s: raise BALANCER_HEALTH_CHECK__TIMEOUT or look at the app"
    scene.run(60)
    last = scene.checks.last(upstream)
    assert last is not None
    assert (last.passed, last.status, last.hint) == (True, 200, "")
    scene.close()


# --- the first check


# What a new upstream's checks bring, and what is told: with FALL and RISE of 2 it takes one of each.
FIRST: dict[str, tuple[list[Answer], list[str]]] = {
    "it passes": ([OK], ["checked"]),
    "its app is not there yet": ([REFUSED, REFUSED, OK], ["failing", "checked", "passing"]),
    "it does not know the path yet": ([ERROR, OK], ["failing", "checked", "passing"]),
    "it says nothing": ([HANG, OK], ["failing", "checked", "passing"]),
    "two failures after it has passed": ([OK, ERROR, ERROR], ["checked", "failing"]),
    "one failure after it has passed": ([OK, ERROR, OK, ERROR], ["checked"]),
    "two passes after it has served": (
        [ERROR, OK, ERROR, ERROR, OK, ERROR, OK, OK],
        ["failing", "checked", "passing", "failing", "passing"],
    ),
}


@pytest.mark.parametrize("case", FIRST)
def test_until_one_has_passed_every_check_decides(case: str) -> None:
    answers, told = FIRST[case]
    scene = Scene()
    scene.checks.start()
    scene.probes["app1"].script.extend(answers)
    scene.add("app1")
    while scene.probes["app1"].script:
        scene.run(0.5)
    scene.run(0.1)
    assert scene.told == [f"app1 {one}" for one in told]
    scene.close()


def test_one_failed_first_check_is_said_to_be_the_first() -> None:
    scene = Scene()
    scene.probes["app1"].script.extend([ERROR, OK])
    scene.add("app1")
    scene.checks.start()
    scene.run(3)
    assert scene.whys == [
        "its first check has failed; 500 on /: the app fails on this path; look at its log",
        "200 on /",
        "a check has passed; 200 on /",
    ]
    scene.close()


def test_a_first_check_that_may_stand_behind_live_requests_is_one_of_fall() -> None:
    """At the start of the instance all are used before they are checked, and some are busy at once."""
    scene = Scene()
    scene.add("app1")
    scene.probes["app1"].always = HANG
    scene.busy.add("app1")
    scene.checks.start()
    scene.run(1.1)
    assert scene.told == []
    scene.run(5.0)
    assert scene.told == ["app1 failing"]
    assert scene.whys[0].startswith("2 checks in a row have failed; no whole response within 1s")
    scene.close()


# --- slow is not dead


def test_timeouts_while_live_requests_succeed_count_for_nothing() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)
    scene.probes["app1"].always = HANG
    scene.checks.start()
    for _ in range(100):
        scene.run(0.1)
        scene.live["app1"] += 1
    assert scene.told == [], "and it stays unchecked, which is eligible"
    assert scene.checks.first_round_done
    assert set(scene.checks.counts(upstream)) == {"slow"}
    last = scene.checks.last(upstream)
    assert last is not None
    assert "it waits behind live requests" in last.hint
    scene.run(3)  # no live requests any more
    assert scene.told == ["app1 failing"]
    scene.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ERROR, id="500"),
        pytest.param(After(0.5, ERROR), id="500 after a while"),
        pytest.param(After(0.5, CLOSED), id="closed after a while"),
    ],
)
def test_live_requests_do_not_excuse_any_other_failure(answer: Answer) -> None:
    scene = Scene()
    scene.add("app1")
    scene.probes["app1"].always = answer
    scene.checks.start()
    for _ in range(50):
        scene.run(0.1)
        scene.live["app1"] += 1
    assert scene.told == ["app1 failing"]
    scene.close()


def test_live_requests_before_the_check_prove_nothing() -> None:
    scene = Scene()
    scene.live["app1"] = 1000
    scene.add("app1")
    scene.probes["app1"].always = HANG
    scene.checks.start()
    scene.run(5)
    assert scene.told == ["app1 failing"]
    scene.close()


def test_quick_checks_do_not_read_the_live_responses() -> None:
    scene = Scene()
    scene.add("app1")
    scene.checks.start()
    scene.run(10)
    assert scene.served_reads == 0
    scene.close()


# --- late ourselves


def test_a_connection_closed_while_we_were_late_counts_for_nothing() -> None:
    """A server may give up on a client that connects and then says nothing."""
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)
    scene.probes["app1"].script.append(CLOSED)
    scene.checks.start()
    scene.clock.advance(0.4)  # between the start of the check and its end
    scene.loop.settle()
    assert scene.checks.counts(upstream) == {"late": 1}
    scene.close()


def test_an_answer_counts_however_late_we_were() -> None:
    scene = Scene()
    [upstream] = scene.add("app1")
    scene.probes["app1"].script.append(ERROR)
    scene.checks.start()
    scene.clock.advance(0.4)
    scene.loop.settle()
    assert scene.checks.counts(upstream) == {"status": 1}
    scene.close()


# --- draining


def test_an_app_announces_that_it_wants_no_new_work_and_takes_it_back() -> None:
    scene = Scene()
    scene.add("app1", drain_status=503)
    scene.probes["app1"].script.extend([OK, ENDING, ENDING, ERROR, OK, OK])
    scene.checks.start()
    scene.run(14)
    assert scene.told == ["app1 checked", "app1 draining on", "app1 draining off"]
    assert scene.whys[1] == "503 on /: it wants no new work"
    scene.close()


def test_the_drain_status_counts_as_alive() -> None:
    scene = Scene()
    scene.add("app1", drain_status=503)
    scene.probes["app1"].script.extend([ERROR, ERROR, ENDING, ENDING])
    scene.checks.start()
    scene.run(12)
    assert scene.told == [
        "app1 failing",
        "app1 draining on",
        "app1 checked",
        "app1 passing",
        "app1 draining off",
    ]
    scene.close()


def test_what_had_announced_before_can_take_it_back() -> None:
    scene = Scene()
    [upstream] = scene.add("app1")
    settings = scene.checks._watches["default", "app1"].settings
    scene.checks.remove(upstream)
    scene.loop.settle()
    scene.probes["app1"] = scene._probe()
    scene.checks.add(upstream, settings, draining=True)
    scene.checks.start()
    scene.loop.settle()
    assert scene.told == ["app1 draining off", "app1 checked"]
    scene.close()


# What checks bring, and how often it is told that nothing answers where it is.
UNANSWERED: dict[str, tuple[list[Answer], int]] = {
    "refused, the first and again": ([REFUSED, REFUSED], 2),
    "closed": ([CLOSED], 1),
    "silent": ([HANG], 1),
    "an error is an answer": ([ERROR, ERROR], 0),
    "refused once after it has passed": ([OK, REFUSED, OK], 0),
    "refused twice after that": ([OK, REFUSED, REFUSED], 1),
}


@pytest.mark.parametrize("case", UNANSWERED)
def test_one_that_is_failing_without_any_answer_may_be_found_elsewhere(case: str) -> None:
    answers, times = UNANSWERED[case]
    scene = Scene()
    scene.probes["app1"].script.extend(answers)
    scene.add("app1")
    scene.checks.start()
    while scene.probes["app1"].script:
        scene.run(0.1)
    scene.run(1.1)
    assert len(scene.unanswering) == times
    scene.close()


@pytest.mark.parametrize("answer", [REFUSED, HANG], ids=["refused", "silent"])
def test_one_that_is_moved_when_it_does_not_answer_is_checked_there_at_once(answer: Answer) -> None:
    """Out of the door that says so: also while the check that has timed out still waits."""
    scene = Scene()
    scene.add("app1", interval=60.0)
    scene.probes["app1"].script.extend([answer, OK])
    unanswered = scene.unanswered

    def move(upstream: FakeUpstream, why: str) -> None:
        unanswered(upstream, why)
        upstream.address = "10.0.0.2"
        scene.checks.moved(upstream)

    scene.unanswered = move  # type: ignore[method-assign]  # the scene is the test's own
    scene.checks.start()
    scene.run(1.2)
    assert [where for _, where, _ in scene.probes["app1"].asked] == ["10.0.0.1", "10.0.0.2"]
    assert scene.told == ["app1 failing", "app1 checked"]
    scene.close()
