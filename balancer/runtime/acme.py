"""Automatic certificates of a running instance (L7): orders them, one after the other, and shows what
authorities look for.

    each second: look into the storage → show the challenges of all instances
                                       → order what is due, if no other instance orders

A new certificate is a file in the storage, which `certificates` takes up like any other file that has
changed, here and in the instances that share the storage.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from random import Random
from typing import Protocol, TypeVar

from balancer.acme.problem import Cause
from balancer.admin.view import AcmeView, moment
from balancer.clock import Clock
from balancer.messages import Challenges
from balancer.outliers.ejection_term import in_a_row
from balancer.runtime import acme_schedule as schedule
from balancer.runtime.acme_files import Folder, read_state, sweep, try_room
from balancer.runtime.acme_lock import FolderLock
from balancer.runtime.acme_parts import AcmePlan, Failed, Ordered, OrderRequest, Pending, State
from balancer.runtime.acme_process import OnNote, OnPublish, order_in_process
from balancer.runtime.aside import aside
from balancer.spec.tls import CertificateSpec, ChallengeSpec
from balancer.telemetry.samples import AcmeSample

LOOK = 1.0  # seconds between two looks into the storage
# Seconds between a challenge's publication and the word to the authority: workers read it in the next turn of
# their loops, other instances find it in the storage when they look.
SETTLE, OTHERS_LOOK = 0.25, 3.0
DISK = 60.0  # seconds until the next order, if the storage cannot be written to
PAUSE = 30.0  # seconds until that of another domain, if the authority is away or wants fewer requests
PENDING = 310.0  # seconds that a challenge is shown at most: an order takes less
ISSUED, FAILED = "issued", "failed"  # results of orders

ResultT = TypeVar("ResultT")
PlaceOrder = Callable[[OrderRequest, OnPublish, OnNote], Awaitable[Ordered | Failed]]


class Aside(Protocol):
    """Calls what may wait for a disk."""

    def __call__(self, name: str, call: Callable[[], ResultT], /) -> Awaitable[ResultT]: ...


class Served(Protocol):
    """What it needs from the certificates; see `runtime.certificates.Certificates`."""

    certificates: tuple[CertificateSpec, ...]
    awaited: set[str]

    async def look(self) -> None:
        """Take up what has changed; it is done when this returns."""


class Acme:
    """`note(kind, text)` records an event; `broadcast` reaches all workers."""

    def __init__(
        self,
        plan: AcmePlan,
        certificates: Served,
        *,
        note: Callable[[str, str], int],
        broadcast: Callable[[Challenges], None],
        clock: Clock,
        log: logging.Logger,
        place: PlaceOrder = order_in_process,
        call: Aside = aside,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
    ) -> None:
        self.challenges: tuple[ChallengeSpec, ...] = ()  # what workers show, and new ones get
        self._plan = plan
        self._certificates = certificates
        self._note = note
        self._broadcast = broadcast
        self._clock = clock
        self._log = log
        self._place = place
        self._call = call
        self._sleep = sleep
        self._random = random or Random()
        self._folder = Folder(plan.folder, plan.domains)
        self._lock = FolderLock(plan.folder)
        self._jitter = {domain: self._random.random() for domain in plan.domains}
        self._states: dict[str, State] = dict.fromkeys(plan.domains, State())
        self._own: tuple[ChallengeSpec, ...] = ()  # of the order that runs
        self._ordering: tuple[str, asyncio.Task[None]] | None = None
        # Seconds on the monotonic clock: because of the storage, and for all domains but this one.
        self._not_before = 0.0
        self._pause = "", 0.0
        self._trouble = ""  # with the storage, logged
        self._results: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Look and order for as long as the instance runs."""
        for domain in self._plan.awaited:
            text = f"certificate {domain} is self-signed until the first one is issued: clients refuse it"
            self._log.warning("%s", text)
            self._note("certificate_awaited", text)
        try:
            while True:
                try:
                    await self.look()
                except Exception:  # the certificates that are there serve on
                    self._log.exception("looking after the certificates failed")
                await asyncio.sleep(LOOK)
        finally:
            if self._ordering is not None:
                self._ordering[1].cancel()
                await asyncio.wait([self._ordering[1]])
            self._lock.close()

    async def look(self) -> None:
        """See what instances have written, and begin an order if one is due."""
        try:
            self._states, others = await self._call("look into the storage of certificates", self._read)
        except OSError as error:
            self._in_trouble(error)
            return
        self._show(others)
        now = self._clock.wall()
        if self.is_ordering or self._now() < self._not_before:
            return
        if waiting := self._due(now):
            task = asyncio.get_running_loop().create_task(self._try(waiting[0]), name="order a certificate")
            self._ordering = waiting[0], task
        else:  # the storage can be read, and need not be written to
            self._trouble = ""

    @property
    def is_ordering(self) -> bool:
        """Whether an order runs here."""
        return self._ordering is not None and not self._ordering[1].done()

    def _read(self) -> tuple[dict[str, State], tuple[ChallengeSpec, ...]]:
        self._lock.join()
        pending = self._folder.pending(self._clock.wall())
        return self._folder.states(), tuple(each for one in pending for each in one.challenges)

    def _show(self, stored: tuple[ChallengeSpec, ...]) -> None:
        challenges = tuple(dict.fromkeys([*self._own, *stored]))
        if challenges != self.challenges:
            self.challenges = challenges
            self._broadcast(Challenges(pending=challenges))

    def _due(self, now: float) -> list[str]:
        """Domains whose certificates are to be ordered now, those that are due for longest first."""
        times = {domain: self._when(domain, self._states[domain], now) for domain in self._plan.domains}
        return sorted((domain for domain in times if times[domain] <= now), key=lambda domain: times[domain])

    def _when(self, domain: str, state: State, now: float) -> float:
        due = schedule.due(self._certificate(domain), state, self._jitter[domain], now)
        left = self._pause[1] - self._now()
        return due if domain == self._pause[0] or left <= 0 else max(due, now + left)

    def _certificate(self, domain: str) -> CertificateSpec | None:
        """The one that an authority has issued."""
        if domain in self._certificates.awaited:
            return None
        return next(each for each in self._certificates.certificates if each.label == domain)

    # --- an order

    async def _try(self, domain: str) -> None:
        """Order it, unless another instance orders, or has done so a moment ago."""
        try:
            if not await self._call("lock the storage of certificates", self._lock.take):
                return
            try:
                await self._certificates.look()
                state = await self._call("read a state", lambda: read_state(self._plan.folder, domain))
                now = self._clock.wall()
                if self._when(domain, state, now) <= now:
                    await self._order(domain, state)
            finally:
                self._lock.free()
            self._trouble = ""
        except OSError as error:
            self._in_trouble(error)
        except Exception:  # the certificates that are there serve on
            self._not_before = self._now() + DISK
            self._log.exception("ordering a certificate for %s failed", domain)

    async def _order(self, domain: str, before: State) -> None:
        plan, kind = self._plan, schedule.kind(before)
        begun = schedule.begun(before, self._clock.wall())
        await self._call("write a state", lambda: self._prepare(domain, begun))
        self._log.info("ordering a certificate for %s (%s, %s)", domain, kind, plan.directory_url)

        async def publish(challenges: tuple[ChallengeSpec, ...]) -> None:
            pending = Pending(challenges=challenges, until=self._clock.wall() + PENDING)
            await self._call("write challenges", lambda: self._folder.publish(domain, pending))
            self._own = challenges
            self._show(self.challenges)
            is_alone = await self._call("look for other instances", self._lock.is_alone)
            await self._sleep(SETTLE if is_alone else OTHERS_LOOK)

        request = OrderRequest(
            domain=domain,
            directory_url=plan.directory_url,
            folder=plan.folder,
            email=plan.email,
            ca=plan.ca,
            challenge=kind,
        )
        try:
            result = await self._place(request, publish, self._warn)
        except asyncio.CancelledError:
            stopped = schedule.stopped(before, self._clock.wall())
            await self._call("end an order", lambda: self._end(domain, stopped))
            raise
        self._own = ()
        await self._call("remove challenges", lambda: self._folder.withdraw(domain))
        if isinstance(result, Ordered):
            state = schedule.succeeded(result, before, self._clock.wall())
            self._results[domain, ISSUED] += 1
            await self._certificates.look()
        else:
            state = schedule.failed(before, result, self._random.random(), self._clock.wall())
            if result.cause in (Cause.UNREACHABLE, Cause.LIMITED):
                self._pause = domain, self._now() + PAUSE
            self._results[domain, FAILED] += 1
        self._states[domain] = state
        await self._call("write a state", lambda: self._folder.write_state(domain, state))
        if state.failures:
            self._say_failed(domain, state)

    def _prepare(self, domain: str, state: State) -> None:
        sweep(self._plan.folder)
        try_room(self._plan.folder)
        self._folder.write_state(domain, state)

    def _end(self, domain: str, state: State) -> None:
        self._folder.withdraw(domain)
        self._folder.write_state(domain, state)

    def _warn(self, text: str) -> None:
        self._log.warning("%s", text)

    def _say_failed(self, domain: str, state: State) -> None:
        certificate = self._certificate(domain)
        if certificate is None:
            serves = "A self-signed one serves, which clients refuse"
        else:
            serves = f"The old one serves on, which ends on {_time(certificate.not_after)}"
        again = f"Next order on {_time(state.not_before)}"
        text = f"no new certificate for {domain}{in_a_row(state.failures)}: {state.error}. {again}. {serves}"
        self._log.error("%s", text)
        self._note("certificate_failed", text)

    def _in_trouble(self, error: OSError) -> None:
        self._not_before = self._now() + DISK
        why = (error.strerror or str(error)).lower()
        if why != self._trouble:
            self._trouble = why
            self._log.error(
                "TLS__ACME__STORAGE: %s cannot be used (%s): no certificate is ordered until it can",
                error.filename or self._plan.folder,
                why,
            )

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    # --- for the admin application

    def view(self, domain: str) -> AcmeView | None:
        """The orders for a domain; None if it is not one of those with automatic certificates."""
        state = self._states.get(domain)
        if state is None:
            return None
        certificate, now = self._certificate(domain), self._clock.wall()
        if self._ordering is not None and self.is_ordering and self._ordering[0] == domain:
            word = "ordering"
        elif state.failures:
            word = "failed"
        else:
            word = "awaited" if certificate is None else "issued"
        next_order = max(self._when(domain, state, now), now + self._not_before - self._now())
        # That of an order that was broken off says nothing once there is a certificate.
        last = state.error if state.failures or certificate is None else ""
        error = last or (f"the storage cannot be used: {self._trouble}" if self._trouble else "")
        return AcmeView(state=word, next_order=moment(next_order), failures=state.failures, error=error)

    def samples(self) -> list[AcmeSample]:
        """What the metrics show."""
        return [
            AcmeSample(domain, {result: self._results[domain, result] for result in (ISSUED, FAILED)})
            for domain in self._plan.domains
        ]


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
