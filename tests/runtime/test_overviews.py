"""When samples are taken, when overviews are made, and who gets them."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.edges import STANDARD
from balancer.runtime.figures import SampledFigures
from balancer.runtime.moment import Moment
from balancer.runtime.overviews import Overviews
from balancer.runtime.shaping import Seen
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from tests.fakes.loop import FakeClock
from tests.fakes.overviews import NO_CHANGES


class Harness:
    """An instance without routes and pools, whose revision the test sets."""

    def __init__(self, segment: Segment) -> None:
        self.clock = FakeClock()
        self.figures = SampledFigures(Ledger(segment))
        self.revision = 1
        self.looked = self.seen = 0
        log = logging.getLogger("balancer.test.overviews")
        self.overviews = Overviews(self.figures, self.look, self.see, self.clock, log)

    def look(self) -> Moment:
        self.looked += 1
        return Moment(self.clock.wall(), self.clock.monotonic_ns() / 1e9, [], [], list, STANDARD)

    def see(self) -> Seen:
        self.seen += 1
        return Seen(self.clock.wall(), 0.0, self.revision, [], [], {}, {}, {}, [], [], [], False)

    async def second(self) -> None:
        self.clock.advance(1.0)
        await self.overviews.sample()


@pytest.fixture
def harness() -> Iterator[Harness]:
    segment = Segment.create(workers=1)
    yield Harness(segment)
    segment.close()


def decoded(frame: bytes) -> tuple[str, Any]:
    kind, data = frame.decode().removeprefix("event: ").rstrip("\n").split("\ndata: ")
    return kind, json.loads(data)


async def listen(harness: Harness) -> Any:
    listener = await harness.overviews.listen(NO_CHANGES)
    assert listener is not None
    return listener


async def test_samples_are_taken_although_nobody_looks_and_no_overview_is_made(harness: Harness) -> None:
    for _ in range(3):
        await harness.second()
    assert harness.looked == 3
    assert harness.seen == 0


async def test_one_overview_is_made_for_all_who_look(harness: Harness) -> None:
    first, second = await listen(harness), await listen(harness)
    for listener in (first, second):
        kind, tree = decoded(await listener.frame())
        assert (kind, tree["instance"]["revision"]) == ("overview", 1)
    seen, harness.revision = harness.seen, 2
    await harness.second()
    assert harness.seen == seen + 1
    one, other = await first.frame(), await second.frame()
    assert one is other
    kind, patch = decoded(one)
    assert (kind, patch["instance"]) == ("patch", {"revision": 2})
    assert "routes" not in patch


async def test_who_comes_later_gets_the_whole_at_once(harness: Harness) -> None:
    await (await listen(harness)).frame()
    await harness.second()
    seen = harness.seen
    kind, tree = decoded(await (await listen(harness)).frame())
    assert (kind, "findings" in tree) == ("overview", True)
    assert harness.seen == seen, "it is the one that the others have"


async def test_after_the_last_has_left_the_next_one_gets_a_new_one(harness: Harness) -> None:
    listener = await listen(harness)
    await listener.frame()
    harness.overviews.leave(listener)
    await harness.second()
    harness.revision = 9
    _, tree = decoded(await (await listen(harness)).frame())
    assert tree["instance"]["revision"] == 9


async def test_overviews_that_are_dear_come_less_often(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = 0.0

    def thread_time() -> float:
        nonlocal spent
        spent += 0.04  # between two readings: each overview takes so many seconds of CPU
        return spent

    monkeypatch.setattr("balancer.runtime.overviews.time.thread_time", thread_time)
    await (await listen(harness)).frame()
    seen = harness.seen
    for _ in range(12):
        await harness.second()
    assert harness.seen - seen == 4, "each third second: 0.04 s are 1.3 % of a core then"
    assert harness.looked == 12


async def test_a_failed_sample_does_not_end_the_samples(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asyncio.Event()
    failures = 0

    async def sample() -> None:
        nonlocal failures
        if not failures:
            failures += 1
            raise RuntimeError("a bug")
        taken.set()

    monkeypatch.setattr(harness.overviews, "sample", sample)
    monkeypatch.setattr("balancer.runtime.overviews.STEP", 0.0)  # so that the test need not wait
    task = asyncio.create_task(harness.overviews.run())
    try:
        async with asyncio.timeout(20):
            await taken.wait()
    finally:
        task.cancel()
    assert failures == 1


async def test_streams_end_when_the_instance_does(harness: Harness) -> None:
    listener = await listen(harness)
    await listener.frame()
    harness.overviews.close()
    assert await listener.frame() == b""
    assert await harness.overviews.listen(NO_CHANGES) is None
