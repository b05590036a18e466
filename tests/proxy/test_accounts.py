"""What is counted in the stats segment, and what an access-log record says."""

import pytest

from balancer.telemetry.columns import (
    BUCKETS,
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
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage
from tests.proxy.sticky_session import OWN

FULL = (
    b"POST /a?b=c HTTP/1.1\r\nHost: app.example\r\nUser-Agent: curl/8\r\nreferer:  http://r/ \r\n"
    b"X-Request-ID: id-1\r\nContent-Length: 3\r\n\r\nabc"
)


def test_a_record_of_everything(stage: Stage) -> None:
    stage.hold(1)
    client = stage.ask(FULL)
    stage.clock.advance(0.1)
    stage.loop.dials[0].accept()
    stage.settle()
    stage.clock.advance(0.2)
    stage.answer(OK[:-1])
    stage.clock.advance(0.3)
    stage.answer(OK[-1:])
    assert client.take() == OK
    assert stage.logged() == {
        "time": stage.clock.wall(),
        "client": "198.51.100.7",
        "method": b"POST",
        "target": b"/a?b=c",
        "protocol": 1,
        "host": b"app.example",
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
        "duration": 600_000_000,
        "first_byte": 300_000_000,
        "request_id": b"id-1",
        "user_agent": b"curl/8",
        "referer": b"http://r/",
    }


RECORDS: dict[str, tuple[bytes, bytes, dict[str, object]]] = {
    "reused": (GET, OK, {"reused": True, "attempts": 1, "method": b"GET"}),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", OK, {"protocol": 0, "host": b"", "request_id": None}),
    "absolute form": (
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        OK,
        {"target": b"/x", "host": b"b"},
    ),
    "a server error": (GET, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", {"status": 503, "reason": None}),
    "malformed": (GET, b"?\r\n\r\n", {"status": 502, "reason": "malformed_response", "first_byte": -1}),
    "chunked": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
        {"request_bytes": 3, "response_bytes": 2},  # bodies, without their framing
    ),
}


@pytest.mark.parametrize("case", RECORDS)
def test_record(stage: Stage, case: str) -> None:
    request, response, expected = RECORDS[case]
    stage.warm()
    stage.clock.advance(0.001)
    stage.ask(request)
    stage.answer(response)
    record = stage.logged()
    if "request_id" in expected:
        assert record.pop("request_id")
    assert {key: record[key] for key in expected if key in record} == {
        key: value for key, value in expected.items() if key != "request_id"
    }


def test_record_of_what_could_not_be_parsed(stage: Stage) -> None:
    stage.ask(b"nonsense\r\n\r\n")
    record = stage.logged()
    assert (record["status"], record["reason"], record["method"]) == (400, "malformed_request", None)
    assert (record["route"], record["upstream"], record["attempts"]) == (None, None, 0)


def test_a_failed_attempt_after_a_good_exchange_is_its_own(stage: Stage) -> None:
    """Nothing of the connection's last exchange shows in the record of the next."""
    client, upstream = stage.warm()
    stage.clock.advance(0.001)
    upstream.receive_eof()
    stage.settle()
    stage.refuse(1)
    stage.ask(client=client)
    record = stage.logged()
    assert (record["upstream"], record["reused"], record["first_byte"]) == ("app1:8000", False, -1)
    assert (record["status"], record["reason"]) == (502, "connect_refused")
    assert record["response_bytes"] > 0  # of the body made here


def test_the_client_address_is_that_behind_trusted_proxies(make_stage: MakeStage) -> None:
    stage = make_stage(trusted_proxies=["198.51.100.0/24"])
    stage.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    stage.answer()
    assert stage.logged()["client"] == "203.0.113.9"


def test_no_record_where_the_log_is_off(stage: Stage) -> None:
    stage.records.enabled = False
    stage.warm()
    stage.ask(b"nonsense\r\n\r\n")
    assert stage.records.records == []


# --- counters


def test_requests_by_method_and_code(stage: Stage) -> None:
    client = stage.client()
    for method in (b"GET", b"HEAD", b"PURGE", b"PROPFIND"):
        for code in (200, 404, 299):
            stage.ask(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n", client)
            stage.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % code)
    assert stage.requests_counted(b"GET", 200) == 1
    assert stage.requests_counted(b"HEAD", 404) == 1
    assert stage.requests_counted(b"PURGE", 200) == 2  # unlisted methods are counted as one
    assert stage.requests_counted(b"GET", 299) == 1  # and so are unlisted codes
    cells = stage.upstreams[0].cells
    assert [cells[CODE_COLUMN[code]] for code in (200, 404, 299)] == [4, 4, 4]


UNLISTED = (b"PROPFIND", b"PURGE", b"MKCOL", b"REPORT", b"LOCK", b"SEARCH", b"NOTIFY")


def scanned(number: int) -> list[bytes]:
    """Requests of a scanner that never asks for the same thing twice."""
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


def test_a_scan_of_bogus_methods_hosts_paths_and_cookies_adds_no_series(make_stage: MakeStage) -> None:
    """Series are made of cells: what is asked for later counts in the cells of what was asked for first."""
    stage = make_stage(2, sticky=OWN, keepalive={"max_idle": 0})  # so that the newest is the one to answer on

    def counted() -> set[tuple[int, int]]:
        stage.proxy.sweep()
        rows = [stage.page.row(row).tolist() for row in range(32)]
        return {
            (row, column) for row, cells in enumerate(rows) for column, value in enumerate(cells) if value
        }

    def scan(numbers: range) -> None:
        for number in numbers:
            for request in scanned(number):
                client = stage.ask(request)
                if not client.written:
                    stage.answer(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (520 + number % 400))
                client.receive_eof()
                stage.settle()

    scan(range(2))
    before = counted()
    scan(range(2, 500))
    assert counted() == before


def test_durations_and_first_bytes(stage: Stage) -> None:
    client = stage.client()
    for first, rest in [(0.0005, 0.0), (0.02, 0.02), (0.3, 2.0), (3.0, 40.0)]:
        stage.ask(client=client)
        stage.clock.advance(first)
        stage.answer(OK[:-2])
        stage.clock.advance(rest)
        stage.answer(OK[-2:])

    def buckets(cells: memoryview, start: int) -> dict[float, int]:
        bounds = [*BUCKETS, float("inf")]
        return {bounds[i]: n for i in range(HISTOGRAM_CELLS) if (n := cells[start + i])}

    route, upstream = stage.route.cells, stage.upstreams[0].cells
    assert buckets(upstream, UPSTREAM_FIRST_BYTE) == {0.001: 1, 0.025: 1, 0.5: 1, 5.0: 1}
    assert buckets(route, ROUTE_DURATION) == {0.001: 1, 0.05: 1, 2.5: 1, float("inf"): 1}
    assert upstream[UPSTREAM_FIRST_BYTE_SUM] == 3_320_500_000
    assert route[ROUTE_DURATION_SUM] == 45_340_500_000


def test_bytes(stage: Stage) -> None:
    stage.ask(FULL)
    stage.answer()
    stage.ask(FULL)
    stage.answer()
    stage.proxy.sweep()
    assert stage.route.cells[ROUTE_REQUEST_BYTES] == 6
    assert stage.route.cells[ROUTE_RESPONSE_BYTES] == 4


def test_gauges(stage: Stage) -> None:
    client = stage.client()
    cells = stage.upstreams[0].cells
    stage.ask(client=client)
    stage.proxy.sweep()
    assert (cells[UPSTREAM_INFLIGHT], cells[UPSTREAM_IDLE]) == (1, 0)
    assert stage.route.cells[ROUTE_INFLIGHT] == 1
    stage.answer()
    stage.proxy.sweep()
    assert (cells[UPSTREAM_INFLIGHT], cells[UPSTREAM_IDLE]) == (0, 1)
    assert stage.route.cells[ROUTE_INFLIGHT] == 0


def test_listener(stage: Stage) -> None:
    one, _ = stage.client(), stage.client()
    row = stage.page.row(1)
    assert (row[LISTENER_CONNECTIONS], row[LISTENER_CONNECTIONS_TOTAL]) == (2, 2)
    one.receive_eof()
    stage.settle()
    assert (row[LISTENER_CONNECTIONS], row[LISTENER_CONNECTIONS_TOTAL]) == (1, 2)


def test_connects_and_reuses(stage: Stage) -> None:
    client, _ = stage.warm()
    for _ in range(3):
        stage.ask(client=client)
        stage.answer()
    assert (stage.connects(), stage.reuses()) == (1, 3)


def test_a_refused_dial_is_no_connect(stage: Stage) -> None:
    stage.refuse(1)
    stage.ask()
    assert stage.connects() == 0


def test_local_responses_by_reason(stage: Stage) -> None:
    stage.refuse(1)
    for _ in range(3):
        stage.ask()
    stage.ask(b"nonsense\r\n\r\n")
    assert stage.local_counted("connect_refused") == 3
    assert stage.local_counted("malformed_request") == 1


def test_the_last_counts_are_there_after_the_end(make_stage: MakeStage) -> None:
    """No sweep may come any more between the last exchange and the end of the worker."""
    stage = make_stage()
    client, _ = stage.warm()
    stage.ask(client=client)
    stage.answer()
    client.receive_eof()
    stage.settle()
    stage.proxy.close()
    stage.settle()
    cells = stage.upstreams[0].cells
    assert stage.route.cells[ROUTE_RESPONSE_BYTES] == 4
    assert cells[UPSTREAM_IDLE] == 0
    assert stage.closes() == {"expired": 1}
    assert cells[UPSTREAM_REUSES] == 1
