"""Conclusions from checks: ejection, readmission, draining; and results that do not count."""

import pytest

from balancer.health.result import Reply, Result
from tests.health.harness import CLOSED, ERROR, HANG, OK, REFUSED, After, Answer, FakeUpstream, Harness

ENDING = Reply(Result.PASSED, 503, "503 on /: it asks for no new requests")


def test_a_replica_that_answers_500_fails_within_fall_times_interval() -> None:
    """Whatever the phase: it starts failing at any moment, for several seeds."""
    for seed in range(20):
        harness = Harness(seed=seed)
        harness.add("app1")
        harness.checks.start()
        harness.run(3 + seed / 10)
        harness.probes["app1"].always = ERROR
        harness.run(2 * 2.0)
        assert harness.told == ["app1 checked", "app1 failing"]
        harness.close()


def test_a_hanging_replica_fails_within_fall_times_interval_and_one_timeout() -> None:
    for seed in range(20):
        harness = Harness(seed=seed)
        harness.add("app1")
        harness.checks.start()
        harness.run(3 + seed / 10)
        harness.probes["app1"].always = HANG
        harness.run(2 * 2.0 + 1.0)
        assert harness.told == ["app1 checked", "app1 failing"]
        harness.close()


def test_an_upstream_may_be_starting_until_it_has_passed_at_its_address() -> None:
    not_found = Reply(Result.STATUS, 404, "404 on /")
    harness = Harness()
    (upstream,) = harness.add("app1:8000")
    probe = harness.probes["app1:8000"]
    hints: list[str] = []

    def check(reply: Reply) -> None:
        probe.always = reply
        asked = len(probe.asked)
        while len(probe.asked) == asked:
            harness.run(0.1)
        last = harness.checks.last(upstream)
        assert last is not None
        hints.append(last.hint.partition(":")[2].partition(";")[0].partition(",")[0])

    harness.checks.start()
    check(not_found)
    check(OK)
    check(not_found)
    upstream.address = "10.0.0.2"  # another machine with an unknown state
    check(not_found)
    starting = " is the app still starting? If not"
    assert hints == [starting, "", " it passed before", starting]
    harness.close()


def test_failing_and_passing_report_the_cause() -> None:
    harness = Harness()
    harness.add("app1")
    harness.probes["app1"].script.extend([OK, ERROR, ERROR])
    harness.checks.start()
    harness.run(12)
    assert harness.told == ["app1 checked", "app1 failing", "app1 passing"]
    assert harness.whys == [
        "200 on /",
        "2 checks in a row failed; 500 on /: the app fails on this path; look at its log",
        "2 checks in a row passed; 200 on /",
    ]
    harness.close()


def test_the_last_result_is_kept() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", interval=60.0)
    assert harness.checks.last(upstream) is None
    harness.probes["app1"].script.append(HANG)
    harness.checks.start()
    harness.run(1.1)
    last = harness.checks.last(upstream)
    assert last is not None
    assert (last.passed, last.result, last.status) == (False, Result.TIMEOUT, 0)
    assert 0.99 < last.seconds < 1.02
    assert 0.08 < harness.clock.wall() - last.time < 0.12
    assert last.detail == "no complete response within 1s"
    assert last.hint == (
        "no complete response within 1s: raise BALANCER_HEALTH_CHECK__TIMEOUT or look at the app"
    )
    harness.run(60)
    last = harness.checks.last(upstream)
    assert last is not None
    assert (last.passed, last.status, last.hint) == (True, 200, "")
    harness.close()


# --- the first check


# The results of a new upstream's checks, and what is reported: with FALL and RISE of 2 it takes one of each.
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
def test_until_a_check_has_passed_every_result_decides(case: str) -> None:
    answers, told = FIRST[case]
    harness = Harness()
    harness.checks.start()
    harness.probes["app1"].script.extend(answers)
    harness.add("app1")
    while harness.probes["app1"].script:
        harness.run(0.5)
    harness.run(0.1)
    assert harness.told == [f"app1 {one}" for one in told]
    harness.close()


def test_a_failed_first_check_is_reported_as_the_first() -> None:
    harness = Harness()
    harness.probes["app1"].script.extend([ERROR, OK])
    harness.add("app1")
    harness.checks.start()
    harness.run(3)
    assert harness.whys == [
        "its first check failed; 500 on /: the app fails on this path; look at its log",
        "200 on /",
        "a check passed; 200 on /",
    ]
    harness.close()


def test_a_first_check_that_may_have_queued_behind_requests_counts_towards_fall() -> None:
    """At the start of the instance all upstreams are used before they are checked, and some are busy at
    once."""
    harness = Harness()
    harness.add("app1")
    harness.probes["app1"].always = HANG
    harness.busy.add("app1")
    harness.checks.start()
    harness.run(1.1)
    assert harness.told == []
    harness.run(5.0)
    assert harness.told == ["app1 failing"]
    assert harness.whys[0].startswith("2 checks in a row failed; no complete response within 1s")
    harness.close()


# --- a slow upstream is not a dead one


def test_timeouts_while_live_requests_succeed_do_not_count() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)
    harness.probes["app1"].always = HANG
    harness.checks.start()
    for _ in range(100):
        harness.run(0.1)
        harness.live["app1"] += 1
    assert harness.told == [], "and it stays unchecked, which is eligible"
    assert harness.checks.first_round_done
    assert set(harness.checks.counts(upstream)) == {"slow"}
    last = harness.checks.last(upstream)
    assert last is not None
    assert "it waited behind live requests" in last.hint
    harness.run(3)  # no live requests any more
    assert harness.told == ["app1 failing"]
    harness.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ERROR, id="500"),
        pytest.param(After(0.5, ERROR), id="500 after a while"),
        pytest.param(After(0.5, CLOSED), id="closed after a while"),
    ],
)
def test_live_requests_do_not_excuse_other_failures(answer: Answer) -> None:
    harness = Harness()
    harness.add("app1")
    harness.probes["app1"].always = answer
    harness.checks.start()
    for _ in range(50):
        harness.run(0.1)
        harness.live["app1"] += 1
    assert harness.told == ["app1 failing"]
    harness.close()


def test_live_requests_before_the_check_prove_nothing() -> None:
    harness = Harness()
    harness.live["app1"] = 1000
    harness.add("app1")
    harness.probes["app1"].always = HANG
    harness.checks.start()
    harness.run(5)
    assert harness.told == ["app1 failing"]
    harness.close()


def test_fast_checks_do_not_read_live_responses() -> None:
    harness = Harness()
    harness.add("app1")
    harness.checks.start()
    harness.run(10)
    assert harness.served_reads == 0
    harness.close()


# --- our own lateness


def test_a_connection_closed_during_our_own_stall_does_not_count() -> None:
    """A server may close on a client that connects and then sends nothing."""
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)
    harness.probes["app1"].script.append(CLOSED)
    harness.checks.start()
    harness.clock.advance(0.4)  # between the start of the check and its end
    harness.loop.settle()
    assert harness.checks.counts(upstream) == {"late": 1}
    harness.close()


def test_an_answer_counts_however_late_we_were() -> None:
    harness = Harness()
    [upstream] = harness.add("app1")
    harness.probes["app1"].script.append(ERROR)
    harness.checks.start()
    harness.clock.advance(0.4)
    harness.loop.settle()
    assert harness.checks.counts(upstream) == {"status": 1}
    harness.close()


# --- draining


def test_an_app_can_announce_its_draining_and_take_it_back() -> None:
    harness = Harness()
    harness.add("app1", drain_status=503)
    harness.probes["app1"].script.extend([OK, ENDING, ENDING, ERROR, OK, OK])
    harness.checks.start()
    harness.run(14)
    assert harness.told == ["app1 checked", "app1 draining on", "app1 draining off"]
    assert harness.whys[1] == "503 on /: it asks for no new requests"
    harness.close()


def test_the_drain_status_counts_as_alive() -> None:
    harness = Harness()
    harness.add("app1", drain_status=503)
    harness.probes["app1"].script.extend([ERROR, ERROR, ENDING, ENDING])
    harness.checks.start()
    harness.run(12)
    assert harness.told == [
        "app1 failing",
        "app1 draining on",
        "app1 checked",
        "app1 passing",
        "app1 draining off",
    ]
    harness.close()


def test_a_draining_announced_earlier_can_be_taken_back() -> None:
    harness = Harness()
    [upstream] = harness.add("app1")
    settings = harness.checks._watches["default", "app1"].settings
    harness.checks.remove(upstream)
    harness.loop.settle()
    harness.probes["app1"] = harness._probe()
    harness.checks.add(upstream, settings, draining=True)
    harness.checks.start()
    harness.loop.settle()
    assert harness.told == ["app1 draining off", "app1 checked"]
    harness.close()


# The results of checks, and how often a lack of answers at the address is reported.
UNANSWERED: dict[str, tuple[list[Answer], int]] = {
    "refused, the first and again": ([REFUSED, REFUSED], 2),
    "closed": ([CLOSED], 1),
    "silent": ([HANG], 1),
    "an error is an answer": ([ERROR, ERROR], 0),
    "refused once after it has passed": ([OK, REFUSED, OK], 0),
    "refused twice after that": ([OK, REFUSED, REFUSED], 1),
}


@pytest.mark.parametrize("case", UNANSWERED)
def test_an_unreachable_failing_upstream_may_be_found_at_another_address(case: str) -> None:
    answers, times = UNANSWERED[case]
    harness = Harness()
    harness.probes["app1"].script.extend(answers)
    harness.add("app1")
    harness.checks.start()
    while harness.probes["app1"].script:
        harness.run(0.1)
    harness.run(1.1)
    assert len(harness.unanswering) == times
    harness.close()


@pytest.mark.parametrize("answer", [REFUSED, HANG], ids=["refused", "silent"])
def test_an_upstream_moved_because_it_does_not_answer_is_checked_there_at_once(answer: Answer) -> None:
    """The sink reports it also while the check that has timed out still waits."""
    harness = Harness()
    harness.add("app1", interval=60.0)
    harness.probes["app1"].script.extend([answer, OK])
    unanswered = harness.unanswered

    def move(upstream: FakeUpstream, why: str) -> None:
        unanswered(upstream, why)
        upstream.address = "10.0.0.2"
        harness.checks.moved(upstream)

    harness.unanswered = move  # type: ignore[method-assign]  # the harness is the test's own
    harness.checks.start()
    harness.run(1.2)
    assert [where for _, where, _ in harness.probes["app1"].asked] == ["10.0.0.1", "10.0.0.2"]
    assert harness.told == ["app1 failing", "app1 checked"]
    harness.close()
