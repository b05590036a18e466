"""Plays exchanges on the tests' scripted wire: what runs under cachegrind.

`python -m loadtests.instructions.play KIND ... --exchanges FEW MANY` plays each kind twice. Each time is a
process of its own, forked when everything is imported: under cachegrind an import takes longer than a play.
Prints which build of the package was imported, and a line with kind, exchanges and pid for each process.
"""

import argparse
import gc
import os
from collections.abc import Sequence

from balancer.spec.worker import RouteSpec
from loadtests import builds
from loadtests.errors import BenchError
from loadtests.instructions.traffic import EXCHANGES, KINDS, POOLS, SWITCHED, UPGRADE, Kind
from tests.fakes.loop import FakeClock
from tests.fakes.specs import route_spec
from tests.fakes.transport import FakeTransport  # a checkout has `tests`
from tests.fakes.wire import Wire, start_message

UPSTREAMS = 4


class StillClock(FakeClock):
    """Stands still, and costs as little as the system's: a call of a C function."""

    monotonic_ns = (1_000_000_000_000).conjugate  # a function that takes nothing


def play(name: str, exchanges: int) -> None:
    """Play this many exchanges of a kind, one after the other. Another one is running all the time, as under
    load: of a worker at rest counts are stored at once."""
    kind = KINDS[name]
    # The same number is made however many are played, so that making them does not count.
    requests = [kind.request(number) for number in range(EXCHANGES)]
    responses = [kind.response(number) for number in range(EXCHANGES)]
    wire = _wire(kind)
    # As a worker does when it is built. When a collection of everything falls due would be left to chance.
    gc.collect()
    gc.freeze()
    client = _connect(wire)
    other = _connect(wire)
    other.protocol.data_received(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wire.settle()
    for transport in wire.loop.transports:
        transport.writes.clear()
    expected = b"HTTP/1.1 200 OK"
    if kind.connections == "tunnel":
        _exchange(wire, client, UPGRADE, SWITCHED, b"HTTP/1.1 101 ")
        expected = responses[0]
    for number in range(exchanges):
        if not _exchange(wire, client, requests[number], responses[number], expected):
            raise BenchError(f"{name}: no response to request {number}")
        if kind.connections == "each":
            client = _connect(wire)
    wire.close()


def _wire(kind: Kind) -> Wire:
    routes = kind.routes
    more = {f"pool{number}": 1 for number in range(1, POOLS)} if routes > 1 else {}
    start = start_message(
        UPSTREAMS,
        more=more,
        routes=_routes(routes, list(more)) if routes > 1 else (),
        policy="least_connections",
        access_log={"enabled": kind.logs},
        adaptive={"enabled": True},
        outlier={"enabled": True},
        queue={"size": 100},
        traces={} if kind.traces else None,
    )
    wire = Wire(start, StillClock())
    wire.records.enabled = kind.logs
    return wire


def _routes(count: int, pools: Sequence[str]) -> list[RouteSpec]:
    """Half of them by host and half by path, the one in the middle by /item; the last is for all others."""
    routes = []
    for number in range(count - 1):
        hosts = {"hosts": (f"host{number}.example.com",)}
        path = "/item" if number == count // 2 else f"/part{number}/x"
        match = hosts if number % 2 else {"path_prefixes": (path,)}
        routes.append(route_spec(f"route{number}", pools[number % len(pools)], match=match))
    return [*routes, route_spec("default", match={"path_prefixes": ("/",)})]


def _connect(wire: Wire) -> FakeTransport:
    client = wire.connect()
    _spare(client)
    return client


def _exchange(wire: Wire, client: FakeTransport, request: bytes, response: bytes, expected: bytes) -> bool:
    client.protocol.data_received(request)
    wire.settle()
    upstream = next(one for one in wire.loop.transports if one.writes)
    if "write" not in vars(upstream):
        _spare(upstream)
    upstream.writes.clear()
    upstream.protocol.data_received(response)
    if client.closed:
        wire.settle()  # the client's connection is lost
    answered = bool(client.writes) and client.writes[0].startswith(expected)
    client.writes.clear()
    return answered


def _spare(transport: FakeTransport) -> None:
    """The work of the tests' transport beyond recording writes must not be counted."""
    transport.write = transport.writes.append  # type: ignore[method-assign,assignment]  # of this one
    transport.is_closing = b"".isdigit  # type: ignore[method-assign]  # a C function that returns False


def _fork(kind: str, exchanges: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            play(kind, exchanges)
            status = 0
        except BenchError as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(status)
    print(kind, exchanges, pid, flush=True)
    return pid


def main() -> int:
    """Play as the command line says; returns the exit code, 1 if an exchange failed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.instructions.play")
    parser.add_argument("kinds", nargs="+", choices=list(KINDS))
    parser.add_argument("--exchanges", nargs="+", type=int, default=[EXCHANGES])
    options = parser.parse_args()
    print(builds.imported(), flush=True)
    gc.collect()
    gc.freeze()
    failed = 0
    for kind in options.kinds:
        pids = [_fork(kind, exchanges) for exchanges in options.exchanges]
        failed += sum(os.waitpid(pid, 0)[1] != 0 for pid in pids)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
