"""Sends spans in a thread of its own (L7): a collector that is slow or away costs spans, and nothing else.

Records wait in a bounded queue. The thread takes a batch at a time, makes spans of it, and sends them. Then
it rests as long as it has worked, as it shares the interpreter's lock with the event loop.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from balancer.spec.traced import TracedRequest
from balancer.telemetry.spans import Span, count, spans

_LONGEST_REST: Final = 1.0  # seconds


class Exporter(Protocol):
    """What it needs from `telemetry.otlp`."""

    def export(self, spans: Sequence[Span]) -> str:
        """Send them; returns why that has failed, "" if it has not."""

    def hurry(self) -> None:
        """Give up what is not sent at the first try; called in another thread."""


@dataclass(frozen=True)
class Batching:
    """By the variables `OTEL_BSP_*`: spans that may wait, spans of a batch, and seconds until fewer are sent.

    There is more room than the specification has (2,048): workers hand over theirs four times a second."""

    room: int = 16_384
    size: int = 512
    delay: float = 5.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Batching":
        """Values that are no positive numbers count as unset."""
        size = _number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", cls.size)
        room = _number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", cls.room)
        delay = _number(environ, "OTEL_BSP_SCHEDULE_DELAY", round(cls.delay * 1000)) / 1000
        return cls(room, min(size, room), delay)


def _number(environ: Mapping[str, str], name: str, otherwise: int) -> int:
    text = environ.get(name, "").strip()
    return int(text) if text.isdecimal() and int(text) else otherwise


class SpanSender:
    """`put` and `close` are called on the event loop, or when it has ended; the counts, of spans, may be read
    there too."""

    def __init__(
        self, open_exporter: Callable[[], Exporter], batching: Batching, say: Callable[[str], None]
    ) -> None:
        """`open_exporter` is called in the thread, when there is a span. `say` too: with a sentence when
        sending fails for the first time, and with "" when it works again."""
        self._open = open_exporter
        self._batching = batching
        self._say = say
        self._exporter: Exporter | None = None
        self._changed = threading.Condition()
        self._queue: deque[TracedRequest] = deque()
        self._waiting = 0  # spans in it
        self._closing = False
        self._is_failing = False
        self.exported = self.failed = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[TracedRequest]) -> None:
        """Send these soon; those that there is no room for are dropped."""
        with self._changed:
            for record in records:
                number = count(record)
                if self._waiting + number > self._batching.room or self._closing:
                    self.dropped += number
                else:
                    self._waiting += number
                    self._queue.append(record)
            if self._waiting >= self._batching.size:
                self._changed.notify()

    def end(self) -> None:
        """Send what is queued and end, without waiting for that."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def close(self, timeout: float) -> int:
        """`end`, and wait for that for at most `timeout` seconds. Returns how many spans are lost: they count
        as dropped."""
        self.end()
        self._thread.join(timeout)
        with self._changed:
            lost, self._waiting = self._waiting, 0
            self._queue.clear()
            self.dropped += lost
        if self._thread.is_alive() and self._exporter is not None:
            self._exporter.hurry()
        return lost

    def _run(self) -> None:
        while batch := self._next():
            began = time.thread_time()
            self._send(batch)
            rest = min(time.thread_time() - began, _LONGEST_REST)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, rest)

    def _next(self) -> list[TracedRequest]:
        """A batch, as soon as it is full or the delay has passed; empty if this is the end."""
        size = self._batching.size
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait_for(lambda: self._closing or self._waiting >= size, self._batching.delay)
            batch: list[TracedRequest] = []
            spans = 0
            while self._queue and (not batch or spans + count(self._queue[0]) <= size):
                spans += count(self._queue[0])
                batch.append(self._queue.popleft())
            self._waiting -= spans
            return batch

    def _send(self, batch: Sequence[TracedRequest]) -> None:
        all_spans = [span for record in batch for span in spans(record)]
        try:
            if self._exporter is None:
                self._exporter = self._open()
            problem = self._exporter.export(all_spans)
        except Exception as error:  # a variable that makes no sense, or a bug: requests must not suffer
            problem = f"{type(error).__name__}: {error}"
        with self._changed:
            if problem:
                self.failed += len(all_spans)
            else:
                self.exported += len(all_spans)
        if bool(problem) is not self._is_failing:
            self._is_failing = bool(problem)
            self._say(problem)
