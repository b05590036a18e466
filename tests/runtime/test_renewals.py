"""Workers of another generation: each replaces one that serves, which retires when its successor is ready."""

from collections.abc import Iterator

import pytest

from balancer.messages import Adopt, Drain, Drained, Fatal, Ready, Release, Retire
from balancer.runtime.slot import TICK
from balancer.telemetry.segment import GENERATIONS, Segment
from tests.fakes.worker_process import FakeProcess
from tests.runtime.workers_harness import Harness


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=3)
    yield made
    made.close()


@pytest.fixture
def harness(segment: Segment) -> Harness:
    return Harness(segment, 2)


@pytest.fixture
def alone(segment: Segment) -> Harness:
    return Harness(segment, 1)


ENDS = [
    pytest.param((80,), (80,), (), id="the same address"),
    pytest.param((80,), (81,), (0,), id="another address"),
    pytest.param((80, 443), (80,), (1,), id="no TLS any more"),
    pytest.param((80,), (80, 443), (), id="TLS too"),
    pytest.param((80, 443), (443, 80), (), id="swapped: both sockets serve on"),
    pytest.param((80, 443), (443, 444), (0,), id="the TLS address is the plain one now"),
]


@pytest.mark.parametrize(("before", "after", "ends"), ENDS)
def test_a_worker_retires_when_its_successor_is_ready(
    segment: Segment, before: tuple[object, ...], after: tuple[object, ...], ends: tuple[int, ...]
) -> None:
    """It closes only the listeners that are no more."""
    harness = Harness(segment, 1)
    harness.workers.take_over(harness.make(1, addresses=before))
    (old,) = harness.start_all()
    new = harness.renew(0, harness.make(1, addresses=after, drain=60.0))
    assert (old.sent, harness.results) == ([], [])
    new.say(Ready())
    assert old.sent == [Retire(within=60.0, ends=ends)]
    assert harness.results == [""]
    assert not harness.workers.unready()


def test_a_retired_worker_gets_no_more_changes_once_it_has_drained(
    alone: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    (old,) = alone.start_all()
    alone.renew(0, alone.make(1)).say(Ready())
    old.say(Drained())
    old.reachable = False  # its channel is closed
    alone.workers.broadcast(Drain())
    assert not old.killed
    assert not caplog.records


FAILURES = [
    pytest.param(lambda new: new.end(1), "worker 0 ended before it was ready (exit code 1)", id="ends"),
    pytest.param(lambda new: new.say(Fatal(error="no map")), "worker 0 cannot start: no map", id="is fatal"),
]


@pytest.mark.parametrize(("fail", "why"), FAILURES)
def test_a_successor_that_fails_changes_nothing(harness: Harness, fail: object, why: str) -> None:
    """It is not tried again; the one that serves is not restarted."""
    old = list(harness.start_all())
    new = harness.renew(0, harness.make(2))
    assert callable(fail)
    fail(new)
    assert harness.results == [why]
    harness.pass_time(5.0)
    assert [process.sent for process in old] == [[], []]
    assert len(harness.spawn.processes) == 3
    assert [sample.restarts for sample in harness.workers.sampling()()] == [0, 0]
    assert not harness.workers.unready()


def test_a_fatal_successor_that_goes_on_to_end_is_forgotten(alone: Harness) -> None:
    alone.start_all()
    new = alone.renew(0, alone.make(1))
    new.say(Fatal(error="no map"))
    assert alone.workers.running() == 2
    new.end(1)
    assert (alone.workers.running(), alone.results) == (1, ["worker 0 cannot start: no map"])


def test_a_successor_that_takes_too_long_is_killed_and_may_be_late(alone: Harness) -> None:
    (old,) = alone.start_all()
    new = alone.renew(0, alone.make(1))
    alone.workers.give_up(0, "too long")
    assert (new.killed, alone.results) == (True, ["too long"])
    new.say(Ready())
    assert old.sent == []
    new.end()
    alone.workers.give_up(0, "again")
    assert (alone.results, alone.workers.running()) == (["too long"], 1)


def test_a_successor_that_cannot_be_started_changes_nothing(alone: Harness) -> None:
    alone.start_all()
    alone.spawn.error = OSError(11, "Resource temporarily unavailable")
    alone.workers.renew(0, alone.make(1), alone.results.append)
    assert alone.results == ["worker 0 cannot be started: Resource temporarily unavailable"]
    alone.room, alone.spawn.error = False, None
    alone.workers.renew(0, alone.make(1), alone.results.append)
    assert "no memory for a second worker 0" in alone.results[1]
    assert alone.workers.running() == 1


def test_a_worker_that_ends_while_its_successor_starts_is_replaced_by_it(alone: Harness) -> None:
    (old,) = alone.start_all()
    new = alone.renew(0, alone.make(1))
    old.end()
    alone.pass_time(1.0)
    assert (len(alone.spawn.processes), alone.workers.unready()) == (2, ["worker 0 is waiting to be started"])
    new.say(Ready())
    assert (alone.results, alone.workers.unready()) == ([""], [])
    assert [sample.restarts for sample in alone.workers.sampling()()] == [1]


def test_a_worker_that_ends_is_restarted_if_its_successor_fails(alone: Harness) -> None:
    (old,) = alone.start_all()
    new = alone.renew(0, alone.make(1))
    old.end()
    new.end()
    alone.pass_time(TICK)
    assert len(alone.spawn.processes) == 3
    alone.spawn.last.say(Ready())
    assert not alone.workers.unready()


def test_restarts_do_not_count_renewals(alone: Harness) -> None:
    alone.start_all()
    for _ in range(3):
        alone.renew(0, alone.make(1)).say(Ready())
    assert [sample.restarts for sample in alone.workers.sampling()()] == [0]
    alone.spawn.last.end()
    alone.spawn.last.say(Ready())
    assert [sample.restarts for sample in alone.workers.sampling()()] == [1]


def test_cpu_seconds_do_not_decrease_when_predecessors_end(alone: Harness) -> None:
    (old,) = alone.start_all()
    old.cpu_seconds = 2.0
    alone.renew(0, alone.make(1)).say(Ready())
    alone.spawn.last.cpu_seconds = 0.5
    assert alone.cpu_seconds() == [2.5]
    old.end(0, cpu_seconds=3.0)
    assert alone.cpu_seconds() == [3.5]


def test_cpu_seconds_are_those_of_the_moment_of_the_scrape_whatever_happens_until_they_are_read(
    alone: Harness,
) -> None:
    (old,) = alone.start_all()
    old.cpu_seconds = 2.0
    as_serving = alone.workers.sampling()
    alone.renew(0, alone.make(1)).say(Ready())
    alone.spawn.last.cpu_seconds = 0.5
    as_draining = alone.workers.sampling()
    old.end(0, cpu_seconds=3.0)
    assert [sample.cpu_seconds for sample in (*as_serving(), *as_draining())] == [3.0, 3.5]


def test_without_a_page_the_oldest_predecessor_is_ended_and_the_renewal_goes_on(
    alone: Harness, segment: Segment, caplog: pytest.LogCaptureFixture
) -> None:
    (oldest,) = alone.start_all()
    for _ in range(segment.pages - 2):
        alone.renew(0, alone.make(1)).say(Ready())
    assert not alone.ledger.has_page()
    count = len(alone.spawn.processes)
    alone.workers.renew(0, alone.make(1), alone.results.append)
    assert (oldest.killed, len(alone.spawn.processes)) == (True, count)
    oldest.end()
    alone.pass_time(TICK)
    assert len(alone.spawn.processes) == count + 1
    alone.spawn.last.say(Ready())
    assert alone.results[-1] == ""
    assert "too many workers drain at a time" in caplog.text
    assert len([each for each in alone.spawn.processes if each.killed]) == 1


def test_there_is_room_for_several_generations(segment: Segment) -> None:
    assert Harness(segment, 3).workers.most >= 3 * GENERATIONS - 1


def test_more_workers_have_sockets_that_others_serve_until_they_are_ready(alone: Harness) -> None:
    alone.start_all()
    generation = alone.make(3)
    first = alone.renew(0, generation)
    first.say(Ready())
    alone.workers.take_over(generation)
    second = alone.renew(1, generation)
    alone.pass_time(TICK)
    assert first.sent == [Adopt(slot=1)]
    second.say(Ready())
    assert first.sent == [Adopt(slot=1), Release(slot=1)]
    alone.renew(2, generation).say(Ready())
    alone.workers.fit()
    assert [(one.slot, one.restarts) for one in alone.workers.sampling()()] == [(0, 0), (1, 0), (2, 0)]


def test_fewer_workers_serve_the_sockets_of_those_that_are_gone(harness: Harness) -> None:
    _, old = harness.start_all()
    (new,) = harness.take_over(harness.make(1, slots=2, drain=60.0))
    assert new.sent == [Adopt(slot=1)]
    assert old.sent == [Retire(within=60.0)]
    old.end(0)
    harness.pass_time(60.0)
    assert [sample.slot for sample in harness.workers.sampling()()] == [0]
    assert (harness.workers.running(), harness.workers.unready()) == (2, [])  # one more drains still


def test_adopted_sockets_pass_to_the_successor(harness: Harness) -> None:
    harness.start_all()
    first, *_ = harness.take_over(harness.make(1, slots=2))
    second, *_ = harness.take_over(harness.make(1, slots=2))
    assert first.sent[0] == second.sent[0] == Adopt(slot=1)
    second.end()  # and to the one after a crash
    third = harness.spawn.last
    third.say(Ready())
    harness.pass_time(TICK)
    assert third.sent == [Adopt(slot=1)]


def test_a_number_of_workers_that_returns_is_no_restart(harness: Harness) -> None:
    harness.start_all()
    for workers in (1, 2, 1, 2):
        harness.take_over(harness.make(workers, slots=2))
    assert [sample.restarts for sample in harness.workers.sampling()()] == [0, 0]


def test_a_further_worker_that_cannot_start_is_tried_again_by_and_by(alone: Harness) -> None:
    alone.start_all()
    generation = alone.make(2)
    alone.renew(0, generation).say(Ready())
    alone.workers.take_over(generation)
    alone.renew(1, generation).say(Fatal(error="no map"))
    alone.spawn.last.end(1)
    alone.workers.fit()
    assert alone.workers.unready() == ["worker 1 is waiting to be started"]
    alone.pass_time(TICK)
    alone.spawn.last.say(Ready())
    assert not alone.workers.unready()
    assert [sample.slot for sample in alone.workers.sampling()()] == [0, 1]


def test_a_worker_that_ends_after_the_take_over_is_of_the_new_generation(harness: Harness) -> None:
    _, old = harness.start_all()
    generation = harness.make(2)
    harness.renew(0, generation).say(Ready())
    harness.workers.take_over(generation)
    old.end()
    assert harness.spawn.last.slot == 1
    assert len(harness.workers.pages(but_not=generation)) == 1  # of the first, which drains


def test_nothing_is_renewed_while_the_instance_stops(alone: Harness) -> None:
    (old,) = alone.start_all()
    new = alone.renew(0, alone.make(1))
    alone.workers.drain()
    assert (new.killed, alone.results) == (True, ["the instance is stopping"])
    assert old.sent == [Drain()]
    alone.workers.renew(0, alone.make(1), alone.results.append)
    alone.workers.fit()
    assert len(alone.spawn.processes) == 2
    assert alone.results == ["the instance is stopping"] * 2
    for process in (old, new):
        process.end(0)
    assert alone.said[-1] == "gone"


def page(process: FakeProcess) -> int:
    return process.start.page


def test_a_successor_takes_what_its_predecessors_hold_from_its_shares(harness: Harness) -> None:
    """From its start; another slot's worker does not. A predecessor counts only those before itself."""
    old, other = harness.start_all()
    first = harness.renew(0, harness.make(2))
    assert first.predecessors == (page(old),)
    first.say(Ready())
    second = harness.renew(0, harness.make(2))
    second.say(Ready())
    assert [each.predecessors for each in (old, first, second, other)] == [
        (),
        (page(old),),
        (page(old), page(first)),
        (),
    ]
    old.end(0)
    harness.pass_time(TICK)
    assert [each.predecessors for each in (first, second)] == [(), (page(first),)]


def test_a_worker_that_is_restarted_takes_account_of_draining_predecessors_too(alone: Harness) -> None:
    (old,) = alone.start_all()
    new = alone.renew(0, alone.make(1))
    new.say(Ready())
    new.end()
    assert alone.spawn.last not in (old, new)
    assert alone.spawn.last.predecessors == (page(old),)


def test_what_workers_of_removed_slots_hold_is_taken_from_the_others_shares(segment: Segment) -> None:
    harness = Harness(segment, 3)
    olds = harness.start_all()[:]
    (new,) = harness.take_over(harness.make(1))
    harness.pass_time(TICK)
    assert sorted(new.predecessors) == sorted(page(old) for old in olds)
