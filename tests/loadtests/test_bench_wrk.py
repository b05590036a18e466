"""Parsing wrk's report."""

import pytest

from loadtests import wrk
from loadtests.errors import BenchError
from loadtests.wrk import WrkReport

CLEAN = """\
Running 5s test @ http://127.0.0.1:36161/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.15ms    1.35ms  26.33ms   91.33%
    Req/Sec    30.98k     2.55k   35.01k    74.00%
  Latency Distribution
     50%    1.82ms
     75%    2.21ms
     90%    3.20ms
     99%  950.00us
  154231 requests in 5.01s, 36.48MB read
Requests/sec:  30784.63
Transfer/sec:      7.28MB
"""
SOCKET_ERRORS = "  Socket errors: connect 0, read 3, write 0, timeout 12\n"
BAD_STATUS = "  Non-2xx or 3xx responses: 5\n"


@pytest.mark.parametrize(
    ("extra", "errors"),
    [
        pytest.param("", (), id="clean"),
        pytest.param(SOCKET_ERRORS, ("3 read errors", "12 timeout errors"), id="socket errors"),
        pytest.param(BAD_STATUS, ("5 responses with status 4xx or 5xx",), id="bad status"),
        pytest.param(
            SOCKET_ERRORS + BAD_STATUS,
            ("3 read errors", "12 timeout errors", "5 responses with status 4xx or 5xx"),
            id="both",
        ),
    ],
)
def test_a_report_is_read_with_its_errors(extra: str, errors: tuple[str, ...]) -> None:
    output = CLEAN.replace("Requests/sec:", extra + "Requests/sec:")
    read = 36.48 * 1024**2
    expected = WrkReport(requests=154231, seconds=5.01, read=read, p50=0.00182, p99=0.00095, errors=errors)
    assert wrk.parse(output) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("512.00B", 512), ("1.50KB", 1536), ("2.00GB", 2 * 1024**3), ("1.00TB", 1024**4)],
    ids=["bytes", "KiB", "GiB", "TiB"],
)
def test_every_unit_of_what_was_read_is_read(text: str, size: float) -> None:
    assert wrk.parse(CLEAN.replace("36.48MB", text)).read == size


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("900.00ms", 0.9), ("5.00s", 5.0), ("1.50m", 90.0)],
    ids=["milliseconds", "seconds", "minutes"],
)
def test_every_unit_of_the_duration_is_read(duration: str, seconds: float) -> None:
    assert wrk.parse(CLEAN.replace("5.01s", duration)).seconds == pytest.approx(seconds)


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1 Connection refused\n"])
def test_a_missing_report_is_an_error(output: str) -> None:
    with pytest.raises(BenchError, match="wrk printed no result"):
        wrk.parse(output)


def test_the_request_has_eight_headers() -> None:
    argv = wrk.command(8080, connections=64, seconds=5)
    assert argv.count("--header") == 8
    assert argv[-1] == "http://127.0.0.1:8080/"
