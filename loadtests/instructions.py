"""User instructions per exchange, counted by cachegrind (`make instructions`).

The count is free of noise: run it before and after each change of the request path. The real proxy runs on
the tests' scripted wire, so the count has only our own code and a little of the wire, without sockets, uvloop
and the kernel. Each kind of traffic is played twice, with few and with more exchanges, and the difference is
divided by the additional exchanges, so start-up and warm-up do not count. The same code and interpreter give
the same figure within some hundredths of a percent.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from loadtests import command
from loadtests.errors import BenchError
from loadtests.wrk import REQUEST_HEADERS

if TYPE_CHECKING:
    from tests.fakes.transport import FakeTransport

UPSTREAMS = 4
SHORT, LONG = 500, 2_500  # exchanges
_SECONDS = 600.0  # seconds: the limit for one count, which takes some 10 s
_FIELDS = "".join(f"{line}\r\n" for line in REQUEST_HEADERS)
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: app\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/html\r\n"
)


def _same(number: int) -> bytes:
    return f"GET / HTTP/1.1\r\n{_FIELDS}\r\n".encode()


def _another(number: int) -> bytes:
    trace = f"Traceparent: 00-{number:032x}-{number:016x}-01\r\n"
    return f"GET /item/{number} HTTP/1.1\r\n{_FIELDS}{trace}\r\n".encode()


def _upload(number: int) -> bytes:
    return f"POST /item HTTP/1.1\r\n{_FIELDS}Content-Length: 1024\r\n\r\n".encode() + b"x" * 1024


def _sized(size: int) -> bytes:
    return _RESPONSE + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size


_CHUNKED = _RESPONSE + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"

KINDS: dict[str, tuple[Callable[[int], bytes], bytes, str]] = {
    "same": (_same, _sized(100), "the same request each time, 100 bytes"),
    "another": (_another, _sized(100), "another path and trace id each time, 100 bytes"),
    "large": (_same, _sized(10 * 1024), "the same request each time, 10 KiB"),
    "chunked": (_same, _CHUNKED, "the same request each time, 1 KiB in a chunk"),
    "upload": (_upload, _sized(100), "POST of 1 KiB"),
}


def play(kind: str, exchanges: int) -> None:
    """Play `count` exchanges of a kind, one after the other on one client connection."""
    # Imported here, as only the counted process needs them; a checkout has `tests`.
    from tests.fakes.wire import Wire, start_message

    request, response, _ = KINDS[kind]
    start = start_message(
        UPSTREAMS,
        policy="least_connections",
        access_log={"enabled": False},
        adaptive={"enabled": True},
        outlier={"enabled": True},
        queue={"size": 100},
    )
    wire = Wire(start)
    wire.records.enabled = False
    client = wire.connect()
    _spare(client)
    for number in range(exchanges):
        client.protocol.data_received(request(number))
        wire.settle()
        upstream = next(one for one in wire.loop.transports if one.protocol._framing.reader is not None)  # type: ignore[attr-defined]
        _spare(upstream)
        upstream.protocol.data_received(response)
        if not client.writes or not client.writes[0].startswith(b"HTTP/1.1 200 OK"):
            raise BenchError(f"{kind}: no response to request {number}")
        client.writes.clear()
        upstream.writes.clear()
    wire.close()


def _spare(transport: "FakeTransport") -> None:
    """The work of the tests' transport beyond recording writes must not be counted."""
    transport.write = transport.writes.append  # type: ignore[method-assign,assignment]  # of this one


def count(kind: str) -> float:
    """Instructions per exchange of a kind."""
    short, long = (_count(kind, exchanges) for exchanges in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def _count(kind: str, exchanges: int) -> int:
    with tempfile.TemporaryDirectory(prefix="balancer-instructions-") as name:
        out = Path(name) / "counts"
        argv = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            f"--cachegrind-out-file={out}",
            sys.executable,
        ]
        argv += ["-m", "loadtests.instructions", "--play", kind, "--exchanges", str(exchanges)]
        done = subprocess.run(
            argv,
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"{kind} failed: {done.stderr.strip()[-500:]}")
        summary = next(line for line in out.read_text().splitlines() if line.startswith("summary:"))
    return int(summary.split()[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Count, print a table, and return the exit code: 1 if --most is exceeded."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.instructions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("kinds", nargs="*", help=f"what to count: {', '.join(KINDS)} (default: all)")
    parser.add_argument("--most", type=int, metavar="N", help="fail if `same` takes more instructions")
    parser.add_argument("--play", choices=list(KINDS), help=argparse.SUPPRESS)
    parser.add_argument("--exchanges", type=int, default=LONG, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    unknown = [kind for kind in options.kinds if kind not in KINDS]
    if unknown:
        parser.error(f"unknown kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if options.play is not None:
        play(options.play, options.exchanges)
        return 0
    return command.run("instructions", lambda: _measure(options.kinds or list(KINDS), options.most))


def _measure(kinds: Sequence[str], most: int | None) -> int:
    if shutil.which("valgrind") is None:
        raise BenchError("valgrind not found: on Debian, apt-get install valgrind")
    table = Table(title=f"user instructions per exchange, {UPSTREAMS} upstreams")
    table.add_column("exchange")
    table.add_column("instructions", justify="right")
    counts = {}
    console = Console()
    with console.status("counting ..."):
        for kind in kinds:
            counts[kind] = count(kind)
            table.add_row(f"{kind}: {KINDS[kind][2]}", f"{counts[kind]:,.0f}")
    console.print(table)
    if most is not None and counts.get("same", 0) > most:
        raise BenchError(f"{counts['same']:,.0f} instructions for a repeated request; --most allows {most:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
