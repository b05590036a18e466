"""One line of the access log (L2): a JSON object of what is known about an exchange at its end.

Much of a line repeats: what a client says about itself in each of its requests, and how most exchanges end.
Those parts are rendered once and remembered; a line is a join of them with what is new.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Final

import orjson

from balancer.http.head import RequestHead
from balancer.http.headers import values_in

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
# Each of these fields is a part of its own, in the order in which `render` makes them.
_OWN: Final = ("time", "client", "target", "request_bytes", "response_bytes", "duration", "first_byte",
               "request_id")  # fmt: skip
# Fields that are the same for all requests with a head that differs in its target at most.
_OF_HEAD: Final = frozenset(["method", "protocol", "host", "user_agent", "referer"])
# The others have few values.

# Bytes. Longer values are cut: clients choose them, and with the number of queued lines this bounds memory.
MAX_VALUE: Final = 1024
_REMEMBERED: Final = 1024  # of each kind of parts; then all are forgotten
_REMEMBERED_CHARS: Final = 512  # longer parts are mostly of a single client
_PAIRS: Final = [f"{number:02d}" for number in range(100)]


class Entry:
    """What is known about an exchange at its end. It may be filled again once its line is rendered.

    `wall` is in seconds since the epoch, `duration` and `first_byte` in ns, `first_byte` is -1 if there was
    none. `client` is an address without port; `head` is None if it was not understood; `status` is 499 if the
    client left; `reason` is a `Failure.reason`; `pool` follows from `route`; `tried` names all upstreams that
    were tried, if these are several; JSON escapes no character of `request_id`.
    """

    __slots__ = ("attempts", "client", "duration", "first_byte", "head", "pool", "reason", "request_bytes",
                 "request_id", "response_bytes", "reused", "route", "status", "tried", "upstream",
                 "wall")  # fmt: skip

    def __init__(self) -> None:
        self.wall = 0.0
        self.client = ""
        self.head: RequestHead | None = None
        self.status = 0
        self.reason: str | None = None
        self.route: str | None = None
        self.pool: str | None = None
        self.upstream: str | None = None
        self.tried: list[str] | None = None
        self.attempts = 0
        self.reused = False
        self.request_bytes = 0
        self.response_bytes = 0
        self.duration = 0
        self.first_byte = -1
        self.request_id: bytes | None = None


class LineRenderer:
    """Renders lines with `fields` in the given order, fields without a value left out.

    A part is one or several `,"name":value`, so that a missing value is an empty part. `_of_heads` and
    `_of_outcomes` are runs of neighbouring fields that are remembered as one part.
    """

    __slots__ = ("_clients", "_heads", "_moment", "_moment_ms", "_of_heads", "_of_outcomes", "_opens",
                 "_outcomes", "_pick", "_second", "_second_text")  # fmt: skip

    def __init__(self, fields: Sequence[str]) -> None:
        """`fields`: at least one of FIELDS."""
        self._of_heads = _runs(fields, _OF_HEAD)
        self._of_outcomes = _runs(fields, frozenset(FIELDS) - _OF_HEAD - frozenset(_OWN))
        # The parts in the order in which `render` makes them, each named by its first field.
        made = [*_OWN, *(run[0] for run in self._of_heads), *(run[0] for run in self._of_outcomes)]
        order = [made.index(name) for name in fields if name in made]
        # The closing brace is the last part, so there are always two, and the result is a tuple.
        self._pick: Callable[[list[str]], tuple[str, ...]] = itemgetter(*order, len(made))
        # A part begins with a comma, except the first one of the line. If that may be missing, the first
        # comma is replaced when the line is complete.
        self._opens = fields[0] == "time"
        self._clients: dict[str, str] = {}
        self._heads: dict[tuple[bytes, int, bytes, bytes | None, bytes | None], tuple[str, ...]] = {}
        self._outcomes: dict[tuple[int, str | None, str | None, str | None, int, bool], tuple[str, ...]] = {}
        self._moment_ms = -1  # many lines share their millisecond with the previous one, most their second
        self._moment = ""
        self._second = -1
        self._second_text = ""

    def render(self, entry: Entry) -> str:
        """The line, without newline; it has no control characters."""
        head = entry.head
        if head is None:
            target = ""
            of_head = self._no_head()
        else:
            target = f',"target":"{_escaped(head.target)}"'
            logged = head.logged
            if logged is None:
                logged = head.logged = self._of_head(head)
            of_head = logged
        client = self._clients.get(entry.client)
        if client is None:
            client = self._of_client(entry.client)
        moment_ms = int(entry.wall * 1000.0 + 0.5)
        if moment_ms != self._moment_ms:
            self._tell_time(moment_ms)
        duration = _seconds(entry.duration)
        first_byte = ""
        if entry.first_byte >= 0:
            same = entry.first_byte == entry.duration
            first_byte = f',"first_byte":{duration if same else _seconds(entry.first_byte)}'
        request_id = "" if entry.request_id is None else f',"request_id":"{entry.request_id.decode("ascii")}"'
        parts = [
            self._moment,
            client,
            target,
            f',"request_bytes":{entry.request_bytes}',
            f',"response_bytes":{entry.response_bytes}',
            f',"duration":{duration}',
            first_byte,
            request_id,
        ]
        parts += of_head
        parts += self._of_outcome(entry)
        parts.append("}")
        line = "".join(self._pick(parts))
        return line if self._opens else "{" + line[line[0] == "," :]

    def _tell_time(self, moment_ms: int) -> None:
        """ISO 8601 in UTC."""
        second = moment_ms // 1000
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        opening = "{" if self._opens else ","
        self._moment_ms = moment_ms
        self._moment = f'{opening}"time":"{self._second_text}.{moment_ms % 1000:03d}Z"'

    def _of_client(self, address: str) -> str:
        part = f',"client":{_json(address)}'
        if len(self._clients) >= _REMEMBERED:
            self._clients.clear()
        self._clients[address] = part
        return part

    def _of_head(self, head: RequestHead) -> tuple[str, ...]:
        agent, referer = values_in(head.forwarded_block(), (b"user-agent", b"referer"))
        key = (head.method, head.minor, head.host, agent, referer)
        parts = self._heads.get(key)
        if parts is None:
            values = {
                "method": _quoted(head.method),
                "protocol": f'"HTTP/1.{head.minor}"',
                "host": _quoted(head.host),
                "user_agent": _quoted(agent),
                "referer": _quoted(referer),
            }
            parts = _rendered(self._of_heads, values)
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            if sum([len(part) for part in parts]) <= _REMEMBERED_CHARS:
                self._heads[key] = parts
        return parts

    def _no_head(self) -> tuple[str, ...]:
        return _rendered(self._of_heads, {"protocol": '"HTTP/1.1"'})

    def _of_outcome(self, entry: Entry) -> tuple[str, ...]:
        if entry.tried is not None:
            return self._new_outcome(entry)
        key = (entry.status, entry.reason, entry.route, entry.upstream, entry.attempts, entry.reused)
        parts = self._outcomes.get(key)
        if parts is None:
            parts = self._new_outcome(entry)
            if len(self._outcomes) >= _REMEMBERED:
                self._outcomes.clear()
            self._outcomes[key] = parts
        return parts

    def _new_outcome(self, entry: Entry) -> tuple[str, ...]:
        values = {
            "status": str(entry.status),
            "reason": _json(entry.reason),
            "route": _json(entry.route),
            "pool": _json(entry.pool),
            "upstream": _json(entry.upstream),
            "tried": _json(entry.tried),
            "attempts": str(entry.attempts),
            "reused": "true" if entry.reused else "false",
        }
        return _rendered(self._of_outcomes, values)


def _runs(fields: Sequence[str], group: frozenset[str]) -> list[list[str]]:
    """The fields of `group`, neighbours together."""
    runs: list[list[str]] = []
    follows = False
    for name in fields:
        if name in group:
            if not follows:
                runs.append([])
            runs[-1].append(name)
        follows = name in group
    return runs


def _rendered(runs: list[list[str]], values: dict[str, str]) -> tuple[str, ...]:
    """`values` are JSON; one that is missing or null is left out."""
    return tuple(
        [
            "".join([f',"{name}":{value}' for name in run if (value := values.get(name, "null")) != "null"])
            for run in runs
        ]
    )


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
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _json(text)[1:-1]


def _quoted(value: bytes | None) -> str:
    return "null" if value is None else f'"{_escaped(value)}"'


def _json(value: str | list[str] | None) -> str:
    return orjson.dumps(value).decode()
