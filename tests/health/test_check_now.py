"""A requested check runs at the next beat, and its result is reported once."""

from balancer.health.result import CheckResult, Result
from tests.health.harness import CLOSED, ERROR, HANG, OK, FakeUpstream, Harness


class Asked:
    """The results reported to the requesters."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.results: list[Result] = []

    def ask(self, upstream: FakeUpstream) -> None:
        self.harness.checks.check_now(upstream, self.hear)

    def hear(self, last: CheckResult) -> None:
        self.results.append(last.result)


def started(harness: Harness, **changes: object) -> FakeUpstream:
    """One upstream whose first check has passed."""
    (upstream,) = harness.add("app1", interval=60.0, **changes)
    harness.checks.start()
    harness.run(1)
    assert len(harness.probes["app1"].asked) == 1
    return upstream


def test_a_requested_check_runs_at_the_next_beat_and_counts_like_any_other() -> None:
    harness = Harness()
    upstream = started(harness)
    asked = Asked(harness)
    harness.probes["app1"].always = CLOSED
    for times in (1, 2):
        asked.ask(upstream)
        harness.run(0.1)
        assert asked.results == [Result.CLOSED] * times
    assert harness.told == ["app1 checked", "app1 failing"]
    harness.run(50)
    assert len(harness.probes["app1"].asked) == 3
    assert asked.results == [Result.CLOSED] * 2
    harness.close()


def test_a_running_check_serves_a_request_and_the_last_requester_is_told() -> None:
    harness = Harness()
    upstream = started(harness)
    first, second = Asked(harness), Asked(harness)
    harness.probes["app1"].always = HANG
    first.ask(upstream)
    harness.run(0.5)
    second.ask(upstream)
    harness.run(0.7)
    assert len(harness.probes["app1"].asked) == 2
    assert (first.results, second.results) == ([], [Result.TIMEOUT])
    harness.close()


def test_after_a_timed_out_check_a_request_starts_another() -> None:
    harness = Harness()
    upstream = started(harness)
    asked = Asked(harness)
    harness.probes["app1"].script.extend([HANG, ERROR])
    for _ in range(2):
        asked.ask(upstream)
        harness.run(1.2)
    assert asked.results == [Result.TIMEOUT, Result.STATUS]
    harness.close()


def test_an_upstream_that_is_not_checked_gets_no_requested_check() -> None:
    harness = Harness()
    asked = Asked(harness)
    (upstream,) = harness.add("app1")
    asked.ask(upstream)  # not started yet
    asked.ask(FakeUpstream("stranger"))
    harness.checks.start()
    harness.run(1)
    assert asked.results == []
    assert harness.probes["app1"].always is OK
    harness.close()


def test_after_a_move_a_requested_check_uses_the_new_address() -> None:
    harness = Harness()
    upstream = started(harness)
    asked = Asked(harness)
    harness.probes["app1"].script.extend([HANG, ERROR])
    asked.ask(upstream)
    harness.run(0.2)
    upstream.port += 1
    harness.checks.moved(upstream)
    harness.run(0.2)
    assert asked.results == [Result.STATUS]
    harness.close()
