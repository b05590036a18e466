"""Counters in the stats segment, and the fields of an access-log record."""

import pytest

from balancer.edges import STANDARD
from balancer.telemetry.columns import (
    CODE_COLUMN,
    HISTOGRAM_CELLS,
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_TOTAL,
    ROUTE_DURATION,
    ROUTE_DURATION_SUM,
    ROUTE_INFLIGHT,
    ROUTE_REQUEST_BYTES,
    ROUTE_RESPONSE_BYTES,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_IDLE,
    UPSTREAM_INFLIGHT,
    UPSTREAM_REUSES,
)
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness
from tests.proxy.sticky_session import OWN

FULL = (
    b"POST /a?b=c HTTP/1.1\r\nHost: app.example\r\nUser-Agent: curl/8\r\nreferer:  http://r/ \r\n"
    b"X-Request-ID: id-1\r\nContent-Length: 3\r\n\r\nabc"
)


def test_a_record_has_every_field(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask(FULL)
    harness.clock.advance(0.1)
    harness.loop.dials[0].accept()
    harness.settle()
    harness.clock.advance(0.2)
    harness.answer(OK[:-1])
    harness.clock.advance(0.3)
    harness.answer(OK[-1:])
    assert client.take() == OK
    assert harness.logged() == {
        "time": "1994-11-06T08:49:37.600Z",
        "client": "198.51.100.7",
        "method": "POST",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "scheme": "http",
        "host": "app.example",
        "status": 200,
        "reason": None,
        "route": "default",
        "pool": "default",
        "upstream": "app1:8000",
        "tried": None,
        "attempts": 1,
        "reused": False,
        "request_bytes": 3,
        "response_bytes": 2,
        "duration": 0.6,
        "first_byte": 0.3,
        "request_id": "id-1",
        "user_agent": "curl/8",
        "referer": "http://r/",
        "queue": None,
        "connect": 0.1,
        "failures": None,
        "sticky": None,
        "side": None,
        "tls": None,
        "trace_id": None,
        "source": None,
    }


RECORDS: dict[str, tuple[bytes, bytes, dict[str, object]]] = {
    "reused": (GET, OK, {"reused": True, "attempts": 1, "method": "GET"}),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", OK, {"protocol": "HTTP/1.0", "host": "", "request_id": None}),
    "absolute form": (
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        OK,
        {"target": "/x", "host": "b"},
    ),
    "a server error": (GET, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", {"status": 503, "reason": None}),
    "malformed": (GET, b"?\r\n\r\n", {"status": 502, "reason": "malformed_response", "first_byte": None}),
    "chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
        {"request_bytes": 3, "response_bytes": 2},  # bodies without their framing
    ),
}


@pytest.mark.parametrize("case", RECORDS)
def test_access_record(harness: Harness, case: str) -> None:
    request, response, expected = RECORDS[case]
    harness.warm()
    harness.clock.advance(0.001)
    harness.ask(request)
    harness.answer(response)
    record = harness.logged()
    if "request_id" in expected:
        assert record.pop("request_id")
    assert {key: record[key] for key in expected if key in record} == {
        key: value for key, value in expected.items() if key != "request_id"
    }


def test_record_of_a_malformed_request(harness: Harness) -> None:
    harness.ask(b"nonsense\r\n\r\n")
    record = harness.logged()
    assert (record["status"], record["reason"], record["method"]) == (400, "malformed_request", None)
    assert (record["route"], record["upstream"], record["attempts"]) == (None, None, 0)


def test_a_failed_attempt_after_a_good_exchange_has_its_own_record(harness: Harness) -> None:
    """The record of an exchange has nothing of the connection's previous one."""
    client, upstream = harness.warm()
    harness.clock.advance(0.001)
    upstream.receive_eof()
    harness.settle()
    harness.refuse(1)
    harness.ask(client=client)
    record = harness.logged()
    assert (record["upstream"], record["reused"], record["first_byte"]) == ("app1:8000", False, None)
    assert (record["status"], record["reason"]) == (502, "connect_refused")
    assert record["response_bytes"] > 0  # of the local body


def test_the_client_address_is_taken_from_trusted_proxies(make_harness: MakeHarness) -> None:
    harness = make_harness(trusted_proxies=["198.51.100.0/24"])
    harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    harness.answer()
    assert harness.logged()["client"] == "203.0.113.9"


def test_a_head_that_several_clients_send_is_logged_for_each(make_harness: MakeHarness) -> None:
    harness = make_harness(trusted_proxies=["198.51.100.8"])
    clients = {f"198.51.100.{end}": harness.client(f"198.51.100.{end}") for end in (7, 8, 9)}
    for number, address in enumerate([*clients, *clients, *reversed(clients), *clients]):
        for host, agent in (("a", "x"), ("b", "x"), ("a", "y")):
            about = f"Host: {host}\r\nUser-Agent: {agent}\r\nX-Forwarded-For: 203.0.113.9\r\n"
            harness.ask(f"GET /{number} HTTP/1.1\r\n{about}\r\n".encode(), clients[address])
            harness.answer()
            record = harness.logged()
            assert (record["target"], record["host"], record["user_agent"]) == (f"/{number}", host, agent)
            assert record["client"] == ("203.0.113.9" if address == "198.51.100.8" else address)


def test_no_record_if_the_log_is_off(harness: Harness) -> None:
    harness.records.enabled = False
    harness.warm()
    harness.ask(b"nonsense\r\n\r\n")
    assert harness.records.records == []


# --- counters


def test_requests_are_counted_by_method_and_code(harness: Harness) -> None:
    client = harness.client()
    for method in (b"GET", b"HEAD", b"PURGE", b"PROPFIND"):
        for code in (200, 404, 299):
            harness.ask(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", client)
            harness.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)
    assert harness.requests_counted(b"GET", 200) == 1
    assert harness.requests_counted(b"HEAD", 404) == 1
    assert harness.requests_counted(b"PURGE", 200) == 2  # unlisted methods are counted as one
    assert harness.requests_counted(b"GET", 299) == 1  # and so are unlisted codes
    cells = harness.upstreams[0].cells
    assert [cells[CODE_COLUMN[code]] for code in (200, 404, 299)] == [4, 4, 4]


UNLISTED = (b"PROPFIND", b"PURGE", b"MKCOL", b"REPORT", b"LOCK", b"SEARCH", b"NOTIFY")


def scanned(number: int) -> list[bytes]:
    """Requests of a scanner that never repeats one."""
    n = b"%d" % number
    host = b"Host: h%b.test\r\n" % n
    return [
        b"GET /%b HTTP/1.1\r\n%b\r\n" % (n * 3, host),
        b"GET http://h%b.test/a?%b=%b HTTP/1.1\r\n%b\r\n" % (n, n, n, host),
        b"GET / HTTP/1.1\r\n%bCookie: pin=%b; k%b=1\r\nX-%b: a\r\n\r\n" % (host, n, n, n),
        b"%b /%b HTTP/1.1\r\n%b\r\n" % (UNLISTED[number % len(UNLISTED)], n, host),
        b"M%b / HTTP/1.1\r\n%b\r\n" % (n, host),
        b"GET /\x00%b HTTP/1.1\r\n%b\r\n" % (n, host),
    ]


def test_a_scan_of_bogus_methods_hosts_paths_and_cookies_adds_no_series(make_harness: MakeHarness) -> None:
    """Series are made of cells: later requests count in the cells of the first ones."""
    harness = make_harness(
        2, sticky=OWN, keepalive={"max_idle": 0}
    )  # so that the newest is the one to answer on

    def counted() -> set[tuple[int, int]]:
        harness.proxy.sweep()
        rows = [harness.page.row(row).tolist() for row in range(32)]
        return {
            (row, column) for row, cells in enumerate(rows) for column, value in enumerate(cells) if value
        }

    def scan(numbers: range) -> None:
        for number in numbers:
            for request in scanned(number):
                client = harness.ask(request)
                if not client.written:
                    harness.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (520 + number % 400))
                client.receive_eof()
                harness.settle()

    scan(range(2))
    before = counted()
    scan(range(2, 500))
    assert counted() == before


def test_durations_and_first_bytes_are_counted(harness: Harness) -> None:
    client = harness.client()
    for first, rest in [(0.0005, 0.0), (0.02, 0.02), (0.3, 2.0), (3.0, 40.0)]:
        harness.ask(client=client)
        harness.clock.advance(first)
        harness.answer(OK[:-2])
        harness.clock.advance(rest)
        harness.answer(OK[-2:])

    def buckets(cells: memoryview, start: int) -> dict[float, int]:
        counts = STANDARD.ascending(cells[start : start + HISTOGRAM_CELLS].tolist())
        return {bound: n for bound, n in zip((*STANDARD.bounds, float("inf")), counts, strict=True) if n}

    route, upstream = harness.route.side.counters.cells, harness.upstreams[0].cells
    assert buckets(upstream, UPSTREAM_FIRST_BYTE) == {0.001: 1, 0.025: 1, 0.5: 1, 5.0: 1}
    assert buckets(route, ROUTE_DURATION) == {0.001: 1, 0.05: 1, 2.5: 1, float("inf"): 1}
    assert upstream[UPSTREAM_FIRST_BYTE_SUM] == 3_320_500_000
    assert route[ROUTE_DURATION_SUM] == 45_340_500_000


def test_bytes_are_counted(harness: Harness) -> None:
    harness.ask(FULL)
    harness.answer()
    harness.ask(FULL)
    harness.answer()
    harness.proxy.sweep()
    assert harness.route.side.counters.cells[ROUTE_REQUEST_BYTES] == 6
    assert harness.route.side.counters.cells[ROUTE_RESPONSE_BYTES] == 4


def test_gauges_are_kept(harness: Harness) -> None:
    client = harness.client()
    cells = harness.upstreams[0].cells
    harness.ask(client=client)
    harness.proxy.sweep()
    assert (cells[UPSTREAM_INFLIGHT], cells[UPSTREAM_IDLE]) == (1, 0)
    assert harness.route.side.counters.cells[ROUTE_INFLIGHT] == 1
    harness.answer()
    harness.proxy.sweep()
    assert (cells[UPSTREAM_INFLIGHT], cells[UPSTREAM_IDLE]) == (0, 1)
    assert harness.route.side.counters.cells[ROUTE_INFLIGHT] == 0


def test_listener_connections_are_counted(harness: Harness) -> None:
    one, _ = harness.client(), harness.client()
    row = harness.page.row(1)
    assert (row[LISTENER_CONNECTIONS], row[LISTENER_CONNECTIONS_TOTAL]) == (2, 2)
    one.receive_eof()
    harness.settle()
    assert (row[LISTENER_CONNECTIONS], row[LISTENER_CONNECTIONS_TOTAL]) == (1, 2)


def test_connects_and_reuses_are_counted(harness: Harness) -> None:
    client, _ = harness.warm()
    for _ in range(3):
        harness.ask(client=client)
        harness.answer()
    assert (harness.connects(), harness.reuses()) == (1, 3)


def test_a_refused_dial_is_not_counted_as_a_connect(harness: Harness) -> None:
    harness.refuse(1)
    harness.ask()
    assert harness.connects() == 0


def test_local_responses_are_counted_by_reason(harness: Harness) -> None:
    harness.refuse(1)
    for _ in range(3):
        harness.ask()
    harness.ask(b"nonsense\r\n\r\n")
    assert harness.local_counted("connect_refused") == 3
    assert harness.local_counted("malformed_request") == 1


def test_the_last_counts_are_written_without_another_sweep(make_harness: MakeHarness) -> None:
    """No sweep may run between the last exchange and the end of the worker."""
    harness = make_harness()
    client, _ = harness.warm()
    harness.ask(client=client)
    harness.answer()
    client.receive_eof()
    harness.settle()
    harness.proxy.close()
    harness.settle()
    cells = harness.upstreams[0].cells
    assert harness.route.side.counters.cells[ROUTE_RESPONSE_BYTES] == 4
    assert cells[UPSTREAM_IDLE] == 0
    assert harness.closes() == {"expired": 1}
    assert cells[UPSTREAM_REUSES] == 1
