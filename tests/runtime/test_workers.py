"""The workers: every worker is replaced, no accept queue lingers, a start-up error is not repeated for
ever."""

from collections.abc import Iterator
from typing import Any

import pytest

from balancer.messages import (
    Access,
    Adopt,
    CameBack,
    Doubt,
    Drain,
    Drained,
    Eject,
    Elsewhere,
    Failures,
    Fatal,
    Heartbeat,
    LogLine,
    PoolUpdate,
    Ready,
    Recovered,
    Release,
    Released,
    Retire,
    Verdict,
)
from balancer.runtime.slot import TICK
from balancer.runtime.watchdog import SILENT_TICKS, STACK_TICKS
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.segment import Segment
from balancer.upstreams.traffic_history import Symptom
from tests.fakes.messages import failure_record
from tests.fakes.worker_process import FakeProcess
from tests.runtime.workers_harness import Harness

UPDATE = PoolUpdate(name="default", revision=7, starting=False, members=())
ABOUT: dict[str, Any] = {"pool": "default", "id": "app1:8000", "row": 4, "host": "10.0.0.1"}
SUSPECTED: dict[str, Any] = {
    "symptom": Symptom.FAILURES,
    "count": 3,
    "on_probation": False,
    "skip_reason": None,
}


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=3)
    yield made
    made.close()


@pytest.fixture
def harness(segment: Segment) -> Harness:
    return Harness(segment, 3)


@pytest.fixture
def alone(segment: Segment) -> Harness:
    return Harness(segment, 1)


def test_the_instance_is_established_once_all_workers_are_ready(harness: Harness) -> None:
    harness.workers.start()
    first, *others = harness.spawn.processes
    for process in others:
        process.say(Ready())
    assert (harness.said, harness.workers.unready()) == ([], ["worker 0 is starting"])
    first.say(Ready())
    assert (harness.said, harness.workers.unready()) == (["established"], [])


def test_every_incarnation_has_its_own_page(harness: Harness) -> None:
    pages = {process.start.page for process in harness.start_all()}
    assert len(pages) == 3
    assert 0 not in pages


def test_a_crashed_worker_is_replaced_at_once(harness: Harness) -> None:
    harness.start_all()[1].end()
    assert harness.spawn.last.slot == 1
    assert harness.workers.unready() == ["worker 1 is starting"]
    harness.spawn.last.say(Ready())
    assert harness.workers.unready() == []
    assert [sample.restarts for sample in harness.workers.sampling()()] == [0, 1, 0]


def test_counts_of_a_crashed_worker_stay_and_its_page_is_free_again(harness: Harness) -> None:
    row = harness.ledger.row(Kind.LISTENER, "x")
    for _ in range(20):
        process = harness.start_all()[0] if not harness.spawn.processes else harness.spawn.last
        harness.segment.page(process.start.page).row(row)[c.LISTENER_CONNECTIONS_TOTAL] = 3
        process.say(Ready())
        harness.clock.advance(3600)
        process.end()
    assert harness.ledger.total(Kind.LISTENER, row)[c.LISTENER_CONNECTIONS_TOTAL] == 60


def test_repeated_crashes_back_off(alone: Harness) -> None:
    (first,) = alone.start_all()
    first.end()
    alone.spawn.last.end(1)
    assert len(alone.spawn.processes) == 2
    alone.pass_time(0.25)
    assert len(alone.spawn.processes) == 2
    alone.pass_time(0.25)
    assert len(alone.spawn.processes) == 3


def test_a_queue_without_a_worker_is_adopted_after_a_second_and_given_back(harness: Harness) -> None:
    sibling, crashing, _ = harness.start_all()
    crashing.end()
    harness.pass_time(1.0)
    assert sibling.sent == []
    harness.pass_time(0.25)
    assert sibling.sent == [Adopt(slot=1)]
    harness.pass_time(5.0)
    assert len(sibling.sent) == 1
    harness.spawn.last.say(Ready())
    assert sibling.sent[1:] == [Release(slot=1)]


def test_two_orphaned_queues_go_to_different_siblings_if_possible(segment: Segment) -> None:
    harness = Harness(segment, 4)
    one, two, *crashing = harness.start_all()
    for process in crashing:
        process.end()
    harness.pass_time(1.25)
    assert [one.sent, two.sent] == [[Adopt(slot=2)], [Adopt(slot=3)]]


def test_if_the_adopting_worker_crashes_another_one_adopts(harness: Harness) -> None:
    first, crashing, last = harness.start_all()
    crashing.end()
    harness.pass_time(1.25)
    assert first.sent == [Adopt(slot=1)]
    first.end()
    harness.pass_time(0.25)
    assert last.sent == [Adopt(slot=1)]


def test_the_queue_of_a_single_worker_is_adopted_by_none(alone: Harness) -> None:
    alone.start_all()[0].end()
    alone.pass_time(5.0)
    assert alone.spawn.last.sent == []


def be_silent(harness: Harness, silent: FakeProcess, ticks: int = SILENT_TICKS) -> None:
    """All others answer with each tick."""
    for _ in range(ticks):
        for other in harness.spawn.processes:
            if other is not silent:
                other.say(Heartbeat())
        harness.workers.tick()


def test_a_silent_worker_is_asked_for_its_stack(harness: Harness) -> None:
    process, *others = harness.start_all()
    be_silent(harness, process, STACK_TICKS - 1)
    assert process.stacks == 0
    be_silent(harness, process, 1)
    assert [each.stacks for each in (process, *others)] == [1, 0, 0]


def test_a_stuck_worker_is_killed_when_its_successor_is_ready(harness: Harness) -> None:
    process, *others = harness.start_all()
    be_silent(harness, process, SILENT_TICKS - 1)
    assert len(harness.spawn.processes) == 3
    be_silent(harness, process, 1)
    assert (len(harness.spawn.processes), harness.spawn.last.slot, process.killed) == (4, 0, False)
    harness.spawn.last.say(Ready())
    assert [each.killed for each in (process, *others)] == [True, False, False]
    process.end(cpu_seconds=1.5)
    assert harness.workers.unready() == []
    assert harness.workers.running() == 3
    assert harness.workers.sampling()()[0].restarts == 1
    assert harness.workers.sampling()()[0].cpu_seconds >= 1.5


def test_a_late_worker_whose_counter_advances_is_left_alone(harness: Harness) -> None:
    row = harness.ledger.row(Kind.LISTENER, "x")
    process, *_ = harness.start_all()
    for _ in range(2 * SILENT_TICKS):
        harness.segment.page(process.start.page).row(row)[c.LISTENER_CONNECTIONS_TOTAL] += 1
        be_silent(harness, process, 1)
    assert (len(harness.spawn.processes), process.killed, process.stacks) == (3, False, 1)


def test_a_worker_that_answers_before_its_successor_is_ready_finishes_its_requests(harness: Harness) -> None:
    process, *_ = harness.start_all()
    be_silent(harness, process)
    process.say(Heartbeat())
    harness.spawn.last.say(Ready())
    assert (process.killed, process.sent[-1]) == (False, Retire(within=3600.0))
    process.say(Drained())
    process.end(0)
    assert (harness.workers.running(), len(harness.spawn.processes)) == (3, 4)


def test_a_superseded_worker_still_gets_changes_and_releases_rows(harness: Harness) -> None:
    process, *_ = harness.start_all()
    be_silent(harness, process)
    harness.workers.broadcast(UPDATE)
    assert process.sent[-1] == UPDATE
    row = harness.ledger.row(Kind.UPSTREAM, "default", "a")
    harness.ledger.retire(Kind.UPSTREAM, "default", "a")
    for each in harness.spawn.processes:
        assert harness.ledger.row(Kind.UPSTREAM, "default", "b") != row
        each.say(Released(rows=(row,)))
    assert harness.ledger.row(Kind.UPSTREAM, "default", "c") == row


def test_without_memory_for_two_a_stuck_worker_is_killed_first(harness: Harness) -> None:
    harness.room = False
    process, *_ = harness.start_all()
    be_silent(harness, process)
    assert (process.killed, len(harness.spawn.processes)) == (True, 3)
    process.end()
    assert len(harness.spawn.processes) == 4


def test_shutdown_waits_for_a_stuck_worker_and_kills_it_with_the_others(harness: Harness) -> None:
    process, *_ = harness.start_all()
    be_silent(harness, process)
    harness.workers.drain()
    for each in harness.spawn.processes[1:]:
        each.end(0)
    assert harness.said == ["established"]
    harness.workers.kill()
    assert process.killed
    process.end()
    assert harness.said == ["established", "gone"]


def test_a_stuck_workers_queue_is_adopted_until_its_successor_is_ready(harness: Harness) -> None:
    process, sibling, _ = harness.start_all()
    be_silent(harness, process)
    harness.pass_time(1.25)
    assert sibling.sent == [Adopt(slot=0)]
    harness.spawn.last.say(Ready())
    assert sibling.sent[-1] == Release(slot=0)


def test_after_a_pause_of_the_supervisor_no_worker_is_killed(harness: Harness) -> None:
    processes = harness.start_all()
    harness.clock.advance(3600.0)
    harness.workers.tick()
    assert not any(process.killed for process in processes)


def test_a_fatal_message_at_the_first_start_is_the_instances_error(harness: Harness) -> None:
    harness.workers.start()
    harness.spawn.processes[0].say(Fatal(error="no policy of that name"))
    harness.spawn.processes[0].end(1)
    harness.pass_time(60.0)
    assert harness.said == ["worker 0 cannot start: no policy of that name"]
    assert len(harness.spawn.processes) == 3


def test_a_death_before_ready_at_the_first_start_is_the_instances_error(harness: Harness) -> None:
    harness.workers.start()
    harness.spawn.processes[2].end(-11)
    harness.pass_time(60.0)
    assert harness.said == ["worker 2 ended before it was ready (signal SIGSEGV)"]
    assert len(harness.spawn.processes) == 3


def test_a_failed_spawn_at_the_first_start_is_the_instances_error(alone: Harness) -> None:
    alone.spawn.error = OSError(11, "Resource temporarily unavailable")
    alone.workers.start()
    assert alone.said == ["worker 0 cannot be started: Resource temporarily unavailable"]


def test_a_later_start_up_error_is_logged_once_and_retried_with_backoff(
    alone: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    alone.start_all()[0].end()
    caplog.clear()
    for _ in range(600):
        if alone.workers.running():
            alone.spawn.last.say(Fatal(error="disk on fire"))
            alone.spawn.last.end(1)
        alone.clock.advance(TICK)
        alone.workers.tick()
    assert alone.said == ["established"]
    assert [record.getMessage() for record in caplog.records] == [
        "worker 0 cannot start: disk on fire; trying again, with growing delays"
    ]
    assert 9 <= len(alone.spawn.processes) <= 12  # in 150 s: 0, 0.5, 1, 2, 4, 8, 16, 30, 30 ...
    alone.pass_time(31.0)
    alone.spawn.last.say(Ready())
    assert alone.workers.unready() == []


def test_a_worker_that_cannot_receive_a_change_is_killed(harness: Harness) -> None:
    deaf, *others = harness.start_all()
    deaf.reachable = False
    harness.workers.broadcast(UPDATE)
    assert [each.killed for each in (deaf, *others)] == [True, False, False]
    assert [each.sent for each in others] == [[UPDATE]] * 2


def test_draining_workers_are_not_replaced_and_gone_is_reported_last(harness: Harness) -> None:
    processes = harness.start_all()
    harness.workers.drain()
    for process in processes:
        assert process.sent == [Drain()]
        assert harness.said == ["established"]
        process.say(Drained())
        process.end(0)
    harness.workers.tick()
    assert harness.said == ["established", "gone"]
    assert len(harness.spawn.processes) == 3


def test_kill_ends_all_workers_and_gone_follows(harness: Harness) -> None:
    processes = harness.start_all()
    harness.workers.kill()
    assert all(process.killed for process in processes)
    for process in processes:
        process.end()
    assert harness.said == ["established", "gone"]


def test_without_workers_drain_reports_gone_at_once(alone: Harness) -> None:
    alone.workers.drain()
    assert alone.said == ["gone"]


def test_access_log_lines_are_handed_on(alone: Harness) -> None:
    alone.start_all()[0].say(Access.of(["{}", '{"status":200}']))
    assert alone.access_log == b'{}\n{"status":200}\n'


def test_a_workers_log_line_is_logged_with_its_traceback(
    alone: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    alone.start_all()[0].say(LogLine(level="error", message="a bug", traceback="Traceback ...\n"))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "worker 0: a bug\nTraceback ...")


def test_log_lines_common_to_all_workers_are_logged_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for process in harness.start_all():
        for upstream in ("app1", "app2"):
            process.say(LogLine(level="info", message=f"{upstream} is so", once=f"of {upstream}"))
    assert [record.getMessage() for record in caplog.records] == [
        "worker 0: app1 is so",
        "worker 0: app2 is so",
    ]


def test_errors_of_a_worker_are_handed_on(harness: Harness) -> None:
    first, *_ = harness.start_all()
    first.say(Failures(records=(failure_record(1.0),)))
    assert harness.errors == [failure_record(1.0)]


def test_a_row_is_free_when_every_worker_has_released_it_or_ended(harness: Harness) -> None:
    row = harness.ledger.row(Kind.UPSTREAM, "default", "a")
    first, second, third = harness.start_all()
    harness.ledger.retire(Kind.UPSTREAM, "default", "a")
    first.say(Released(rows=(row,)))
    second.say(Released(rows=(row,)))
    assert harness.ledger.row(Kind.UPSTREAM, "default", "b") != row
    third.end()
    assert harness.ledger.row(Kind.UPSTREAM, "default", "c") == row


def test_a_worker_that_reports_an_outlier_gets_a_verdict(harness: Harness) -> None:
    first, second, _ = harness.start_all()
    harness.verdict = Verdict(pool="default", row=4, until=7)
    second.say(Eject(**ABOUT, **SUSPECTED))
    assert harness.said[-1] == "worker 1 suspects app1:8000"
    assert second.sent[-1] == harness.verdict
    assert harness.verdict not in first.sent


def test_a_report_may_have_no_answer(harness: Harness) -> None:
    first, *_ = harness.start_all()
    before = list(first.sent)
    first.say(Eject(**ABOUT, **SUSPECTED))
    first.say(Doubt(**ABOUT, **SUSPECTED))
    assert harness.said[-1] == "worker 0 doubts app1:8000"
    first.say(Recovered(**ABOUT))
    assert harness.said[-1] == "app1:8000 recovered"
    assert first.sent == before


def test_a_loop_is_reported(harness: Harness) -> None:
    first, *_ = harness.start_all()
    first.say(CameBack(pool="default", upstream=None, text="it came back"))
    assert harness.said[-1] == "a loop in default"


def test_an_upstream_that_answers_at_another_address_is_reported(segment: Segment) -> None:
    harness = Harness(segment, 1)
    (process,) = harness.start_all()
    process.say(Elsewhere(row=4, host="10.0.0.1", other="10.0.0.2", why="connection refused"))
    assert harness.said[-1] == "row 4 is at 10.0.0.2"
