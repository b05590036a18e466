"""The crew: every worker is replaced, no accept queue lingers, a start-up error is not looped."""

import logging
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
    FailureRecord,
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
from balancer.runtime.workers import Crew
from balancer.telemetry import columns as c
from balancer.telemetry.access_log import PlainRecord
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from balancer.upstreams.traffic_history import Symptom
from tests.fakes.loop import FakeClock
from tests.fakes.messages import failure_record, plain_record, start_message
from tests.fakes.worker_process import FakeProcess, FakeSpawn

UPDATE = PoolUpdate(name="default", revision=7, starting=False, members=())
ABOUT: dict[str, Any] = {"pool": "default", "id": "app1:8000", "row": 4, "host": "10.0.0.1"}
SUSPECTED: dict[str, Any] = {"symptom": Symptom.FAILURES, "count": 3, "on_probation": False, "spared": None}


class Scene:
    """A crew of fake workers; `said` is what the supervisor was told."""

    def __init__(self, segment: Segment, workers: int) -> None:
        self.segment = segment
        self.ledger = Ledger(segment)
        self.clock = FakeClock()
        self.spawn = FakeSpawn()
        self.said: list[str] = []
        self.records: list[PlainRecord] = []
        self.errors: list[FailureRecord] = []
        self.verdict: Verdict | None = None
        self.room = True
        self.crew = Crew(
            workers,
            spawn=self.spawn,
            start_message=lambda slot, page: start_message(slot=slot, page=page),
            ledger=self.ledger,
            clock=self.clock,
            log=logging.getLogger("test"),
            events=self,
            has_room=lambda: self.room,
        )

    def established(self) -> None:
        self.said.append("established")

    def failed(self, error: str) -> None:
        self.said.append(error)

    def gone(self) -> None:
        self.said.append("gone")

    def access(self, message: Access) -> None:
        self.records += message.records

    def failures(self, message: Failures) -> None:
        self.errors += message.records

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        self.said.append(f"worker {worker} suspects {message.id}")
        return self.verdict

    def doubted(self, worker: int, message: Doubt) -> None:
        self.said.append(f"worker {worker} doubts {message.id}")

    def recovered(self, message: Recovered) -> None:
        self.said.append(f"{message.id} recovered")

    def looped(self, message: CameBack) -> None:
        self.said.append(f"a loop in {message.pool}")

    def elsewhere(self, message: Elsewhere) -> None:
        self.said.append(f"row {message.row} is at {message.other}")

    def start_all(self) -> list[FakeProcess]:
        self.crew.start()
        for process in self.spawn.processes:
            process.say(Ready())
        return self.spawn.processes

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            for process in self.spawn.processes:
                if not process.killed:
                    process.say(Heartbeat())
            self.crew.tick()


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=3)
    yield made
    made.close()


@pytest.fixture
def scene(segment: Segment) -> Scene:
    return Scene(segment, 3)


@pytest.fixture
def alone(segment: Segment) -> Scene:
    return Scene(segment, 1)


def test_is_established_once_all_are_ready(scene: Scene) -> None:
    scene.crew.start()
    first, *others = scene.spawn.processes
    for process in others:
        process.say(Ready())
    assert (scene.said, scene.crew.unready()) == ([], ["worker 0 is starting"])
    first.say(Ready())
    assert (scene.said, scene.crew.unready()) == (["established"], [])


def test_every_incarnation_has_a_page_of_its_own(scene: Scene) -> None:
    pages = {process.start.page for process in scene.start_all()}
    assert len(pages) == 3
    assert 0 not in pages


def test_a_crashed_worker_is_replaced_at_once(scene: Scene) -> None:
    scene.start_all()[1].end()
    assert scene.spawn.last.slot == 1
    assert scene.crew.unready() == ["worker 1 is starting"]
    scene.spawn.last.say(Ready())
    assert scene.crew.unready() == []
    assert [sample.restarts for sample in scene.crew.samples()] == [0, 1, 0]


def test_its_counts_stay_and_its_page_is_free_again(scene: Scene) -> None:
    row = scene.ledger.row(Kind.LISTENER, "x")
    for _ in range(20):
        process = scene.start_all()[0] if not scene.spawn.processes else scene.spawn.last
        scene.segment.page(process.start.page).row(row)[c.LISTENER_CONNECTIONS_TOTAL] = 3
        process.say(Ready())
        scene.clock.advance(3600)
        process.end()
    assert scene.ledger.total(Kind.LISTENER, row)[c.LISTENER_CONNECTIONS_TOTAL] == 60


def test_repeated_crashes_back_off(alone: Scene) -> None:
    (first,) = alone.start_all()
    first.end()
    alone.spawn.last.end(1)
    assert len(alone.spawn.processes) == 2
    alone.pass_time(0.25)
    assert len(alone.spawn.processes) == 2
    alone.pass_time(0.25)
    assert len(alone.spawn.processes) == 3


def test_a_queue_without_a_worker_is_adopted_after_a_second_and_given_back(scene: Scene) -> None:
    sibling, crashing, _ = scene.start_all()
    crashing.end()
    scene.pass_time(1.0)
    assert sibling.sent == []
    scene.pass_time(0.25)
    assert sibling.sent == [Adopt(slot=1)]
    scene.pass_time(5.0)
    assert len(sibling.sent) == 1
    scene.spawn.last.say(Ready())
    assert sibling.sent[1:] == [Release(slot=1)]


def test_two_orphaned_queues_go_to_different_siblings_where_there_are(segment: Segment) -> None:
    scene = Scene(segment, 4)
    one, two, *crashing = scene.start_all()
    for process in crashing:
        process.end()
    scene.pass_time(1.25)
    assert [one.sent, two.sent] == [[Adopt(slot=2)], [Adopt(slot=3)]]


def test_when_the_adopting_worker_crashes_another_adopts(scene: Scene) -> None:
    first, crashing, last = scene.start_all()
    crashing.end()
    scene.pass_time(1.25)
    assert first.sent == [Adopt(slot=1)]
    first.end()
    scene.pass_time(0.25)
    assert last.sent == [Adopt(slot=1)]


def test_a_lone_worker_has_nobody_to_adopt_its_queue(alone: Scene) -> None:
    alone.start_all()[0].end()
    alone.pass_time(5.0)
    assert alone.spawn.last.sent == []


def be_silent(scene: Scene, silent: FakeProcess, ticks: int = SILENT_TICKS) -> None:
    """All others are heard with each tick."""
    for _ in range(ticks):
        for other in scene.spawn.processes:
            if other is not silent:
                other.say(Heartbeat())
        scene.crew.tick()


def test_a_silent_worker_is_asked_for_its_stack(scene: Scene) -> None:
    process, *others = scene.start_all()
    be_silent(scene, process, STACK_TICKS - 1)
    assert process.stacks == 0
    be_silent(scene, process, 1)
    assert [each.stacks for each in (process, *others)] == [1, 0, 0]


def test_a_stuck_worker_is_killed_when_its_successor_is_ready(scene: Scene) -> None:
    process, *others = scene.start_all()
    be_silent(scene, process, SILENT_TICKS - 1)
    assert len(scene.spawn.processes) == 3
    be_silent(scene, process, 1)
    assert (len(scene.spawn.processes), scene.spawn.last.slot, process.killed) == (4, 0, False)
    scene.spawn.last.say(Ready())
    assert [each.killed for each in (process, *others)] == [True, False, False]
    process.end(cpu_seconds=1.5)
    assert scene.crew.unready() == []
    assert scene.crew.running() == 3
    assert scene.crew.samples()[0].restarts == 1
    assert scene.crew.samples()[0].cpu_seconds >= 1.5


def test_a_late_worker_that_counts_is_left_alone(scene: Scene) -> None:
    row = scene.ledger.row(Kind.LISTENER, "x")
    process, *_ = scene.start_all()
    for _ in range(2 * SILENT_TICKS):
        scene.segment.page(process.start.page).row(row)[c.LISTENER_CONNECTIONS_TOTAL] += 1
        be_silent(scene, process, 1)
    assert (len(scene.spawn.processes), process.killed, process.stacks) == (3, False, 1)


def test_one_that_answers_again_before_its_successor_is_ready_ends_what_it_does(scene: Scene) -> None:
    process, *_ = scene.start_all()
    be_silent(scene, process)
    process.say(Heartbeat())
    scene.spawn.last.say(Ready())
    assert (process.killed, process.sent[-1]) == (False, Retire())
    process.say(Drained())
    process.end(0)
    assert (scene.crew.running(), len(scene.spawn.processes)) == (3, 4)


def test_one_that_is_superseded_still_hears_of_changes_and_lets_go_of_rows(scene: Scene) -> None:
    process, *_ = scene.start_all()
    be_silent(scene, process)
    scene.crew.broadcast(UPDATE)
    assert process.sent[-1] == UPDATE
    row = scene.ledger.row(Kind.UPSTREAM, "default", "a")
    scene.ledger.retire(Kind.UPSTREAM, "default", "a")
    for each in scene.spawn.processes:
        assert scene.ledger.row(Kind.UPSTREAM, "default", "b") != row
        each.say(Released(rows=(row,)))
    assert scene.ledger.row(Kind.UPSTREAM, "default", "c") == row


def test_without_memory_for_two_a_stuck_worker_is_killed_first(scene: Scene) -> None:
    scene.room = False
    process, *_ = scene.start_all()
    be_silent(scene, process)
    assert (process.killed, len(scene.spawn.processes)) == (True, 3)
    process.end()
    assert len(scene.spawn.processes) == 4


def test_a_stuck_worker_is_waited_for_at_the_end_and_killed_with_the_others(scene: Scene) -> None:
    process, *_ = scene.start_all()
    be_silent(scene, process)
    scene.crew.drain()
    for each in scene.spawn.processes[1:]:
        each.end(0)
    assert scene.said == ["established"]
    scene.crew.kill()
    assert process.killed
    process.end()
    assert scene.said == ["established", "gone"]


def test_a_stuck_workers_queue_is_adopted_until_its_successor_is_ready(scene: Scene) -> None:
    process, sibling, _ = scene.start_all()
    be_silent(scene, process)
    scene.pass_time(1.25)
    assert sibling.sent == [Adopt(slot=0)]
    scene.spawn.last.say(Ready())
    assert sibling.sent[-1] == Release(slot=0)


def test_after_a_pause_of_the_supervisor_nobody_is_killed(scene: Scene) -> None:
    processes = scene.start_all()
    scene.clock.advance(3600.0)
    scene.crew.tick()
    assert not any(process.killed for process in processes)


def test_a_fatal_message_at_first_start_is_the_instances_error(scene: Scene) -> None:
    scene.crew.start()
    scene.spawn.processes[0].say(Fatal(error="no policy of that name"))
    scene.spawn.processes[0].end(1)
    scene.pass_time(60.0)
    assert scene.said == ["worker 0 cannot start: no policy of that name"]
    assert len(scene.spawn.processes) == 3


def test_a_death_before_ready_at_first_start_is_the_instances_error(scene: Scene) -> None:
    scene.crew.start()
    scene.spawn.processes[2].end(-11)
    scene.pass_time(60.0)
    assert scene.said == ["worker 2 ended before it was ready (signal SIGSEGV)"]
    assert len(scene.spawn.processes) == 3


def test_a_process_that_cannot_be_made_at_first_start_is_the_instances_error(alone: Scene) -> None:
    alone.spawn.error = OSError(11, "Resource temporarily unavailable")
    alone.crew.start()
    assert alone.said == ["worker 0 cannot be started: Resource temporarily unavailable"]


def test_a_later_start_up_error_is_logged_once_and_tried_less_and_less(
    alone: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    alone.start_all()[0].end()
    caplog.clear()
    for _ in range(600):
        if alone.crew.running():
            alone.spawn.last.say(Fatal(error="disk on fire"))
            alone.spawn.last.end(1)
        alone.clock.advance(TICK)
        alone.crew.tick()
    assert alone.said == ["established"]
    assert [record.getMessage() for record in caplog.records] == [
        "worker 0 cannot start: disk on fire; trying again, less and less often"
    ]
    assert 9 <= len(alone.spawn.processes) <= 12  # in 150 s: 0, 0.5, 1, 2, 4, 8, 16, 30, 30 ...
    alone.pass_time(31.0)
    alone.spawn.last.say(Ready())
    assert alone.crew.unready() == []


def test_a_worker_that_cannot_be_told_a_change_is_killed(scene: Scene) -> None:
    deaf, *others = scene.start_all()
    deaf.reachable = False
    scene.crew.broadcast(UPDATE)
    assert [each.killed for each in (deaf, *others)] == [True, False, False]
    assert [each.sent for each in others] == [[UPDATE]] * 2


def test_draining_workers_are_not_replaced_and_gone_is_said_at_the_last(scene: Scene) -> None:
    processes = scene.start_all()
    scene.crew.drain()
    for process in processes:
        assert process.sent == [Drain()]
        assert scene.said == ["established"]
        process.say(Drained())
        process.end(0)
    scene.crew.tick()
    assert scene.said == ["established", "gone"]
    assert len(scene.spawn.processes) == 3


def test_kill_ends_all_and_gone_follows(scene: Scene) -> None:
    processes = scene.start_all()
    scene.crew.kill()
    assert all(process.killed for process in processes)
    for process in processes:
        process.end()
    assert scene.said == ["established", "gone"]


def test_with_no_worker_left_drain_says_gone_at_once(alone: Scene) -> None:
    alone.crew.drain()
    assert alone.said == ["gone"]


def test_access_records_are_handed_on(alone: Scene) -> None:
    records = (plain_record("/a"), plain_record("/b"))
    alone.start_all()[0].say(Access(records=records))
    assert alone.records == [*records]


def test_a_workers_log_line_is_logged_with_its_traceback(
    alone: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    alone.start_all()[0].say(LogLine(level="error", message="a bug", traceback="Traceback ...\n"))
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == ("ERROR", "worker 0: a bug\nTraceback ...")


def test_what_all_workers_find_out_is_said_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for process in scene.start_all():
        for upstream in ("app1", "app2"):
            process.say(LogLine(level="info", message=f"{upstream} is so", once=f"of {upstream}"))
    assert [record.getMessage() for record in caplog.records] == [
        "worker 0: app1 is so",
        "worker 0: app2 is so",
    ]


def test_errors_of_a_worker_are_handed_on(scene: Scene) -> None:
    first, *_ = scene.start_all()
    first.say(Failures(records=(failure_record(1.0),)))
    assert scene.errors == [failure_record(1.0)]


def test_a_row_is_free_when_every_worker_has_let_go_or_ended(scene: Scene) -> None:
    row = scene.ledger.row(Kind.UPSTREAM, "default", "a")
    first, second, third = scene.start_all()
    scene.ledger.retire(Kind.UPSTREAM, "default", "a")
    first.say(Released(rows=(row,)))
    second.say(Released(rows=(row,)))
    assert scene.ledger.row(Kind.UPSTREAM, "default", "b") != row
    third.end()
    assert scene.ledger.row(Kind.UPSTREAM, "default", "c") == row


def test_who_reports_an_outlier_is_answered(scene: Scene) -> None:
    first, second, _ = scene.start_all()
    scene.verdict = Verdict(pool="default", row=4, until=7)
    second.say(Eject(**ABOUT, **SUSPECTED))
    assert scene.said[-1] == "worker 1 suspects app1:8000"
    assert second.sent[-1] == scene.verdict
    assert scene.verdict not in first.sent


def test_a_report_may_need_no_answer(scene: Scene) -> None:
    first, *_ = scene.start_all()
    before = list(first.sent)
    first.say(Eject(**ABOUT, **SUSPECTED))
    first.say(Doubt(**ABOUT, **SUSPECTED))
    assert scene.said[-1] == "worker 0 doubts app1:8000"
    first.say(Recovered(**ABOUT))
    assert scene.said[-1] == "app1:8000 recovered"
    assert first.sent == before


def test_a_loop_is_told(scene: Scene) -> None:
    first, *_ = scene.start_all()
    first.say(CameBack(pool="default", upstream=None, text="it came back"))
    assert scene.said[-1] == "a loop in default"


def test_an_upstream_that_answers_elsewhere_is_told_of(segment: Segment) -> None:
    scene = Scene(segment, 1)
    (process,) = scene.start_all()
    process.say(Elsewhere(row=4, host="10.0.0.1", other="10.0.0.2", why="connection refused"))
    assert scene.said[-1] == "row 4 is at 10.0.0.2"
