"""Upstreams from one's own source (L5): follows it, and starts it again if it fails."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from functools import partial

from balancer.clock import Clock
from balancer.discovery.addresses import members_in
from balancer.discovery.base import MemberSource
from balancer.discovery.entry import Aside, EntrySource, MembersSink
from balancer.discovery.source import TIMEOUT
from balancer.policies.plugins import PluginError, described
from balancer.spec.instance import OwnSourceSpec

FIRST_PAUSE = 1.0  # seconds until it is started again; doubled each time until it reports something
LONGEST_PAUSE = 30.0


class _FailedError(Exception):
    """The source has failed: the reason in a few words."""


class OwnSource(EntrySource):
    """One entry of a pool that an installed source serves. What the source raises ends neither discovery nor
    the instance; what the sink raises does."""

    fails = "fails"
    works = "works again"

    def __init__(
        self,
        pool: str,
        spec: OwnSourceSpec,
        sink: MembersSink,
        log: logging.Logger,
        clock: Clock,
        build: Callable[[str], MemberSource],
        aside: Aside,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(pool, spec.id, sink, log, clock, timeout)
        self._spec = spec
        self._build = build
        self._aside = aside
        self._pause = FIRST_PAUSE

    async def follow(self) -> None:
        """Watch it, and anew after each failure."""
        while True:
            try:
                await self._watch()
            except _FailedError as error:
                self.failed(f"{error}; started again")
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _watch(self) -> None:
        try:
            source = await self._aside("build", partial(self._build, self._spec.id))
            reports = source.watch()
            if not isinstance(reports, AsyncIterator):
                if isinstance(reports, Coroutine):
                    reports.close()
                raise _FailedError("watch() is no async generator; it must yield lists of upstreams")
        except _FailedError:
            raise
        except PluginError as error:
            raise _FailedError(str(error)) from error
        except (Exception, SystemExit) as error:
            raise _FailedError(described(error)) from error
        try:
            while True:
                self._take(await _next(reports))
        finally:
            if isinstance(reports, AsyncGenerator):
                with suppress(Exception, SystemExit):
                    await reports.aclose()

    def _take(self, report: list[str]) -> None:
        try:
            members = members_in(report, self._spec.server_name)
        except ValueError as error:
            self.failed(str(error))  # it may correct that in its next report
        else:
            self._pause = FIRST_PAUSE
            self.found(members)


async def _next(reports: AsyncIterator[Iterable[str]]) -> list[str]:
    """Its next report. Raises _FailedError."""
    try:
        return list(await anext(reports))
    except StopAsyncIteration:
        raise _FailedError("watch() has ended; it must go on until it is cancelled") from None
    except (Exception, SystemExit) as error:
        raise _FailedError(described(error)) from error
