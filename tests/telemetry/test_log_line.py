"""A line of the access log: what the fields mean, and that no value breaks it."""

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.forwarding import Forwarding, Peer
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.syntax import is_request_id
from balancer.telemetry.log_entry import Entry
from balancer.telemetry.log_line import FIELDS, MAX_VALUE, LineRenderer

HEAD = (
    b"GET /a?b HTTP/1.1\r\nHost: example.com\r\nuser-agent: curl/8\r\n"
    b"X-User-Agent: other\r\nAccept: user-agent: no\r\n\r\n"
)


def head_of(raw: bytes = HEAD) -> RequestHead:
    return parse_request_head(raw, 65_536, 100)


def peer_at(address: str) -> Peer:
    return Forwarding([]).peer(address)


def entry_of(**changes: Any) -> Entry:
    entry = Entry()
    values = {
        "wall": 1_700_000_000.1239,
        "peer": peer_at("192.0.2.7"),
        "head": head_of(),
        "status": 200,
        "route": "default",
        "pool": "default",
        "upstream": "app1:8000",
        "attempts": 1,
        "reused": True,
        "request_bytes": 12,
        "response_bytes": 3456,
        "duration": 1_500_000,
        "first_byte": 900_000,
        "request_id": b"id-1",
    }
    for name, value in {**values, **changes}.items():
        setattr(entry, name, value)
    return entry


def refusal() -> Entry:
    entry = Entry()
    entry.wall = 1_700_000_000.0
    entry.peer, entry.status, entry.reason = peer_at("192.0.2.7"), 400, "malformed_request"
    entry.response_bytes = 97
    return entry


def line(entry: Entry, fields: Sequence[str] = FIELDS) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(LineRenderer(fields).render(entry))
    return shown


def expected(entry: Entry, fields: Sequence[str] = FIELDS) -> str:
    """The line, field by field."""
    head = entry.head
    moment = datetime.fromtimestamp(round(entry.wall * 1000) // 1000, UTC)
    values: dict[str, object] = {
        "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{round(entry.wall * 1000) % 1000:03d}Z",
        "client": entry.peer.address,
        "method": None if head is None else _text(head.method),
        "target": None if head is None else _text(head.target),
        "protocol": f"HTTP/1.{1 if head is None else head.minor}",
        "scheme": "http",
        "host": None if head is None else _text(head.host),
        "status": entry.status,
        "reason": entry.reason,
        "route": entry.route,
        "pool": entry.pool,
        "upstream": entry.upstream,
        "tried": entry.tried,
        "attempts": entry.attempts,
        "reused": entry.reused,
        "request_bytes": entry.request_bytes,
        "response_bytes": entry.response_bytes,
        "duration": round(entry.duration / 1e9, 6),
        "first_byte": None if entry.first_byte < 0 else round(entry.first_byte / 1e9, 6),
        "request_id": _text(entry.request_id),
        "user_agent": None if head is None else _text(head.find(b"user-agent")),
        "referer": None if head is None else _text(head.find(b"referer")),
        "queue": None if entry.queue < 0 else round(entry.queue / 1e9, 6),
        "connect": None if entry.connect < 0 else round(entry.connect / 1e9, 6),
        "failures": entry.failures
        and [
            {"upstream": upstream, "reason": reason, "after": round(after / 1e9, 6)}
            for after, upstream, reason in entry.failures
        ],
        "sticky": entry.sticky,
        "side": entry.side,
        "tls": entry.tls or None,
        "trace_id": _text(entry.trace_id),
        "source": entry.source,
    }
    text = orjson.dumps({name: values[name] for name in fields if values[name] is not None}).decode()
    return "".join(f"\\u00{ord(one):02x}" if "\x7f" <= one <= "\x9f" else one for one in text)


def _text(value: bytes | None) -> str | None:
    if value is not None and len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + b"..."
    return None if value is None else value.decode("latin-1")


def test_an_entry_becomes_a_json_object() -> None:
    assert LineRenderer(FIELDS).render(entry_of()) == (
        '{"time":"2023-11-14T22:13:20.124Z","client":"192.0.2.7","method":"GET","target":"/a?b",'
        '"protocol":"HTTP/1.1","scheme":"http","host":"example.com","status":200,"route":"default",'
        '"pool":"default","upstream":"app1:8000","attempts":1,"reused":true,"request_bytes":12,"response_bytes":3456,'
        '"duration":0.0015,"first_byte":0.0009,"request_id":"id-1","user_agent":"curl/8"}'
    )


def test_unknown_fields_are_omitted() -> None:
    assert line(refusal()).keys() == {
        *("time", "client", "protocol", "scheme", "status", "reason", "attempts", "reused"),
        *("request_bytes", "response_bytes", "duration"),
    }


def test_tried_is_a_list() -> None:
    tried = ["app1:8000", "app2:8000"]
    assert line(entry_of(tried=tried, attempts=2))["tried"] == tried


ORDERS: dict[str, tuple[str, ...]] = {
    "time is not the first": ("status", "client", "time"),
    "time is the last": ("client", "time"),
    "the first one has no value": ("reason", "status"),
    "the only one has no value": ("referer",),
    "one": ("target",),
    "runs of neighbours": ("host", "method", "status", "protocol", "route", "pool", "request_id", "upstream"),
    "backwards": FIELDS[::-1],
}


@pytest.mark.parametrize("order", ORDERS)
def test_only_the_chosen_fields_are_written_in_order(order: str) -> None:
    renderer = LineRenderer(ORDERS[order])
    for entry in (entry_of(), refusal(), entry_of()):
        assert renderer.render(entry) == expected(entry, ORDERS[order])


@pytest.mark.parametrize(
    ("ns", "seconds"),
    [
        (0, "0.0"),
        (499, "0.0"),
        (501, "1e-6"),
        (9_400, "9e-6"),
        (99_999, "0.0001"),
        (100_000, "0.0001"),
        (1_234_000, "0.001234"),
        (120_000_000, "0.12"),
        (999_999_600, "1.0"),
        (1_000_000_000, "1.0"),
        (1_000_001_000, "1.000001"),
        (86_400_000_000_000, "86400.0"),
    ],
)
def test_durations_are_in_seconds(ns: int, seconds: str) -> None:
    assert f'"duration":{seconds},' in LineRenderer(FIELDS).render(entry_of(duration=ns))


VALUES = [b"},\n,{", b'/"\\', b"/\n{}", b"/\x00\x1f", b"\x7f", b"\t", bytes(range(128, 256)), b"x" * 2000]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_no_bytes_of_a_client_break_the_line(value: bytes) -> None:
    head = head_of()
    head.method = head.target = head.host = value
    head.lines = [
        b"User-Agent: x" + value.replace(b"\n", b""),
        b"REFERER:" + value.replace(b"\n", b"") + b"y ",
    ]
    entry = entry_of(head=head, peer=peer_at(value.decode("latin-1")), upstream=value.decode("latin-1"))
    text = LineRenderer(FIELDS).render(entry)
    assert text == expected(entry)
    assert not any(unicodedata.category(character) == "Cc" for character in text)
    assert json.loads(text)["target"] == _text(value)


def test_a_request_id_is_written_as_it_is() -> None:
    """So no character that JSON escapes may be in one."""
    allowed = bytes(byte for byte in range(256) if is_request_id(bytes([byte])))
    assert len(allowed) > 60
    assert json.loads(f'"{allowed.decode("ascii")}"') == allowed.decode("ascii")
    assert line(entry_of(request_id=allowed))["request_id"] == allowed.decode("ascii")


def test_long_values_are_cut() -> None:
    """Otherwise a client with a large User-Agent could fill the memory while stdout is blocked."""
    head = head_of()
    head.lines = [b"User-Agent:" + b"x" * (MAX_VALUE + 1), b"Referer: " + b"y" * MAX_VALUE]
    shown = line(entry_of(head=head))
    assert shown["user_agent"] == "x" * MAX_VALUE + "..."
    assert shown["referer"] == "y" * MAX_VALUE


# --- what is remembered


def test_a_repeated_head_with_another_target_has_its_own_line() -> None:
    renderer = LineRenderer(FIELDS)
    head = head_of()
    for target in (b"/a", b"/b", b'/"'):
        head.target = target
        entry = entry_of(head=head)
        assert renderer.render(entry) == expected(entry)


@pytest.mark.parametrize("count", [3, 2500])
def test_what_is_remembered_never_shows_in_another_line(count: int) -> None:
    renderer = LineRenderer(FIELDS)
    for number in [*range(count), *range(3)]:
        entry = entry_of(
            head=head_of(b"GET / HTTP/1.%d\r\nHost: h%d\r\nUser-Agent: u\r\n\r\n" % (number % 2, number)),
            peer=peer_at(f"192.0.2.{number}"),
            upstream=f"app{number}",
            status=200 + number % 300,
            wall=1_700_000_000 + number / 7,
        )
        assert renderer.render(entry) == expected(entry)


FIELD_VALUES = st.binary(max_size=20).map(lambda value: value.replace(b"\r", b"").replace(b"\n", b""))
NS = st.integers(0, 10**14).map(lambda ns: ns + (ns % 1000 == 500))  # no ties
NAMES = st.none() | st.text(st.characters(codec="utf-8"), max_size=5)
ENTRIES = st.fixed_dictionaries(
    {
        "wall": st.integers(0, 4 * 10**12).map(lambda ms: ms / 1000),
        "peer": st.text(st.characters(codec="utf-8", exclude_characters=":"), max_size=9).map(peer_at),
        "status": st.integers(100, 999),
        "reason": st.none() | NAMES,
        "upstream": NAMES,
        "tried": st.none() | st.none() | st.lists(st.text(max_size=3), min_size=2, max_size=3),
        "attempts": st.integers(0, 3),
        "reused": st.booleans(),
        "request_bytes": st.integers(0, 2**63),
        "response_bytes": st.integers(0, 2**63),
        "duration": NS.filter(lambda ns: ns >= 9_500),
        "first_byte": st.just(-1) | NS.filter(lambda ns: ns >= 9_500),
        "request_id": st.none() | st.just(b"a"),
    }
)
MORE = st.fixed_dictionaries(
    {
        "has_more": st.just(True),
        "queue": st.just(-1) | NS.filter(lambda ns: ns >= 9_500),
        "connect": st.just(-1) | NS.filter(lambda ns: ns >= 9_500),
        "failures": st.none()
        | st.lists(
            st.tuples(
                NS.filter(lambda ns: ns >= 9_500), st.sampled_from(["app1:80", 'a"b']), st.just("refused")
            ),
            min_size=1,
            max_size=2,
        ),
        "sticky": st.none() | st.just("hit"),
        "side": st.none() | st.just("canary"),
        "tls": st.sampled_from(["", "TLSv1.3"]),
        "trace_id": st.none() | st.just(b"0af7651916cd43dd8448eb211c80319c"),
        "source": st.none() | st.just("upstream"),
    }
)


ORDERED = st.just(FIELDS) | st.permutations(FIELDS).flatmap(
    lambda order: st.integers(1, len(FIELDS)).map(lambda count: tuple(order[:count]))
)


@given(
    st.lists(
        st.tuples(
            st.builds(dict.__or__, ENTRIES, st.just({}) | MORE), FIELD_VALUES, FIELD_VALUES, FIELD_VALUES
        ),
        max_size=4,
    ),
    ORDERED,
)
def test_any_entries_with_any_fields(
    made: list[tuple[dict[str, Any], bytes, bytes, bytes]], fields: tuple[str, ...]
) -> None:
    renderer = LineRenderer(fields)
    for values, target, host, agent in made:
        head = head_of()
        head.target, head.host = target, host
        head.lines = [b"Accept: x", b"User-Agent: " + agent, b"Referer:" + target]
        entry = entry_of(**values, head=head)
        assert renderer.render(entry) == expected(entry, fields)
