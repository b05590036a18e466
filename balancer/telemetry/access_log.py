"""The access log (L2): one tuple per exchange in the worker, one JSON line per exchange on stdout.

The request path pays for a single `append` of raw values. Once per sweep the worker turns the batch into
plain JSON types and sends it up; the supervisor, which alone writes stdout, makes the lines.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol, TypeAlias

import orjson

FIELDS: tuple[str, ...] = (
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
# protocol (HTTP minor version), host, status (499 where the client left), reason (`Failure.reason`), route,
# pool, upstream, attempts, reused, request and response bytes, duration (ns), first_byte (ns, -1 where none
# came), request_id, user_agent, referer.
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
# The same as plain JSON types, as it goes over the control channel.
PlainRecord: TypeAlias = list[float | int | bool | str | None]

MAX_BATCH = 20_000


class RecordSink(Protocol):
    """What the request path sees of the access log."""

    enabled: bool  # where False, the caller need not build the record

    @property
    def append(self) -> Callable[[Record], None]:
        """Take one finished exchange; the callable never changes, so it may be kept."""


class AccessLog:
    """The worker's side: collects records between two sweeps.

    `sample` is the share of records kept, 0.0 to 1.0; it is applied to the batch, not per exchange.
    """

    __slots__ = ("_batch", "_random", "_sample", "append", "dropped", "enabled")

    def __init__(self, enabled: bool, sample: float, rng: Random) -> None:
        self._batch: list[Record] = []
        self._sample = sample
        self._random = rng
        self.enabled = enabled
        # Bound once and for all to the one list, which `take` empties in place.
        self.append: Callable[[Record], None] = self._batch.append
        self.dropped = 0  # records lost to the cap since the start

    def take(self) -> list[PlainRecord]:
        """Empty the batch and give it in plain types; beyond `MAX_BATCH` records are counted and lost."""
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
    attempts, reused, request_bytes, response_bytes, duration, first_byte = record[11:17]
    request_id, agent, referer = record[17:]
    return [
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
        attempts,
        reused,
        request_bytes,
        response_bytes,
        round(duration / 1e9, 6),
        None if first_byte < 0 else round(first_byte / 1e9, 6),
        _text(request_id),
        _text(agent),
        _text(referer),
    ]


def _text(value: bytes | None) -> str | None:
    """Header bytes as text that loses nothing: latin-1 maps each byte to one character."""
    return None if value is None else value.decode("latin-1")


def render(records: Sequence[PlainRecord], fields: Sequence[str]) -> bytes:
    """The supervisor's side: a JSON line per record, with `fields` in the order given, nulls left out.

    `time` becomes ISO 8601 in UTC. What is no valid JSON text cannot occur: orjson escapes control bytes.
    """
    columns = [(name, FIELDS.index(name)) for name in fields]
    lines = []
    for record in records:
        line: dict[str, Any] = {}
        for name, column in columns:
            value = record[column]
            if value is not None:
                line[name] = value
        if "time" in line:
            moment = datetime.fromtimestamp(line["time"], UTC)
            line["time"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(lines)
