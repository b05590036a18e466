"""The load generator: wrk's command line and report."""

import re
from dataclasses import dataclass
from pathlib import Path

from loadtests.errors import BenchError

# Eight headers in all, as a browser sends them.
REQUEST_HEADERS = (
    "Host: app.example.com",
    "Connection: keep-alive",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Referer: http://app.example.com/",
    "Cookie: session=0123456789abcdef0123456789abcdef",
)

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"([\d.]+)(us|ms|s|m|h)"
_TOTAL = re.compile(rf"^\s*(\d+) requests in {_DURATION},", re.MULTILINE)
_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_READ = re.compile(r"^\s*\d+ requests in \S+, ([\d.]+)([KMGT]?)B read", re.MULTILINE)
_READ_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_BAD_STATUS = re.compile(r"Non-2xx or 3xx responses: (\d+)")


@dataclass(frozen=True, slots=True)
class WrkReport:
    """One run of wrk. Times in seconds; `read` in bytes, those of incomplete responses too, to three digits.
    `errors` has a sentence for each kind of error seen.
    """

    requests: int
    seconds: float
    read: float
    p50: float
    p99: float
    errors: tuple[str, ...]


def command(
    port: int, connections: int, seconds: int, script: Path | None = None, scheme: str = "http"
) -> list[str]:
    """The wrk command that loads 127.0.0.1:`port` for `seconds`; a Lua script may make the requests."""
    argv = [
        "wrk",
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{seconds}s",
        "--latency",
    ]
    argv += ["--timeout", "10s"]
    for header in REQUEST_HEADERS:
        argv += ["--header", header]
    if script is not None:
        argv += ["--script", str(script)]
    return [*argv, f"{scheme}://127.0.0.1:{port}/"]


def parse(output: str) -> WrkReport:
    """Parse wrk's report; `BenchError` if it is none."""
    total = _TOTAL.search(output)
    if total is None:
        raise BenchError(f"wrk printed no result: {output.strip()[-300:] or 'nothing at all'}")
    errors = []
    sockets = _SOCKET_ERRORS.search(output)
    if sockets is not None:
        kinds = zip(("connect", "read", "write", "timeout"), sockets.groups(), strict=True)
        errors += [f"{count} {kind} errors" for kind, count in kinds if count != "0"]
    status = _BAD_STATUS.search(output)
    if status is not None:
        errors.append(f"{status[1]} responses with status 4xx or 5xx")
    return WrkReport(
        requests=int(total[1]),
        seconds=_seconds(total[2], total[3]),
        read=_bytes(output),
        p50=_percentile(output, 50),
        p99=_percentile(output, 99),
        errors=tuple(errors),
    )


def _bytes(output: str) -> float:
    found = _READ.search(output)
    return float(found[1]) * _READ_UNITS[found[2]] if found else 0.0


def _percentile(output: str, percent: int) -> float:
    found = re.search(rf"^\s*{percent}%\s+{_DURATION}\s*$", output, re.MULTILINE)
    return _seconds(found[1], found[2]) if found else 0.0


def _seconds(number: str, unit: str) -> float:
    return float(number) * _UNITS[unit]
