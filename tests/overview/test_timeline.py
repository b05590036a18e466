"""The states of upstreams over time."""

from balancer.overview.timeline import KEPT, MOST, Timeline

A, B = ("pool", "a"), ("pool", "b")


def test_only_changes_are_kept() -> None:
    timeline = Timeline()
    for second, state in enumerate(("active", "active", "ejected", "ejected", "active")):
        timeline.see(float(second), {A: state, B: "active"})
    assert timeline.of() == {
        "pool": {"a": [(0.0, "active"), (2.0, "ejected"), (4.0, "active")], "b": [(0.0, "active")]}
    }
    assert (timeline.since(A), timeline.since(B), timeline.since(("pool", "c"))) == (4.0, 0.0, None)
    assert timeline.of("other") == {}


def test_a_state_that_ended_long_ago_is_forgotten_and_the_present_one_never() -> None:
    timeline = Timeline()
    timeline.see(0.0, {A: "active"})
    timeline.see(10.0, {A: "ejected"})
    timeline.see(9.0 + KEPT, {A: "ejected"})
    assert timeline.of()["pool"]["a"] == [(0.0, "active"), (10.0, "ejected")]
    timeline.see(10.0 + KEPT, {A: "ejected"})
    assert timeline.of()["pool"]["a"] == [(10.0, "ejected")]


def test_memory_is_bounded_however_often_it_flaps() -> None:
    timeline = Timeline()
    for second in range(3 * MOST):
        timeline.see(second / 10, {A: ("active", "ejected")[second % 2]})
    assert len(timeline.of()["pool"]["a"]) == MOST


def test_an_upstream_that_is_gone_is_forgotten() -> None:
    timeline = Timeline()
    timeline.see(0.0, {A: "active", B: "active"})
    timeline.see(1.0, {B: "active"})
    assert timeline.of() == {"pool": {"b": [(0.0, "active")]}}
