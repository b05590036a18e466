"""The certificates of a running instance (L7): takes up changed files, and says when certificates expire.

The supervisor itself only compares the files' stamps, in a thread. A process of its own reads what has
changed; what is good goes to all workers at once, what is not changes nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from balancer.admin.view import CertificateView, moment
from balancer.clock import Clock
from balancer.config.file_stamps import Stamp, stamps
from balancer.config.file_watch import FileWatch
from balancer.config.pair_files import PairFiles
from balancer.runtime.aside import aside
from balancer.runtime.certificate_process import ReadingError
from balancer.runtime.certificate_sources import (
    ReadAnswer,
    ReadAuthorities,
    ReadPair,
    ReadRequest,
    Unusable,
    WatchPlan,
)
from balancer.runtime.expiry import Expiry
from balancer.spec.part import replaced
from balancer.spec.tls import CertificateSpec
from balancer.telemetry.samples import CertificateSample

LOOK = 1.0  # seconds between two looks at the files
SLOW_LOOK = 30.0  # seconds, more than a process may take to read them
_LATE = 0.25  # of the lifetime of an automatic one: it is renewed when a third is left
RENEWED, REFUSED = "renewed", "refused"  # results of reloads

Read = Callable[[ReadRequest], Awaitable[ReadAnswer]]
StampFiles = Callable[[Iterable[str]], Awaitable[Mapping[str, Stamp]]]


async def stamps_aside(paths: Iterable[str]) -> Mapping[str, Stamp]:
    """The stamps of files, without waiting for a disk on the event loop."""
    return await aside("stamps", lambda: stamps(paths))


class _Pair:
    """A pair of files that is watched; `at` is the index of its certificate in the spec, `label` what that is
    called. `is_automatic`: it is written here, or by another instance."""

    __slots__ = ("at", "files", "is_automatic", "label", "watch")

    def __init__(self, at: int, files: PairFiles, label: str, plan: WatchPlan) -> None:
        self.is_automatic = label in plan.automatic
        paths = (files.certificate, files.key, "" if self.is_automatic else plan.password_file)
        self.at = at
        self.label = label
        self.files = files
        self.watch = FileWatch(tuple(path for path in paths if path), plan.stamps)


class Certificates:
    """Certificates of the balancer with their keys, and authorities, as they are now: those of the TLS
    listener, or of a pool for its upstreams. `note(kind, text)` records an event and returns its revision,
    with which `changed` is called."""

    def __init__(
        self,
        certificates: tuple[CertificateSpec, ...],
        authorities: bytes,
        plan: WatchPlan,
        *,
        note: Callable[[str, str], int],
        changed: Callable[[int], None],
        read: Read,
        stamp_files: StampFiles = stamps_aside,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self.certificates = certificates
        self.authorities = authorities  # PEM
        self.awaited = set(plan.awaited)  # labels of self-signed ones
        self._plan = plan
        self._note = note
        self._changed = changed
        self._read = read
        self._stamp_files = stamp_files
        self._clock = clock
        self._log = log
        inline = len(certificates) - len(plan.pairs)
        self._pairs = [
            _Pair(at, files, certificates[at].label, plan) for at, files in enumerate(plan.pairs, inline)
        ]
        self._authorities = FileWatch((plan.authorities,) if plan.authorities else (), plan.stamps)
        self._issuers = dict(plan.issuers)
        self._whom = "upstreams" if plan.for_upstreams else "clients"
        self._expiry = Expiry()
        self._reloads: Counter[tuple[str, str]] = Counter()  # (label, result)
        self._trouble = ""  # of the process that reads, last logged
        self._looking: asyncio.Task[None] | None = None
        self._one_by_one = asyncio.Lock()
        self._looks_since = 0.0  # on the monotonic clock
        self._is_slow = False  # it was logged that the look does not end

    def close(self) -> None:
        """End a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()

    def turn(self) -> None:
        """Say which certificates expire, and begin a look, unless the last one has not ended."""
        self._announce()
        now = self._now()
        if not self.is_looking:
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="look at certificates")
            self._looks_since = now
        elif now - self._looks_since > SLOW_LOOK and not self._is_slow:
            self._is_slow = True
            self._log.error("the disk with the certificates does not answer; those that are there serve on")

    @property
    def is_looking(self) -> bool:
        """Whether the last look has not ended."""
        return self._looking is not None and not self._looking.done()

    async def _look(self) -> None:
        try:
            await self.look()
        except Exception:  # the certificates that are there serve on
            self._log.exception("watching the certificates failed")
        if self._is_slow:
            self._is_slow = False
            self._log.info("the disk with the certificates answers again")

    async def look(self) -> None:
        """Take up what has changed, and report what cannot be used."""
        async with self._one_by_one:  # whoever looks finds all of it done
            await self._look_at_all()

    async def _look_at_all(self) -> None:
        watches = [*(pair.watch for pair in self._pairs), self._authorities]
        paths = {path for watch in watches for path in watch.paths}
        found = await self._stamp_files(paths) if paths else {}
        pairs = [pair for pair in self._pairs if pair.watch.has_changed(found)]
        with_authorities = self._authorities.has_changed(found)
        if pairs or with_authorities:
            await self._take_up(pairs, with_authorities)
        now = self._now()
        for pair in self._pairs:
            if why := pair.watch.complaint(now):
                self._refuse(pair.label, why)
        if why := self._authorities.complaint(now):
            self._refuse(self._plan.authorities, why)

    async def _take_up(self, pairs: list[_Pair], with_authorities: bool) -> None:
        request = ReadRequest(
            pairs=tuple(pair.files for pair in pairs),
            password_file=self._plan.password_file,
            authorities=self._plan.authorities if with_authorities else "",
            for_upstreams=self._plan.for_upstreams,
        )
        try:
            answer = await self._read(request)
        except ReadingError as error:
            for watch in [
                *(pair.watch for pair in pairs),
                *([self._authorities] if with_authorities else []),
            ]:
                watch.not_read()
            if self._trouble != str(error):
                self._trouble = str(error)
                self._log.error("changed certificates cannot be read: %s; trying again", error)
            return
        self._trouble = ""
        texts: list[tuple[str, str]] = []  # labels, and what to say of them
        for pair, found in zip(pairs, answer.pairs, strict=True):
            if text := self._judge_pair(pair, found):
                texts.append((pair.label, text))
        if answer.authorities is not None and (text := self._judge_authorities(answer.authorities)):
            texts.append((self._plan.authorities, text))
        for label, text in texts:
            self._reloads[label, RENEWED] += 1
            self._log.info("%s", text)
            revision = self._note("certificate", text)
        if texts:
            self._changed(revision)

    def _judge_pair(self, pair: _Pair, found: ReadPair | Unusable) -> str:
        """Use it if it is good and new; returns what to say then."""
        old = self.certificates[pair.at]
        wall = self._clock.wall()
        if isinstance(found, Unusable):
            pair.watch.bad(found.why, self._now())
            return ""
        new = replaced(found.spec, label=pair.label)
        if pair.is_automatic and pair.label not in new.names:
            pair.watch.bad(f"{pair.files.certificate} is not a certificate for {pair.label}", self._now())
            return ""
        if new.not_after <= wall < old.not_after:
            why = f"{old.label} has expired, on {_day(new.not_after)}; replace it by one that is valid"
            pair.watch.bad(why, self._now())
            return ""
        self._is_good(pair.watch, old.label)
        if new == old:
            return ""
        for warning in found.warnings:
            self._log.warning("%s", warning)
        self._issuers[new.label] = found.issuer
        self._expiry.forget(new.label)
        before, after = self.certificates[: pair.at], self.certificates[pair.at + 1 :]
        self.certificates = (*before, new, *after)
        names = ", ".join(new.names) or "no name"
        what = "issued" if new.label in self.awaited else "renewed"
        self.awaited.discard(new.label)
        return f"certificate {new.label} {what}: {names}, by {found.issuer}, until {_day(new.not_after)}"

    def _judge_authorities(self, found: ReadAuthorities | Unusable) -> str:
        """As `_judge_pair`."""
        if isinstance(found, Unusable):
            self._authorities.bad(found.why, self._now())
            return ""
        self._is_good(self._authorities, self._plan.authorities)
        if found.pem == self.authorities:
            return ""
        for warning in found.warnings:
            self._log.warning("%s", warning)
        self.authorities = found.pem
        whose = "upstreams" if self._plan.for_upstreams else "client certificates"
        return f"authorities of {whose} {self._plan.authorities} replaced"

    def _is_good(self, watch: FileWatch, label: str) -> None:
        if watch.good():
            self._log.info("%s can be used again", label)

    def _refuse(self, label: str, why: str) -> None:
        self._reloads[label, REFUSED] += 1
        served = next((each for each in self.certificates if each.label == label), None)
        until = "" if served is None else f", which ends on {_day(served.not_after)}"
        text = f"changed files of {label} refused: {why}. The old one serves on{until}"
        self._log.error("%s", text)
        self._note("certificate_refused", text)

    def _announce(self) -> None:
        wall = self._clock.wall()
        for certificate in self.certificates:
            if certificate.label in self._plan.automatic and not self._is_late(certificate, wall):
                continue
            days = self._expiry.due(certificate, wall)
            if days is not None:
                self._say_end(certificate, days)

    def _is_late(self, certificate: CertificateSpec, wall: float) -> bool:
        """Whether an automatic one should have been renewed: some live for a few days only."""
        lifetime = certificate.not_after - certificate.not_before
        return certificate.label not in self.awaited and certificate.not_after - wall < lifetime * _LATE

    def _say_end(self, certificate: CertificateSpec, days: int) -> None:
        when, who = _day(certificate.not_after), f"certificate {certificate.label}"
        remedy = "its renewals fail" if certificate.label in self._plan.automatic else "renew it"
        if days:
            within = f"{days} days" if days > 1 else "1 day"
            text = f"{who} expires in less than {within}, on {when}; {remedy}"
        else:
            text = f"{who} has expired, on {when}: {self._whom} refuse it; {remedy}"
        self._log.log(logging.WARNING if days else logging.ERROR, "%s", text)
        self._note("certificate_expiry", text)

    # --- for the admin application

    def views(self) -> list[CertificateView]:
        """All certificates, in their order."""
        return [
            CertificateView(
                name=each.label,
                names=list(each.names),
                issuer=self._issuers.get(each.label, ""),
                not_after=moment(each.not_after),
                problem=problem,
            )
            for each, problem in zip(self.certificates, self._problems(), strict=True)
        ]

    def _problems(self) -> Iterator[str]:
        """Why changed files are not used, by certificate; "" for nothing."""
        by_index = {pair.at: pair.watch.problem for pair in self._pairs}
        yield from (by_index.get(at, "") for at in range(len(self.certificates)))

    def samples(self) -> list[CertificateSample]:
        """What the metrics show."""
        labels = [each.label for each in self.certificates]
        validities = [
            None if each.label in self.awaited else (each.not_before, each.not_after)
            for each in self.certificates
        ]
        if self._plan.authorities:
            labels.append(self._plan.authorities)
            validities.append(None)
        return [
            CertificateSample(
                label, validity, {result: self._reloads[label, result] for result in (RENEWED, REFUSED)}
            )
            for label, validity in zip(labels, validities, strict=True)
        ]

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
