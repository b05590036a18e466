"""The access log (L2): one tuple per exchange in the worker, one JSON line per exchange on stdout.

The request path pays only for one `append` of raw values. Once per sweep the worker converts the batch to
plain JSON types and sends it to the supervisor, which renders the lines and alone writes to stdout.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final, Protocol, TypeAlias

import orjson

FIELDS: Final[tuple[str, ...]] = (
    "time",
    "client",
    "method",
    "target",
    "protocol",
    "host",
    "status",
    "reason",
    "route",
    "pool",
    "upstream",
    "tried",
    "attempts",
    "reused",
    "request_bytes",
    "response_bytes",
    "duration",
    "first_byte",
    "request_id",
    "user_agent",
    "referer",
)

# In the order of FIELDS: time (seconds since the epoch), client (address without port), method, target,
# protocol (HTTP minor version), host, status (499 if the client left), reason (`Failure.reason`), route,
# pool, upstream, tried (all upstreams tried, if more than one), attempts, reused, request and response bytes,
# duration (ns), first_byte (ns, -1 if there was none), request_id, user_agent, referer.
Record: TypeAlias = tuple[
    float,
    str,
    bytes | None,
    bytes | None,
    int,
    bytes | None,
    int,
    str | None,
    str | None,
    str | None,
    str | None,
    list[str] | None,
    int,
    bool,
    int,
    int,
    int,
    int,
    bytes | None,
    bytes | None,
    bytes | None,
]
# The same as plain JSON types for the control channel: text for bytes, `HTTP/1.1`, and seconds.
PlainRecord: TypeAlias = tuple[
    float,
    str,
    str | None,
    str | None,
    str,
    str | None,
    int,
    str | None,
    str | None,
    str | None,
    str | None,
    list[str] | None,
    int,
    bool,
    int,
    int,
    float,
    float | None,
    str | None,
    str | None,
    str | None,
]

MAX_BATCH: Final = 20_000  # records
# Bytes. Longer values are cut: clients choose them, and with the number of queued lines this bounds memory.
MAX_VALUE: Final = 1024
_NEWLINE: Final = orjson.Fragment(b"\n")


class RecordSink(Protocol):
    """The access log as seen by the request path."""

    enabled: bool  # if False, the caller need not build the record

    @property
    def append(self) -> Callable[[Record], None]:
        """Record one finished exchange. The callable never changes, so it may be kept."""


class AccessLog:
    """The worker's side: collects records between sweeps.

    `sample` is the share of records kept, 0.0 to 1.0; it is applied to the batch, not per exchange.
    """

    __slots__ = ("_batch", "_random", "_sample", "append", "dropped", "enabled")

    def __init__(self, enabled: bool, sample: float, rng: Random) -> None:
        self._batch: list[Record] = []
        self._sample = sample
        self._random = rng
        self.enabled = enabled
        # Bound once to the one list, which `take` empties in place.
        self.append: Callable[[Record], None] = self._batch.append
        self.dropped = 0  # records beyond the cap since the start

    def take(self) -> list[PlainRecord]:
        """Empty the batch and return it in plain types; records over `MAX_BATCH` are dropped and counted."""
        batch = self._batch
        if not batch:
            return []
        surplus = len(batch) - MAX_BATCH
        if surplus > 0:
            self.dropped += surplus
            del batch[MAX_BATCH:]
        kept: Iterable[Record] = batch
        if self._sample < 1.0:
            draw = self._random.random
            kept = [record for record in batch if draw() < self._sample]
        plain = [_plain(record) for record in kept]
        batch.clear()
        return plain


def _plain(record: Record) -> PlainRecord:
    time, client, method, target, protocol, host, status, reason, route, pool, upstream = record[:11]
    tried, attempts, reused, request_bytes, response_bytes, duration, first_byte = record[11:18]
    request_id, agent, referer = record[18:]
    return (
        round(time, 3),
        client,
        _text(method),
        _text(target),
        f"HTTP/1.{protocol}",
        _text(host),
        status,
        reason,
        route,
        pool,
        upstream,
        tried,
        attempts,
        reused,
        request_bytes,
        response_bytes,
        round(duration / 1e9, 6),
        None if first_byte < 0 else round(first_byte / 1e9, 6),
        _text(request_id),
        _text(agent),
        _text(referer),
    )


def _text(value: bytes | None) -> str | None:
    """Header bytes as text: latin-1 maps each byte to one character. A cut value ends in three dots."""
    if value is None:
        return None
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + b"..."
    return value.decode("latin-1")


class Renderer:
    """The supervisor's side: a JSON line per record, with `fields` in the given order, nulls left out.

    `time` becomes ISO 8601 in UTC. Used from one thread.
    """

    __slots__ = ("_columns", "_fields", "_second", "_second_text")

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self._columns = [FIELDS.index(name) for name in fields]
        self._second = -1  # most records share their second with the previous one
        self._second_text = ""

    def render(self, records: Sequence[PlainRecord]) -> bytes:
        """Returns the lines. One `dumps` for all: one per line would take 4 us each instead of 0.5."""
        if not records:
            return b""
        fields, columns = self._fields, self._columns
        lines: list[object] = []
        for record in records:
            shown = (self._moment(record[0]), *record[1:])
            line = {
                name: value
                for name, value in zip(fields, [shown[column] for column in columns], strict=True)
                if value is not None
            }
            lines += (line, _NEWLINE)
        # orjson escapes control bytes in strings, so a newline is always one of ours.
        return orjson.dumps(lines)[1:-1].replace(b",\n,", b"\n").removesuffix(b",\n") + b"\n"

    def _moment(self, time: float) -> str:
        second, milliseconds = divmod(round(time * 1000), 1000)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{self._second_text}.{milliseconds:03d}Z"
