"""Memory is returned after a wave of connections, and not more often than useful."""

from itertools import pairwise

import pytest

from balancer.runtime.trimming import Trimming, give_back

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("connections", "times"),
    [
        ([0, 1000, 1000], 0),
        ([1000, 501], 0),
        ([1000, 500], 1),
        ([1000, 0, 0, 0], 1),
        ([99, 0], 0),
        ([100, 0], 1),
        ([1000, 0, 1000, 0], 2),
        ([1000, 400, 200, 0], 3),
    ],
    ids=["they stay", "less than half leave", "half leave", "all leave", "a few", "a hundred", "two waves",
         "one after the other"],
)  # fmt: skip
def test_memory_is_returned_after_a_wave_of_connections(connections: list[int], times: int) -> None:
    given: list[None] = []
    trimming = Trimming(lambda: given.append(None))
    for number, count in enumerate(connections):
        trimming.look(count, number * 10 * SECOND)
    assert len(given) == times


def test_memory_is_returned_every_ten_seconds_at_most() -> None:
    given: list[int] = []
    now = 0
    trimming = Trimming(lambda: given.append(now))
    for now in range(0, 60 * SECOND, SECOND // 4):
        trimming.look(1000 if now // (SECOND // 4) % 2 else 0, now)
    assert len(given) == 6
    assert min(after - before for before, after in pairwise(given)) >= 10 * SECOND


def test_any_c_library_is_accepted() -> None:
    give_back()
