"""Reloads with a real control plane and fake workers: what is in force after each, and what is left over."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from balancer.admin.view import NotReloadedError, ReloadView
from balancer.clock import SystemClock
from balancer.errors import StartupError
from balancer.messages import Fatal, FromSupervisor, Ready, Retire, RoutesUpdate, Start
from balancer.runtime.control_plane import ControlPlane, Surroundings
from balancer.runtime.generation import Generation
from balancer.runtime.listening import Listening
from balancer.runtime.open_files import shares
from balancer.runtime.places import Places
from balancer.runtime.plan import Plan, Refused, Reread
from balancer.runtime.planning import read, read_again
from balancer.runtime.reload import Reloads
from balancer.runtime.worker_process import OnEnded, OnMessage
from balancer.runtime.workers import Workers
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from tests.fakes.worker_process import FakeProcess, FakeSpawn
from tests.runtime.workers_harness import Harness as WorkersHarness

BASE = {"UPSTREAMS": "127.0.0.1:8001", "LISTEN": "127.0.0.1:0", "HEALTH_CHECK__ENABLED": "false"}
NEW_WORKERS = {"RETRY__MAX_ATTEMPTS": "5"}
POOL = {"POOLS__API__UPSTREAMS": "127.0.0.1:8002", "ROUTES": "/api/=api, /=default"}


class Willing(FakeSpawn):
    """Its processes do as they are told in `first`, a message of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first: Ready | Fatal | None = Ready()

    def __call__(self, start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> FakeProcess:
        process = super().__call__(start, on_message=on_message, on_ended=on_ended)
        if self.first is not None:
            asyncio.get_running_loop().call_soon(process.say, self.first)
        return process


class Scene:
    """An instance whose settings are `environ`, as variables without their prefix."""

    def __init__(self, **environ: str) -> None:
        self.environ = {**BASE, **environ}
        self.log = logging.getLogger("balancer.test.reloads")
        self.segment = Segment.create(2)
        self.ledger = Ledger(self.segment)
        self.events = EventLog()
        self.spawn = Willing()
        self.established = asyncio.Event()
        self.taken_over: list[Listening] = []
        self.fault: Callable[[], None] = lambda: None  # called when the settings are read
        plan = read(self._variables(), None)
        assert isinstance(plan, Plan)
        loop, clock = asyncio.get_running_loop(), SystemClock()
        self.listening = Listening.open(plan.listens, plan.instance.worker.workers)
        around = Surroundings(
            self.ledger, self.events, clock, self.log, loop, self._broadcast, shares(1024, 2, 1)
        )
        self.plane = ControlPlane(plan, self.listening.addresses, plan.admin_listen, around)
        self.workers = Workers(
            self._make(plan, self.listening, self.plane.places()),
            ledger=self.ledger,
            clock=clock,
            log=self.log,
            events=WorkersHarness(self.segment, 1),  # none of them matters here
            has_room=lambda: True,
        )
        self.reloads = Reloads(
            self.plane,
            self.workers,
            self,
            self._make,
            self.taken_over.append,
            listening=self.listening,
            established=self.established,
            clock=clock,
            log=self.log,
        )

    def _variables(self) -> dict[str, str]:
        return {f"BALANCER_{name}": value for name, value in self.environ.items()}

    def _broadcast(self, message: FromSupervisor) -> None:
        self.workers.broadcast(message)

    def _make(self, plan: Plan, listening: Listening, places: Places) -> Generation:
        return Generation(
            workers=plan.instance.worker.workers,
            slots=listening.slots,
            addresses=tuple(listening.addresses),
            start_message=places.start_message,
            spawn=self.spawn,
            drain=plan.reload.drain,
        )

    async def read(self, present: Plan, text: str | None) -> Reread | Refused:
        self.fault()
        return read_again(self._variables(), None, text, present.models, present.instance.worker.edges)

    async def start(self) -> None:
        self.plane.fleet.established()
        self.workers.start()
        await asyncio.sleep(0)
        self.established.set()

    async def reload(self, **environ: str) -> ReloadView:
        """With these settings besides those that every instance here has."""
        self.environ = {**BASE, **environ}
        return await self.reloads.reload("the test")

    def rows(self) -> set[tuple[str, ...]]:
        """What the routes are counted by."""
        return {labels for labels, _ in self.ledger.entities(Kind.ROUTE)}

    def texts(self) -> list[str]:
        return [event.text for event in self.events.after(0) if event.kind == "reload"]

    async def close(self) -> None:
        await self.plane.checks.close()
        for listening in (self.listening, *self.taken_over):
            listening.close_unless_in()
        self.segment.close()


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.start()
    yield made
    await made.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_settings_that_change_live_need_no_worker(scene: Scene) -> None:
    view = await scene.reload(UPSTREAMS="127.0.0.1:8001,127.0.0.1:8003")
    assert (view.result, view.how, [one.id for one in view.members]) == (
        "applied",
        "live",
        ["127.0.0.1:8003"],
    )
    assert len(scene.spawn.processes) == 1
    assert "127.0.0.1:8003" in scene.plane.fleet.pools["default"].upstreams
    assert scene.reloads.sample().results == {"applied": 1}


async def test_nothing_that_differs_is_nothing_done(scene: Scene) -> None:
    view = await scene.reload()
    assert (view.result, view.how, scene.taken_over) == ("unchanged", "nothing", [])
    assert scene.texts() == ["reload by the test: nothing has changed"]


async def test_what_only_a_restart_takes_up_is_said_and_nothing_else_is_done(scene: Scene) -> None:
    view = await scene.reload(ADMIN_LISTEN="127.0.0.1:0")
    assert (view.result, [one.how for one in view.changes]) == ("unchanged", ["restart"])
    assert view.problems == ["admin_listen is not taken up: that needs a new instance"]


async def test_what_needs_a_restart_is_said_until_there_is_one(scene: Scene) -> None:
    """Also after other changes were taken up."""
    before = scene.plane.plan.admin_listen
    for weight in (2, 3):
        view = await scene.reload(ADMIN_LISTEN="127.0.0.9:0", UPSTREAMS=f"127.0.0.1:8001?weight={weight}")
        assert view.result == "applied"
        assert view.problems == ["admin_listen is not taken up: that needs a new instance"]
        assert scene.plane.plan.admin_listen == before
    assert (await scene.reload(UPSTREAMS="127.0.0.1:8001?weight=3")).problems == []


async def test_new_workers_replace_the_old_ones_one_by_one(scene: Scene) -> None:
    old = scene.spawn.last
    view = await scene.reload(**NEW_WORKERS, WORKERS="2")
    assert (view.result, view.how, view.problems) == ("applied", "new_workers", [])
    assert Retire(within=3600.0) in old.sent
    starts = [process.start for process in scene.spawn.processes[1:]]
    assert [(start.slot, start.spec.workers) for start in starts] == [(0, 2), (1, 2)]
    assert scene.taken_over[-1].slots == 2


async def test_a_pool_and_its_route_come_and_go(scene: Scene) -> None:
    await scene.reload(**POOL)
    assert list(scene.plane.fleet.pools) == ["default", "api"]
    assert ("api", "api") in scene.rows()
    (_, new) = scene.spawn.processes
    assert [pool.name for pool in new.start.pools] == ["default", "api"]
    await scene.reload()
    assert list(scene.plane.fleet.pools) == ["default"]
    assert scene.rows() == {("default", "default")}
    assert ("api",) not in {labels for labels, _ in scene.ledger.entities(Kind.POOL)}


async def test_settings_are_taken_back_if_the_first_worker_cannot_start(scene: Scene) -> None:
    """With sockets, pools and rows: nothing of them is left."""
    before = open_files()
    scene.spawn.first = Fatal(error="no map")
    with pytest.raises(NotReloadedError) as raised:
        await scene.reload(**POOL, WORKERS="2", LISTEN="127.0.0.2:0")
    assert (raised.value.result, raised.value.problems) == ("taken_back", ["worker 0 cannot start: no map"])
    scene.spawn.last.end(1)
    assert list(scene.plane.fleet.pools) == ["default"]
    assert scene.rows() == {("default", "default")}
    assert (open_files(), scene.taken_over) == (before, [])
    assert scene.texts() == ["reload by the test taken back: worker 0 cannot start: no map"]
    assert scene.reloads.sample().failed
    scene.spawn.first = Ready()
    assert (await scene.reload(**POOL)).result == "applied"
    assert not scene.reloads.sample().failed


async def test_settings_are_taken_back_if_the_first_worker_takes_too_long(scene: Scene) -> None:
    scene.environ["RELOAD__READY"] = "10ms"
    scene.spawn.first = None
    with pytest.raises(NotReloadedError, match=r"not ready within 0\.01 s \(RELOAD__READY\)"):
        await scene.reload(**NEW_WORKERS, RELOAD__READY="10ms")
    assert scene.spawn.last.killed
    assert not scene.spawn.processes[0].sent


async def test_a_later_worker_that_cannot_start_leaves_the_settings_in_force(scene: Scene) -> None:
    """And is tried again, as one that has ended is."""
    willing = scene.spawn

    def fails_later(start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> FakeProcess:
        willing.first = Fatal(error="no map") if start.slot else Ready()
        return willing(start, on_message=on_message, on_ended=on_ended)

    spawn: Any = fails_later
    scene.spawn = spawn
    view = await scene.reload(**NEW_WORKERS, WORKERS="2")
    assert (view.result, view.problems) == ("applied", ["worker 1 cannot start: no map"])
    assert scene.workers.unready() == ["worker 1 is waiting to be started"]


async def test_live_routes_that_change_often_use_no_more_rows(scene: Scene) -> None:
    """Workers release them; here, they end."""
    for number in range(30):
        await scene.reload(
            ROUTES=", ".join([*(f"/{number}-{at}/=default" for at in range(150)), "/=default"])
        )
        (process,) = scene.spawn.processes
        assert isinstance(process.sent[-1], RoutesUpdate)
        process.sent.clear()
        scene.ledger.release(process.start.page, range(4096))
    assert len(scene.rows()) == 151


async def test_routes_without_room_are_not_taken_up(scene: Scene) -> None:
    for number in range(4090):
        scene.ledger.row(Kind.UPSTREAM, "other", str(number))
    before = scene.rows()
    with pytest.raises(NotReloadedError, match="at most 4096 fit"):
        await scene.reload(ROUTES=", ".join([*(f"/{at}/=default" for at in range(60)), "/=default"]))
    assert scene.rows() == before
    assert (await scene.reload(UPSTREAMS="127.0.0.1:8001?weight=2")).result == "applied"


async def test_more_workers_than_there_is_room_for_are_refused(scene: Scene) -> None:
    with pytest.raises(
        NotReloadedError, match="BALANCER_WORKERS: a running instance can have at most"
    ) as raised:
        await scene.reload(WORKERS="200")
    assert raised.value.result == "refused"


async def test_an_instance_that_stops_refuses(scene: Scene) -> None:
    scene.workers.drain()
    with pytest.raises(NotReloadedError, match="the instance is stopping"):
        await scene.reload(**NEW_WORKERS)


async def test_a_reload_that_the_end_interrupts_is_taken_back(scene: Scene) -> None:
    scene.spawn.first = None
    reload = asyncio.create_task(scene.reload(**NEW_WORKERS))
    while len(scene.spawn.processes) < 2:  # noqa: ASYNC110 - it is turns of the loop that are waited for
        await asyncio.sleep(0)
    scene.workers.drain()
    with pytest.raises(NotReloadedError, match="the instance is stopping"):
        await reload
    assert scene.spawn.last.killed


async def test_reloads_wait_for_each_other_and_for_the_start() -> None:
    scene = Scene()
    first, second = (asyncio.create_task(scene.reload(**NEW_WORKERS)) for _ in range(2))
    await asyncio.sleep(0)
    assert not scene.spawn.processes
    await scene.start()
    assert [(await each).result for each in (first, second)] == ["applied", "unchanged"]
    assert len(scene.spawn.processes) == 2
    await scene.close()


async def test_signals_that_come_together_are_one_reload() -> None:
    scene = Scene()
    first, *others = (asyncio.create_task(scene.reloads.by("SIGHUP")) for _ in range(9))
    await asyncio.sleep(0)
    assert all(each.done() for each in others)
    await scene.start()
    await first
    await scene.reloads.by("SIGHUP")
    assert scene.reloads.sample().results == {"unchanged": 2}
    await scene.close()


async def test_new_warnings_about_the_settings_are_logged_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    sticky = {"STICKY__ENABLED": "true"}
    await scene.reload(**sticky)
    assert "STICKY__SECRET" in caplog.text
    caplog.clear()
    await scene.reload(**sticky, UPSTREAMS="127.0.0.1:8001?weight=2")
    assert "STICKY__SECRET" not in caplog.text


async def test_a_reload_that_is_given_up_leaves_what_serves(scene: Scene) -> None:
    scene.spawn.first = None
    reload = asyncio.create_task(scene.reload(**NEW_WORKERS))
    while len(scene.spawn.processes) < 2:  # noqa: ASYNC110 - it is turns of the loop that are waited for
        await asyncio.sleep(0)
    reload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reload
    assert scene.spawn.last.killed
    scene.spawn.first = Ready()
    assert (await scene.reload(**NEW_WORKERS)).result == "applied"


async def test_settings_that_cannot_be_read_are_refused(scene: Scene) -> None:
    def fault() -> None:
        raise StartupError("the settings cannot be read: no memory")

    scene.fault = fault
    with pytest.raises(NotReloadedError) as raised:
        await scene.reload()
    assert raised.value.result == "refused"
    assert scene.reloads.sample().results == {"refused": 1}


async def test_a_bug_in_a_reload_by_signal_is_logged_and_ends_nothing(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    def fault() -> None:
        raise ZeroDivisionError("a bug planted in reading")

    scene.fault = fault
    await scene.reloads.by("SIGHUP")
    assert "reload by SIGHUP failed" in caplog.text


async def test_a_dry_run_counts_nothing(scene: Scene) -> None:
    scene.environ = {**BASE, **POOL}
    view = await scene.reloads.reload("the test", dry_run=True)
    assert (view.result, view.how) == ("would_apply", "new_workers")
    assert (scene.texts(), scene.reloads.sample().results) == ([], {})
    assert scene.rows() == {("default", "default")}
