"""One line of the access log (L2): a JSON object of what is known about an exchange at its end.

Much of a line repeats: what a client says about itself in each of its requests, which upstreams there are.
Those parts are rendered once and remembered; a line is made of them and of what is new.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import orjson

from balancer.http.forwarding import Peer
from balancer.http.headers import values_in
from balancer.http.request_head import RequestHead
from balancer.telemetry.log_entry import Entry, TriedInVain

FIELDS: Final[tuple[str, ...]] = (
    "time",
    "client",
    "method",
    "target",
    "protocol",
    "scheme",
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
    "queue",
    "connect",
    "failures",
    "sticky",
    "side",
    "tls",
    "trace_id",
    "source",
)
_MORE: Final = FIELDS[FIELDS.index("referer") + 1 :]  # those that most requests do not have
# Bytes. Longer values are cut: clients choose them, and with the number of queued lines this bounds memory.
MAX_VALUE: Final = 1024
_REMEMBERED: Final = 1024  # parts of each kind; then all are forgotten
_REMEMBERED_CHARS: Final = 512  # longer parts are mostly of a single client
_AGENT_AND_REFERER: Final = (b"user-agent", b"referer")
_NULL: Final = "null"
_SENT_ONCE: Final = ',"attempts":1,"reused":true,"request_bytes":'
# JSON escapes only those below 0x20. A terminal may obey the others, and some readers end a line at 0x85.
_CONTROLS: Final = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
_PAIRS: Final = [f"{number:02d}" for number in range(100)]


KeyT = TypeVar("KeyT")


class LineRenderer:
    """Renders lines with `fields` in the given order; fields without a value are left out.

    The line with all fields of a request that an upstream answered has a short cut, with parts of several
    fields: most lines are such. All others are rendered field by field.
    """

    __slots__ = ("_begins", "_ends", "_fields", "_has_all", "_middles", "_moment", "_moment_ms", "_places",
                 "_second", "_second_text")  # fmt: skip

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(fields)
        self._has_all = self._fields == FIELDS
        # Parts by client and method, by protocol, scheme and Host, by User-Agent and Referer, by route and
        # upstream.
        self._begins: dict[tuple[str, bytes], str] = {}
        self._middles: dict[tuple[int, bytes, bytes], str] = {}
        self._ends: dict[tuple[bytes | None, bytes | None], str] = {}
        self._places: dict[str, dict[str, str]] = {}
        self._moment_ms = -1  # many lines share their millisecond with the previous one, most their second
        self._moment = ""
        self._second = -1
        self._second_text = ""

    def render(self, entry: Entry) -> str:
        """The line, without newline; it has no control characters."""
        moment_ms = int(entry.wall * 1000.0 + 0.5)
        if moment_ms != self._moment_ms:
            self._tell_time(moment_ms)
        head = entry.head
        route = entry.route
        upstream = entry.upstream
        first_byte = entry.first_byte
        if (
            not self._has_all
            or first_byte < 0
            or head is None
            or route is None
            or upstream is None
            or entry.reason is not None
            or entry.tried is not None
            or entry.request_id is None
        ):
            return self._field_by_field(entry)
        logged = head.logged
        if logged is None:
            logged = head.logged = self._of_head(head, entry.peer)
            known = head.known
            if known is not None and known.peer is entry.peer:
                known.logged = logged
        of_route = self._places.get(route)
        place = None if of_route is None else of_route.get(upstream)
        if place is None:
            place = self._of_place(route, entry.pool, upstream)
        sent = _SENT_ONCE
        if entry.attempts != 1 or not entry.reused:
            reused = "true" if entry.reused else "false"
            sent = f',"attempts":{entry.attempts},"reused":{reused},"request_bytes":'
        duration = _seconds(entry.duration)
        # They are the same if the response was read at once.
        first = duration if first_byte == entry.duration else _seconds(first_byte)
        line = (
            f'{{"time":"{self._moment}{logged[0]}{_escaped(head.target)}{logged[1]}{entry.status}{place}{sent}'
            f'{entry.request_bytes},"response_bytes":{entry.response_bytes},"duration":{duration},'
            f'"first_byte":{first},"request_id":"{entry.request_id.decode("ascii")}{logged[2]}'
        )
        return _with_more(line, entry) if entry.has_more else line

    def _field_by_field(self, entry: Entry) -> str:
        values = self.values(entry)
        parts = [f'"{name}":{value}' for name in self._fields if (value := values[name]) != _NULL]
        return f"{{{','.join(parts)}}}"

    def values(self, entry: Entry) -> dict[str, str]:
        """The JSON of every field, null if it has no value."""
        moment_ms = int(entry.wall * 1000.0 + 0.5)
        if moment_ms != self._moment_ms:
            self._tell_time(moment_ms)
        values = _values(entry)
        values["time"] = f'"{self._moment}"'
        return values

    def _tell_time(self, moment_ms: int) -> None:
        """ISO 8601 in UTC."""
        second, ms = moment_ms // 1000, moment_ms % 1000
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._moment_ms = moment_ms
        self._moment = f"{self._second_text}.{_PAIRS[ms // 10]}{ms % 10}Z"

    def _of_head(self, head: RequestHead, peer: Peer) -> tuple[str, str, str]:
        """What is before the target, before the status, and behind the request id."""
        client = (peer.client_address(head), head.method)
        begin = self._begins.get(client)
        if begin is None:
            begin = f'","client":{_json(client[0])},"method":{_quoted(head.method)},"target":"'
            _remember(self._begins, client, begin)
        server = (head.minor, peer.client_scheme(head), head.host)
        middle = self._middles.get(server)
        if middle is None:
            protocol = f'"HTTP/1.{head.minor}","scheme":{_quoted(server[1])}'
            middle = f'","protocol":{protocol},"host":{_quoted(head.host)},"status":'
            _remember(self._middles, server, middle)
        agent, referer = values_in(head.forwarded_block(), _AGENT_AND_REFERER)
        end = self._ends.get((agent, referer))
        if end is None:
            end = '"' if agent is None else f'","user_agent":{_quoted(agent)}'
            end += "}" if referer is None else f',"referer":{_quoted(referer)}}}'
            _remember(self._ends, (agent, referer), end)
        return begin, middle, end

    def _of_place(self, route: str, pool: str | None, upstream: str) -> str:
        of_route = self._places.setdefault(route, {})
        place = f',"route":{_json(route)},"pool":{_json(pool)},"upstream":{_json(upstream)}'
        _remember(of_route, upstream, place)
        return place


def _remember(parts: dict[KeyT, str], key: KeyT, part: str) -> None:
    if len(parts) >= _REMEMBERED:
        parts.clear()
    if len(part) <= _REMEMBERED_CHARS:
        parts[key] = part


def _values(entry: Entry) -> dict[str, str]:
    """The JSON of every field but `time`, null if it has no value."""
    head = entry.head
    agent: bytes | None = None
    referer: bytes | None = None
    if head is not None:
        agent, referer = values_in(head.forwarded_block(), _AGENT_AND_REFERER)
    return {
        "client": _json(entry.peer.address if head is None else entry.peer.client_address(head)),
        "method": _NULL if head is None else _quoted(head.method),
        "target": _NULL if head is None else _quoted(head.target),
        "protocol": f'"HTTP/1.{1 if head is None else head.minor}"',
        "scheme": _quoted(entry.peer.scheme if head is None else entry.peer.client_scheme(head)),
        "host": _NULL if head is None else _quoted(head.host),
        "status": str(entry.status),
        "reason": _json(entry.reason),
        "route": _json(entry.route),
        "pool": _json(entry.pool),
        "upstream": _json(entry.upstream),
        "tried": _json(entry.tried),
        "attempts": str(entry.attempts),
        "reused": "true" if entry.reused else "false",
        "request_bytes": str(entry.request_bytes),
        "response_bytes": str(entry.response_bytes),
        "duration": _seconds(entry.duration),
        "first_byte": _NULL if entry.first_byte < 0 else _seconds(entry.first_byte),
        "request_id": _quoted(entry.request_id),
        "user_agent": _quoted(agent),
        "referer": _quoted(referer),
        **_more(entry),
    }


def _more(entry: Entry) -> dict[str, str]:
    if not entry.has_more:
        return dict.fromkeys(_MORE, _NULL)
    failures = entry.failures
    return {
        "queue": _NULL if entry.queue < 0 else _seconds(entry.queue),
        "connect": _NULL if entry.connect < 0 else _seconds(entry.connect),
        "failures": _NULL if failures is None else f"[{','.join([_in_vain(one) for one in failures])}]",
        "sticky": _json(entry.sticky),
        "side": _json(entry.side),
        "tls": _json(entry.tls or None),
        "trace_id": _quoted(entry.trace_id),
        "source": _json(entry.source),
    }


def _in_vain(one: TriedInVain) -> str:
    after, upstream, reason = one
    return f'{{"upstream":{_json(upstream)},"reason":{_json(reason)},"after":{_seconds(after)}}}'


def _with_more(line: str, entry: Entry) -> str:
    """A line, which ends with a brace, and what else there is."""
    more = "".join([f',"{name}":{value}' for name, value in _more(entry).items() if value != _NULL])
    return f"{line[:-1]}{more}}}"


def _seconds(ns: int) -> str:
    """Rounded to microseconds, as the shortest JSON number of that value."""
    micros = (ns + 500) // 1000
    if micros < 10:
        return f"{micros}e-6" if micros else "0.0"
    whole = "0"
    if micros >= 1_000_000:
        whole = str(micros // 1_000_000)
        micros %= 1_000_000
    text = f"{whole}.{_PAIRS[micros // 10_000]}{_PAIRS[micros // 100 % 100]}{_PAIRS[micros % 100]}"
    if micros % 10:
        return text
    text = text.rstrip("0")
    return text if micros else text + "0"


def _escaped(value: bytes) -> str:
    """Header bytes as the inside of a JSON string: latin-1 maps each byte to one character. A cut value ends
    in three dots."""
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + b"..."
    text = value.decode("latin-1")
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _json(text)[1:-1]


def _quoted(value: bytes | None) -> str:
    return _NULL if value is None else f'"{_escaped(value)}"'


def _json(value: str | list[str] | None) -> str:
    text = orjson.dumps(value).decode()
    return text if text.isprintable() else text.translate(_CONTROLS)
