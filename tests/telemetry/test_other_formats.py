"""Lines in logfmt and in the combined format: no bytes of a client break them."""

import json
import re
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.http.forwarding import Forwarding
from balancer.http.request_head import parse_request_head
from balancer.telemetry.combined_line import CombinedRenderer
from balancer.telemetry.log_entry import Entry
from balancer.telemetry.log_line import FIELDS, MAX_VALUE, LineRenderer
from balancer.telemetry.logfmt_line import LogfmtRenderer

# As nginx documents it; a quoted part has no quote in it.
COMBINED = re.compile(
    r'(\S+) - - \[(\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} \+0000)\] "([^"]*)" (\d{3}) (\d+) '
    r'"([^"]*)" "([^"]*)"'
)
LOGFMT = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^\s"=\\]+)')
HOSTILE = st.binary(max_size=60)


def entry_of(target: bytes = b"/a?b", agent: bytes = b"curl/8", referer: bytes | None = None) -> Entry:
    entry = Entry()
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", 65_536, 100)
    head.target = target
    head.lines = [b"User-Agent: " + agent]
    if referer is not None:
        head.lines.append(b"Referer: " + referer)
    entry.wall = 1_700_000_000.1239
    entry.peer = Forwarding([]).peer("192.0.2.7")
    entry.head = head
    entry.status = 200
    entry.route = entry.pool = "default"
    entry.upstream = "app1:8000"
    entry.attempts = 1
    entry.response_bytes = 3456
    entry.duration = 1_500_000
    return entry


def logfmt(line: str) -> dict[str, str]:
    """As parsers of logfmt read it."""
    found = {}
    at = 0
    while at < len(line):
        match = LOGFMT.match(line, at)
        assert match is not None, line[at:]
        value = match[2]
        found[match[1]] = json.loads(value) if value[0] == '"' else value
        at = match.end()
        assert line[at : at + 1] in ("", " ")
        at += 1
    return found


def test_a_line_of_logfmt() -> None:
    assert LogfmtRenderer(("time", "method", "target", "status", "user_agent", "duration")).render(
        entry_of(agent=b"Mozilla/5.0 (X11)")
    ) == (
        'time=2023-11-14T22:13:20.124Z method=GET target="/a?b" status=200 user_agent="Mozilla/5.0 (X11)" '
        "duration=0.0015"
    ).replace('"/a?b"', "/a?b")


def test_a_list_is_quoted_json() -> None:
    entry = entry_of()
    entry.has_more = True
    entry.failures = [(2_000_000, 'a"1:80', "connect_refused")]
    shown = logfmt(LogfmtRenderer(("status", "failures")).render(entry))
    assert json.loads(shown["failures"]) == [
        {"upstream": 'a"1:80', "reason": "connect_refused", "after": 0.002}
    ]


@given(HOSTILE, HOSTILE, st.none() | HOSTILE)
@example(b'/" x=y', b"\x1b[31m\x85\x7f", b"a\\")
def test_logfmt_says_the_same_as_json(target: bytes, agent: bytes, referer: bytes | None) -> None:
    if any(byte in value for value in (agent, referer or b"") for byte in b"\r\n"):
        return  # no line of a head
    entry = entry_of(target, agent, referer)
    line = LogfmtRenderer(FIELDS).render(entry)
    assert not any(category(character) == "Cc" for character in line)
    shown = json.loads(LineRenderer(FIELDS).render(entry))
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in shown.items()}
    assert logfmt(line) == as_text


def test_a_combined_line() -> None:
    assert CombinedRenderer().render(entry_of(referer=b"http://r/")) == (
        '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b HTTP/1.1" 200 3456 "http://r/" "curl/8"'
    )


def test_what_was_not_understood_is_a_hyphen() -> None:
    entry = Entry()
    entry.wall, entry.status = 1_700_000_000.0, 400
    entry.peer = Forwarding([]).peer("192.0.2.7")
    assert CombinedRenderer().render(entry) == '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "-" 400 0 "-" "-"'


@given(HOSTILE, HOSTILE, st.none() | HOSTILE)
@example(b'/" 200 1 "', b'"\\\x00\x85', b"a\\")
def test_no_bytes_of_a_client_break_a_combined_line(
    target: bytes, agent: bytes, referer: bytes | None
) -> None:
    if any(byte in value for value in (agent, referer or b"") for byte in b"\r\n"):
        return  # no line of a head
    line = CombinedRenderer().render(entry_of(target, agent, referer))
    assert line.isprintable()
    match = COMBINED.fullmatch(line)
    assert match is not None
    assert (match[4], match[5]) == ("200", "3456")
    unescaped = re.sub(r"\\x([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), match[3])
    assert unescaped == f"GET {target.decode('latin-1')} HTTP/1.1"


@pytest.mark.parametrize("renderer", [LogfmtRenderer(FIELDS), CombinedRenderer()], ids=["logfmt", "combined"])
def test_long_values_are_cut(renderer: LogfmtRenderer | CombinedRenderer) -> None:
    line = renderer.render(entry_of(b"/" + b"x" * 100_000))
    assert f"{'x' * (MAX_VALUE - 1)}..." in line
    assert len(line) < 2 * MAX_VALUE


def test_the_time_changes_with_each_second() -> None:
    renderer = CombinedRenderer()
    entry = entry_of()
    first = renderer.render(entry)
    entry.wall += 1
    assert (first.count("22:13:20"), renderer.render(entry).count("22:13:21")) == (1, 1)
