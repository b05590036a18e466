"""Hands the instance over to a new program (L7): what it gets, and when this one goes on or finishes.

While the new program starts this one serves, but accepts no changes: what is handed over has been collected.
"""

import asyncio
import logging
from collections.abc import Callable

from balancer.admin.view import RefusedError, ReplaceView, Wanted, wanted_anyway
from balancer.runtime.control_plane import ControlPlane
from balancer.runtime.inheritance import HandedListener, Inheritance, handed
from balancer.runtime.keeping import Keeping
from balancer.runtime.listening import Listening
from balancer.runtime.notify import main_process, notify
from balancer.runtime.reload import Reloads
from balancer.runtime.replacement import NotReplacedError, Replaced, replace

STOPPING = "this instance is about to end"


class Handover:
    """`listening` and `admin` return the present sockets, `is_stopping` whether the instance is about to end.
    `finish(ends)` is called once another program serves, which does not have the listeners in `ends`."""

    def __init__(
        self,
        plane: ControlPlane,
        reloads: Reloads,
        keeping: Keeping,
        *,
        listening: Callable[[], Listening],
        admin: Callable[[], int],
        is_stopping: Callable[[], bool],
        finish: Callable[[tuple[int, ...]], None],
        log: logging.Logger,
    ) -> None:
        self._plane = plane
        self._reloads = reloads
        self._keeping = keeping
        self._listening = listening
        self._admin = admin
        self._is_stopping = is_stopping
        self._finish = finish
        self._log = log
        self._running: asyncio.Task[Replaced] | None = None
        self.done = False  # another program serves

    @property
    def running(self) -> bool:
        """Whether a new program is being started."""
        return self._running is not None

    async def by(self, whom: str) -> None:
        """A replacement whose result nobody waits for: it is in the log and the events."""
        try:
            await self.replace(whom)
        except RefusedError:
            return  # it has been said
        except Exception:  # the old program must go on
            self._log.exception("replacement by %s failed", whom)

    async def replace(self, by: str, wanted: Wanted = wanted_anyway) -> ReplaceView:
        """Start the program anew, and finish once it serves. Raises RefusedError; this one goes on then."""
        loop = asyncio.get_running_loop()
        async with self._reloads.one_by_one:
            wanted()
            if self._is_stopping():
                raise RefusedError(STOPPING)
            if watched := self._plane.splits.watched():
                raise RefusedError(
                    f"the split of route {watched} is being watched, and would not be after a replacement; "
                    "wait for the end, or set its weights without a gate"
                )
            began = loop.time()
            self._log.info("replacement by %s: starting the program anew", by)
            self._running = loop.create_task(
                replace(self._inheritance(), self._plane.plan.reload.ready), name="replace"
            )
            try:
                new = await asyncio.shield(self._running)
            except NotReplacedError as error:
                raise RefusedError(self._failed(by, str(error))) from None
            except asyncio.CancelledError:
                if not self._running.cancelled():  # whoever asked has left; the replacement goes on
                    new = await self._running
                else:
                    raise RefusedError(self._failed(by, STOPPING)) from None
            finally:
                self._running = None
            self.done = True
        listening = self._listening()
        notify(main_process(new.pid))
        self._log.info("process %d serves instead; draining", new.pid)
        taken = new.taken.listens
        self._finish(tuple(at for at, each in enumerate(listening.wanted) if each not in taken))
        return ReplaceView(pid=new.pid, seconds=round(loop.time() - began, 3))

    async def give_up(self) -> None:
        """The instance ends: so does a new program that is being started."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _inheritance(self) -> Inheritance:
        plan = self._plane.plan
        return Inheritance(
            listeners=handed(self._listening()),
            admin=HandedListener(address=plan.admin_listen, descriptors=(self._admin(),)),
            via=plan.instance.worker.via,
            kept=self._keeping.handed(self._plane.fleet.upstreams()),
        )

    def _failed(self, by: str, why: str) -> str:
        text = f"replacement by {by} failed: {why}"
        self._log.error("%s", text)
        self._plane.fleet.note("replace", text)
        return f"the program is not replaced: {why}"
