"""Upstreams listed in a file (L5): `file:///etc/balancer/members.yaml`, read again whenever it changes.

What changed is seen by stat, not by inotify: docs/decisions/0112-changed-certificates.md has the reasons.
"""

import asyncio
import logging
import os
import stat
from functools import partial

from balancer.clock import Clock
from balancer.config.file_stamps import stamps
from balancer.config.file_watch import FileWatch
from balancer.config.json_text import from_json
from balancer.discovery.addresses import members_in
from balancer.discovery.entry import Aside, EntrySource, MembersSink
from balancer.discovery.member import Member
from balancer.discovery.source import TIMEOUT
from balancer.spec.instance import MembersFileSpec

LOOK = 1.0  # seconds from one look at the file to the next
MOST_BYTES = 1 << 20
_EXAMPLE = '["10.0.0.2:8000", "10.0.0.3:8000?weight=2"]'


class MembersFile(EntrySource):
    """One `file://` entry of a pool. What cannot be used is reported if it stays so for a few seconds: not
    every program writes a file in one step."""

    def __init__(
        self,
        pool: str,
        spec: MembersFileSpec,
        sink: MembersSink,
        log: logging.Logger,
        clock: Clock,
        aside: Aside,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(pool, spec.id, sink, log, clock, timeout)
        self._spec = spec
        self._clock = clock
        self._aside = aside
        self._watch = FileWatch((spec.path,), {})
        self._watch.not_read()

    async def follow(self) -> None:
        """Look at it every second; a look that takes longer is followed by the next."""
        while True:
            try:
                await self._look()
            except RuntimeError as error:  # no thread can be started
                self._watch.not_read()
                self.failed(str(error))
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        path = self._spec.path
        if self._watch.has_changed(await self._aside("look", partial(stamps, [path]))):
            try:
                members = await self._aside("read", partial(read, path, self._spec.server_name))
            except RuntimeError:
                raise
            except Exception as error:
                why = _why_not(error)
                if not self.asked.is_set():
                    self.failed(why)
                self._watch.bad(why, self._now())
            else:
                self._watch.good()
                self._members = members
        if why := self._watch.complaint(self._now()):
            self.failed(why)
        elif self._watch.is_good:
            self.found(self._members)

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9


def read(path: str, server_name: str) -> tuple[Member, ...]:
    """The members that the file lists. Blocks. Raises OSError, or ValueError with a sentence."""
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is no regular file; name the file with the list")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"is longer than {MOST_BYTES >> 20} MiB; list fewer upstreams")
    return members_in(_list_in(content), server_name)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # nobody may write to a FIFO


def _list_in(content: bytes) -> list[object]:
    try:
        found = from_json(content.decode(), "")
    except ValueError:
        from balancer.config.yaml_text import read_yaml  # here: 1.4 MiB that lists in JSON do not need

        try:
            found = read_yaml(content)
        except ValueError as error:
            raise ValueError(str(error).lstrip(":, ")) from None
    if isinstance(found, list):
        return found
    if found is None:
        raise ValueError(f"is empty; write [] for no upstream, or a list such as {_EXAMPLE}")
    raise ValueError(f"is no list; write one such as {_EXAMPLE}")


def _why_not(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{(error.strerror or str(error)).lower()}; correct the path or mount the file"
    return str(error) or type(error).__name__
