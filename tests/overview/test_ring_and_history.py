"""Series in fixed memory."""

from balancer.overview.history import COARSE, FINE, History
from balancer.overview.ring import Ring


def test_a_ring_has_the_last_values_oldest_first() -> None:
    ring = Ring(3)
    assert ring.values() == [None, None, None]
    for value in (1.0, None, 0.123456, 4.0):
        ring.push(value)
    assert ring.values() == [None, 0.1235, 4.0]


def test_history_begins_with_what_is_not_known() -> None:
    history = History()
    history.fine({"route:web": {"rps": 5.0}})
    (rps,) = history.series()["route:web"].values()
    assert rps == {"fine": [None] * (FINE - 1) + [5.0], "coarse": [None] * COARSE}


def test_history_of_what_is_gone_is_forgotten_and_begins_anew() -> None:
    history = History()
    for figures in ({"pool:a": {"rps": 1.0}, "pool:b": {"rps": 2.0}}, {"pool:b": {"rps": 3.0}}):
        history.fine(figures)
        history.coarse(figures)
    assert list(history.series()) == ["pool:b"]
    assert history.series()["pool:b"]["rps"]["coarse"][-2:] == [2.0, 3.0]
    history.fine({"pool:a": {"rps": 4.0}, "pool:b": {"rps": 5.0}})
    assert history.series("pool:a")["pool:a"]["rps"]["fine"][-2:] == [None, 4.0]
