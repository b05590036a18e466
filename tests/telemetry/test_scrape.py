"""A scrape does not block the event loop, and many concurrent scrapes cost no more than two."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from balancer.telemetry.scrape import Scrape, pause_after

PATIENCE = 20.0


class Rendering:
    """Counts snapshots; each rendering waits in its thread until it is released."""

    def __init__(self) -> None:
        self.snapshots: list[threading.Thread] = []
        self.threads: list[threading.Thread] = []
        self.begun = asyncio.Semaphore(0)
        self._go_on = threading.Semaphore(0)
        self._loop = asyncio.get_running_loop()
        self.scrape = Scrape(self._snapshot)

    def _snapshot(self) -> Callable[[], bytes]:
        self.snapshots.append(threading.current_thread())
        number = len(self.snapshots)
        return lambda: self._render(number)

    def _render(self, number: int) -> bytes:
        self.threads.append(threading.current_thread())
        self._loop.call_soon_threadsafe(self.begun.release)
        assert self._go_on.acquire(timeout=PATIENCE)
        return b"%d" % number

    def let_go(self) -> None:
        self._go_on.release()


@pytest.fixture
async def rendering() -> Rendering:
    return Rendering()


async def test_the_snapshot_is_taken_on_the_loop_and_rendered_in_another_thread(rendering: Rendering) -> None:
    async with asyncio.timeout(PATIENCE):
        scrape = asyncio.create_task(rendering.scrape.result())
        await rendering.begun.acquire()  # the loop runs on, while the thread is busy
        assert not scrape.done()
        rendering.let_go()
        assert await scrape == b"1"
    assert rendering.snapshots == [threading.main_thread()]
    assert threading.main_thread() not in rendering.threads


async def test_scrapes_that_arrive_during_a_rendering_share_the_next_one(rendering: Rendering) -> None:
    async with asyncio.timeout(PATIENCE):
        first = asyncio.create_task(rendering.scrape.result())
        await rendering.begun.acquire()
        others = [asyncio.create_task(rendering.scrape.result()) for _ in range(50)]
        await asyncio.sleep(0)
        rendering.let_go()
        assert await first == b"1"
        await rendering.begun.acquire()
        rendering.let_go()
        assert set(await asyncio.gather(*others)) == {b"2"}
    assert len(rendering.threads) == 2


async def test_a_cancelled_scrape_disturbs_no_other(rendering: Rendering) -> None:
    async with asyncio.timeout(PATIENCE):
        impatient = asyncio.create_task(rendering.scrape.result())
        patient = asyncio.create_task(rendering.scrape.result())
        await rendering.begun.acquire()
        impatient.cancel()
        rendering.let_go()
        assert await patient == b"1"
        assert impatient.cancelled()


async def test_after_a_failure_the_next_scrape_works() -> None:
    outcomes: list[Callable[[], bytes]] = [lambda: b"" + bytes([1 // 0]), lambda: b"well"]
    scrape = Scrape(lambda: outcomes.pop(0))
    with pytest.raises(ZeroDivisionError):
        await scrape.result()
    assert await scrape.result() == b"well"


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.0), (0.01, 0.03), (0.2, 0.6), (0.5, 1.0), (5.0, 1.0)])
def test_renderings_in_a_row_take_a_quarter_of_the_time_but_never_wait_for_longer_than_a_second(
    took: float, pause: float
) -> None:
    assert pause_after(took) == pytest.approx(pause)


async def test_the_next_rendering_begins_after_a_pause() -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []
    ended: list[float] = []

    def snapshot() -> Callable[[], bytes]:
        begun.append(loop.time())
        return render

    def render() -> bytes:
        while loop.time() < begun[-1] + 0.01:
            pass
        ended.append(loop.time())
        return b""

    scrape = Scrape(snapshot)
    async with asyncio.timeout(PATIENCE):
        await scrape.result()
        await scrape.result()
    assert begun[1] - ended[0] >= pause_after(ended[0] - begun[0])
