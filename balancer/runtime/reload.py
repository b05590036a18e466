"""Reloads (L7): reads the settings again, and takes them up while the instance serves, one reload at a time.

read and check all ──wrong──► refused: nothing has changed
  │ what differs?
  ├─ nothing that workers are made from ──► live
  └─ else: open new pools and sockets ─► one new worker ──not ready──► taken back: nothing has changed
                                              │ ready: the settings are in force
                                              └─► the other workers, one after the other; old ones drain
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from balancer.admin.view import NotReloadedError, ReloadView, SettingChange, Wanted, wanted_anyway
from balancer.clock import Clock
from balancer.errors import StartupError
from balancer.runtime.control_plane import ControlPlane
from balancer.runtime.generation import Generation
from balancer.runtime.listening import Listening
from balancer.runtime.places import Places
from balancer.runtime.plan import Plan, Refused, Reread
from balancer.runtime.reload_words import members, of_a_restart, some
from balancer.runtime.workers import STOPPING, Workers
from balancer.spec.diff import Diff, diff
from balancer.spec.part import replaced
from balancer.telemetry.samples import ReloadSample

FIRST_CHECKS = 5.0  # seconds at most that the upstreams of new pools may take to be looked up and checked
TRIES = 3  # to replace a worker, once the settings are in force

MakeGeneration = Callable[[Plan, Listening, Places], Generation]


class Reads(Protocol):
    """Reads the settings; see `runtime.rereader.Rereader`."""

    async def read(self, present: Plan, text: str | None) -> Reread | Refused:
        """The settings as they are now. Raises StartupError."""


class Reloads:
    """`make` makes the generation of workers for settings; `took_over` is called when settings are in force,
    with their sockets."""

    def __init__(
        self,
        plane: ControlPlane,
        workers: Workers,
        reader: Reads,
        make: MakeGeneration,
        took_over: Callable[[Listening], None],
        *,
        listening: Listening,
        established: asyncio.Event,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        """`established`: all workers have been ready; before that there is nothing to replace."""
        self._plane = plane
        self._workers = workers
        self._reader = reader
        self._make = make
        self._took_over = took_over
        self._listening = listening
        self._established = established
        self._clock = clock
        self._log = log
        self.one_by_one = asyncio.Lock()  # a replacement of the program takes it too
        self._awaited = False  # by nobody: one that waits for its turn
        self._results: Counter[str] = Counter()
        self._failed = False
        self._read_at = clock.wall()

    def sample(self) -> ReloadSample:
        """What the metrics show."""
        return ReloadSample(dict(self._results), self._failed, self._read_at)

    async def by(self, whom: str) -> None:
        """A reload whose result nobody waits for: it is in the log, the events and the metrics. If one
        waits for its turn already, that one reads what is there then."""
        if self._awaited:
            return
        self._awaited = True
        try:
            await self.reload(whom)
        except NotReloadedError:
            return  # it has been said
        except Exception:  # a bug: what serves goes on serving
            self._log.exception("reload by %s failed", whom)

    async def reload(
        self, by: str, *, dry_run: bool = False, text: str | None = None, wanted: Wanted = wanted_anyway
    ) -> ReloadView:
        """Read the settings again, and take them up unless `dry_run`. `text` is that of a settings file to
        look at instead of the present one. `wanted` raises an exception if that is not so any more. Raises
        NotReloadedError."""
        async with self.one_by_one:
            wanted()
            await self._established.wait()
            self._awaited = False
            began = self._clock.monotonic_ns()
            try:
                self._refuse_if_stopping()
                read = await self._read(text)
                new, changed = self._compared(read.plan)
                same = _same_tokens(new, self._plane.plan) and _is_nothing(read, changed)
                how = "nothing" if same else _how(changed)
                problems: list[str] = []
                if not dry_run and how != "nothing":
                    problems = await (
                        self._by_new_workers(new) if changed.needs_new_workers else self._live(new)
                    )
                if not dry_run and not changed.needs_new_workers and (stale := self._workers.stale()):
                    how, problems = "new_workers", await self._all_renewed(stale, new.reload.ready)
            except NotReloadedError as error:
                if not dry_run:
                    self._has_failed(by, error)
                raise
            result = "unchanged" if how == "nothing" else "would_apply" if dry_run else "applied"
            self._failed = bool(problems) if not dry_run else self._failed
            view = ReloadView(
                result=result,
                how=how,
                changes=[SettingChange(one.path, one.before, one.after, one.how) for one in read.changes],
                members=members(changed),
                from_environment=list(new.from_environment),
                problems=problems + of_a_restart(read),
                revision=self._plane.fleet.revision,
                seconds=round((self._clock.monotonic_ns() - began) / 1e9, 3),
            )
            if not dry_run:
                self._has_ended(by, view)
            return view

    # --- what is new

    def _refuse_if_stopping(self) -> None:
        if self._workers.stopping:
            raise NotReloadedError("refused", [STOPPING])

    async def _read(self, text: str | None) -> Reread:
        try:
            read = await self._reader.read(self._plane.plan, text)
        except StartupError as error:
            raise NotReloadedError("refused", [str(error)]) from None
        if isinstance(read, Refused):
            raise NotReloadedError("refused", read.problems)
        return read

    def _compared(self, read: Plan) -> tuple[Plan, Diff]:
        """The plan with this instance's own name, and how it differs from what is in force now."""
        self._refuse_if_stopping()
        present, workers, most = self._plane.plan, read.instance.worker.workers, self._workers.most
        if workers > most:
            why = f"a running instance can have at most {most}, restart it to have {workers}"
            raise NotReloadedError("refused", [f"BALANCER_WORKERS: {why}"])
        worker = replaced(read.instance.worker, via=present.instance.worker.via)
        new = replaced(
            read,
            instance=replaced(read.instance, worker=worker),
            # As long as this instance lives: see `setting_changes.RESTART`.
            admin_listen=present.admin_listen,
        )
        now = replaced(present.instance, worker=self._plane.tls.worker_spec)
        return new, diff(now, new.instance)

    # --- taking it up

    async def _live(self, new: Plan) -> list[str]:
        holders = set(self._workers.pages())
        try:
            self._plane.open_routes(new)
        except StartupError as error:
            self._plane.close_routes(new, but=self._plane.plan, holders=holders)
            raise NotReloadedError("taken_back", [str(error)]) from None
        self._settle(new, self._listening, holders)
        return []

    async def _by_new_workers(self, new: Plan) -> list[str]:
        """New workers by these settings, in place of all. Returns what went wrong later than the first."""
        plane = self._plane
        opened: list[str] = []
        listening = None
        try:
            opened = plane.open_pools(new)
            listening = self._listening.changed(new.listens, new.instance.worker.workers)
            generation = replace(
                self._make(new, listening, plane.places(new.instance.worker)),
                serial=self._workers.generation.serial + 1,
            )
            await plane.known(opened, FIRST_CHECKS)
            if why := await self._renewed(0, generation, new.reload.ready):
                raise StartupError(why)
            if self._workers.stopping:
                raise StartupError(STOPPING)
        except BaseException as error:
            if listening is not None:
                listening.close_unless_in(self._listening)
            holders = set(self._workers.pages())
            plane.close_pools(opened, new, holders)
            plane.close_routes(new, but=plane.plan, holders=holders)
            if not isinstance(error, StartupError):
                raise
            raise NotReloadedError("taken_back", [str(error)]) from None
        return await self._go_on(new, listening, generation)

    async def _go_on(self, new: Plan, listening: Listening, generation: Generation) -> list[str]:
        """The first new worker serves: there is no way back."""
        old, plane = self._listening, self._plane
        before = plane.plan
        holders = set(self._workers.pages(but_not=generation))
        self._settle(new, listening, holders)
        generation = replace(generation, start_message=plane.places().start_message)
        self._workers.take_over(generation)
        problems = await self._all_renewed(range(1, generation.workers), new.reload.ready)
        self._workers.fit()
        gone = {pool.name for pool in before.instance.pools} - {pool.name for pool in new.instance.pools}
        plane.close_pools(sorted(gone), before, holders)
        old.close_unless_in(listening)
        return problems

    async def _all_renewed(self, numbers: Iterable[int], ready: float) -> list[str]:
        """Give these slots workers of the present generation; why some have none."""
        generation = self._workers.generation
        said = [await self._at_last_renewed(number, generation, ready) for number in numbers]
        return [why for why in said if why]

    def _settle(self, new: Plan, listening: Listening, holders: set[int]) -> None:
        for notice in new.notices:
            if notice not in self._plane.plan.notices:
                self._log.log(getattr(logging, notice.level.upper()), "%s", notice.text)
        self._plane.settle(new, listening.addresses, holders)
        self._log.setLevel(getattr(logging, new.instance.worker.log_level.upper()))
        self._listening = listening
        self._read_at = self._clock.wall()
        self._took_over(listening)

    async def _at_last_renewed(self, number: int, generation: Generation, ready: float) -> str:
        why = ""
        for _ in range(TRIES):
            why = await self._renewed(number, generation, ready)
            if not why or self._workers.stopping:
                break
            self._log.error("%s; the settings are in force, so the old one goes on for now", why)
        return why

    async def _renewed(self, number: int, generation: Generation, ready: float) -> str:
        """Why a slot has no worker of that generation; "" if it has one."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._workers.renew(number, generation, partial(_resolve, done))
        try:
            async with asyncio.timeout(ready):
                return await asyncio.shield(done)
        except TimeoutError:
            why = f"worker {number} was not ready within {ready:g} s (RELOAD__READY)"
            self._workers.give_up(number, why)
            return why
        except BaseException:
            self._workers.give_up(number, "the reload was given up")
            raise

    # --- what is said of it

    def _has_failed(self, by: str, error: NotReloadedError) -> None:
        self._results[error.result] += 1
        self._failed = True
        how = "refused" if error.result == "refused" else "taken back"
        for problem in error.problems:
            self._log.error("reload by %s %s: %s", by, how, problem)
        self._plane.fleet.note("reload", f"reload by {by} {how}: {'; '.join(error.problems)}")

    def _has_ended(self, by: str, view: ReloadView) -> None:
        self._results[view.result] += 1
        if view.result == "unchanged":
            text = f"reload by {by}: nothing has changed"
        else:
            names = [one.setting for one in view.changes]
            names += [f"{one.id} {one.change}" for one in view.members]
            how = "live" if view.how == "live" else "with new workers"
            what = some(names) or "files that the settings name"
            text = f"reload by {by}: {what} taken up {how} in {view.seconds:g} s"
        self._log.info("%s", text)
        self._plane.fleet.note("reload", text)
        for problem in view.problems:
            self._log.warning("reload by %s: %s", by, problem)


def _resolve(done: "asyncio.Future[str]", why: str) -> None:
    if not done.done():
        done.set_result(why)


def _same_tokens(new: Plan, present: Plan) -> bool:
    """Whether the files with tokens, which settings only name, have the same ones."""
    return (new.admin_token, new.registration_tokens) == (present.admin_token, present.registration_tokens)


def _is_nothing(read: Reread, changed: Diff) -> bool:
    return changed.is_empty and not any(one.how != "restart" for one in read.changes)


def _how(changed: Diff) -> str:
    return "new_workers" if changed.needs_new_workers else "live"
