"""The supervisor's part in tracing (L7): takes workers' records, and has them sent while traces are on."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from balancer import __version__
from balancer.messages import Traces
from balancer.runtime.span_sender import Batching, Exporter, SpanSender
from balancer.spec.worker import WorkerSpec

FLUSH: Final = 2.0  # seconds that the last spans may take at exit
# Seconds for which a thread may keep the interpreter's lock while the event loop waits for it. By default it
# is 5 ms, which each wake-up of the loop would take longer while spans are encoded.
_SWITCH: Final = 0.001


def open_otlp(name: str) -> Exporter:
    """Called in the sender's thread."""
    from balancer.telemetry.otlp import Otlp

    return Otlp(name, __version__)


class Tracer:
    """On and off by `settle`. Counts go on over that."""

    def __init__(
        self,
        log: logging.Logger,
        loop: asyncio.AbstractEventLoop,
        open_exporter: Callable[[str], Exporter] = open_otlp,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._log = log
        self._loop = loop
        self._open_exporter = open_exporter
        self._batching = Batching.of(environ)
        self._sender: SpanSender | None = None
        self._former: list[SpanSender] = []
        self._untaken = 0  # spans that workers have dropped, or that came while traces were off

    def settle(self, spec: WorkerSpec) -> None:
        """Traces are on or off by this spec from now on."""
        if spec.traces is not None and self._sender is None:
            sys.setswitchinterval(_SWITCH)
            self._sender = SpanSender(partial(self._open_exporter, spec.via), self._batching, self._say)
        elif spec.traces is None and self._sender is not None:
            self._sender.end()
            self._former.append(self._sender)
            self._sender = None

    def take(self, message: Traces) -> None:
        """What a worker has traced."""
        self._untaken += message.dropped
        if self._sender is not None:
            self._sender.put(message.records)
        else:  # of a predecessor, which drains
            self._untaken += sum(1 + len(one.attempts) for one in message.records)

    def counts(self) -> dict[str, int]:
        """Spans by result, since the start."""
        senders = [*self._former, *([] if self._sender is None else [self._sender])]
        return {
            "exported": sum(one.exported for one in senders),
            "dropped": sum(one.dropped for one in senders) + self._untaken,
            "failed": sum(one.failed for one in senders),
        }

    async def close(self) -> None:
        """Send what is queued, for FLUSH at most."""
        if self._sender is not None:
            lost = await asyncio.to_thread(self._sender.close, FLUSH)
            if lost:
                self._log.warning("the last %d spans are lost: the collector did not take them in time", lost)

    def _say(self, problem: str) -> None:
        """Called in the sender's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._report, problem)

    def _report(self, problem: str) -> None:
        if problem:
            self._log.error(
                "spans cannot be sent to the collector: %s; they are lost until it takes them", problem
            )
        else:
            self._log.info("the collector takes spans again")
