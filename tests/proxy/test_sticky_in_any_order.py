"""Sticky sessions under any order of changes: every request is served, and each pin is where it should be."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.proxy.harness import OK, Harness
from tests.proxy.sticky_session import OWN, Session, counted, states, token_in
from tests.proxy.sticky_session import given as cookies_given

COUNT = 3
STATES: dict[str, Any] = {
    "well": {},
    "ejected": {"causes": ["active_check"]},
    "draining": {"admin_state": "draining"},
    "draining and ejected": {"admin_state": "draining", "causes": ["outlier"]},
    "in maintenance": {"admin_state": "maintenance"},
    "gone": None,
}
_CHANGE = st.tuples(st.integers(1, COUNT), st.sampled_from(sorted(STATES)))
_ASK = st.tuples(st.just(0), st.sampled_from(["one", "two", "three"]))


def takes_new(now: dict[int, str]) -> set[int]:
    """The upstreams that a policy may pick."""
    well = {number for number, state in now.items() if state == "well"}
    return well or {number for number, state in now.items() if state == "ejected"}


def keeps(now: dict[int, str], number: int) -> bool:
    """Whether it serves requests pinned to it."""
    return now[number] in ("well", "draining") or number in takes_new(now)


@given(st.lists(st.one_of(_CHANGE, _ASK), max_size=25))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_pins_hold_while_they_can_in_any_order_of_changes(steps: list[tuple[int, str]]) -> None:
    harness = Harness(COUNT, sticky=OWN)
    session = Session(harness)
    now = dict.fromkeys(range(1, COUNT + 1), "well")
    pins: dict[str, tuple[int, bytes]] = {}
    expected: dict[str, int] = {}
    for number, what in steps:
        if number:
            now[number] = what
            states(harness, {each: STATES[state] for each, state in now.items()})
            continue
        if not takes_new(now):
            continue  # otherwise there is no upstream for a new client
        pinned, token = pins.get(what, (0, b""))
        session.send(b"pin=" + token if token else b"")
        served = session.server
        session.serving.receive(OK)
        harness.settle()
        response = session.client.take()
        if pinned and keeps(now, pinned):
            result = "hit"
            assert served == pinned
            assert cookies_given(response) == []
        else:
            result = "repinned" if pinned else "new"
            assert served in takes_new(now)
            pins[what] = served, token_in(response)
        expected[result] = expected.get(result, 0) + 1
    assert counted(harness) == expected
    states(harness, {})
    harness.check_and_close()
