"""The cost of a scrape for the supervisor: time on its event loop, time in the thread, and the loop's lag.

    python -m loadtests.scrape_cost [--upstreams 1000] [--scrapes 5]

Everything runs in this process, on uvloop as in the supervisor; no worker counts meanwhile. Exits 1 if the
snapshot, the only part that blocks the event loop, takes longer than --max-snapshot milliseconds.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import uvloop

from balancer.clock import SystemClock
from balancer.config.export import export
from balancer.config.loader import load_with_origins
from balancer.health.durations import Durations
from balancer.health.result import CheckResult
from balancer.runtime.fleet import Fleet
from balancer.runtime.instance import Instance
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.route_counts import RouteCounts
from balancer.runtime.splits import Splits
from balancer.runtime.states import PoolState, UpstreamState
from balancer.runtime.tally import Tally
from balancer.telemetry.columns import CODE_COLUMN, UPSTREAM_FIRST_BYTE, Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample
from balancer.telemetry.segment import Segment
from tests.fakes.specs import pool_spec

WORKERS = 2
POOL = "default"
TICK = 0.001  # seconds between two samples of the event loop's lag


class Workers:
    """Two running workers."""

    def unready(self) -> list[str]:
        return []

    def sampling(self) -> Callable[[], list[WorkerSample]]:
        return lambda: [WorkerSample(slot, True, 0, 1.0, 1 << 25, 100) for slot in range(WORKERS)]


class Checks:
    """Every upstream has a check result."""

    first_round_done = True

    def __init__(self) -> None:
        self.durations: Mapping[str, Durations] = {POOL: Durations()}
        self._counts = Counter(passed=1000, timeout=3)

    def last(self, upstream: UpstreamState) -> CheckResult | None:
        return None

    def counts(self, upstream: UpstreamState) -> Mapping[str, int]:
        return self._counts


class Outliers:
    """Unused: there are none."""

    def ejection_term(self, upstream: UpstreamState) -> tuple[float, int] | None:
        return None


def build(segment: Segment, count: int) -> Instance:
    """An instance with one pool; all its upstreams have had requests from both workers."""
    ledger = Ledger(segment)
    pool = PoolState(pool_spec(POOL), ledger.row(Kind.POOL, POOL), is_checked=True)
    pages = [segment.page(ledger.take_page()) for _ in range(WORKERS)]
    for number in range(count):
        host = f"10.0.{number // 250}.{number % 250}"
        row = ledger.row(Kind.UPSTREAM, POOL, f"{host}:8000")
        state = UpstreamState(POOL, f"{host}:8000", host, 8000, 1, row, host)
        state.changes["ejected", "active_check"] = 1
        pool.upstreams[state.id] = state
        for page in pages:
            page.row(row)[CODE_COLUMN[200]] = page.row(row)[UPSTREAM_FIRST_BYTE] = 1000
    events, clock = EventLog(), SystemClock()
    fleet = Fleet(
        [pool],
        ledger=ledger,
        events=events,
        clock=clock,
        log=logging.getLogger(__name__),
        call_later=lambda delay, callback: None,
        broadcast=lambda message: None,
    )
    splits = Splits(
        (),
        note=lambda text: 0,
        broadcast=lambda update: None,
        tally=lambda route, pool: Tally(0, 0, ()),
        clock=clock,
        log=logging.getLogger(__name__),
    )
    readonly = ReadonlyRoutes(
        (),
        note=lambda text: 0,
        broadcast=lambda update: None,
        call_later=lambda delay, callback: None,
        clock=clock,
        log=logging.getLogger(__name__),
    )
    return Instance(
        fleet=fleet,
        routes=RouteCounts((), splits, readonly, fleet, ledger),
        ledger=ledger,
        workers=Workers(),
        checks=Checks(),
        outliers=Outliers(),
        events=events,
        config=export(load_with_origins({"BALANCER_UPSTREAMS": "app:8000"})),
        log_dropped=lambda: 0,
        clock=clock,
    )


async def lags(until: asyncio.Future[bytes]) -> list[float]:
    """The event loop's lag in seconds, sampled every millisecond until the scrape has ended."""
    late = []
    while not until.done():
        before = time.perf_counter()
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - before - TICK)
    return late


async def measure(count: int, scrapes: int) -> float:
    """Print a line per scrape; returns the milliseconds of the fastest snapshot."""
    segment = Segment.create(WORKERS)
    instance = build(segment, count)
    snapshots = []
    for _ in range(scrapes):
        before = time.perf_counter()
        instance.sample()
        snapshots.append((time.perf_counter() - before) * 1e3)
        before, cpu = time.perf_counter(), time.process_time()
        scrape = asyncio.ensure_future(instance.scrape())
        late = await lags(scrape)
        took, used = time.perf_counter() - before, time.process_time() - cpu
        print(
            f"{count} upstreams: snapshot {snapshots[-1]:.1f} ms, scrape {took * 1e3:.0f} ms "
            f"({used * 1e3:.0f} ms CPU), {len(await scrape) / 1e6:.1f} MB, event loop late by "
            f"{sum(late) / len(late) * 1e3:.1f} ms on average, {max(late) * 1e3:.1f} ms at most"
        )
    segment.close()
    return min(snapshots)


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--upstreams", type=int, default=1000)
    parser.add_argument("--scrapes", type=int, default=5)
    parser.add_argument("--max-snapshot", type=float, default=5.0, help="milliseconds")
    options = parser.parse_args(arguments)
    return int(uvloop.run(measure(options.upstreams, options.scrapes)) > options.max_snapshot)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
