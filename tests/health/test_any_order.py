"""Checks under any order of answers, silence, live traffic, our own stalls, moves and removals."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.health.harness import CLOSED, ERROR, HANG, OK, SETTINGS, After, FakeUpstream, Harness

AT_ONCE = 2
ANSWERS = st.one_of(
    st.sampled_from([OK, ERROR, CLOSED, HANG]),
    st.builds(After, st.floats(0.01, 5.0), st.sampled_from([OK, ERROR])),
)
NAMES = st.sampled_from(["app1", "app2", "app3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.floats(0.01, 2.5)),
        st.tuples(st.just("stall"), st.floats(0.01, 2.5)),
        st.tuples(st.just("answers"), NAMES, ANSWERS),
        st.tuples(st.just("served"), NAMES),
        st.tuples(st.just("busy"), NAMES),
        st.tuples(st.just("moved"), NAMES),
        st.tuples(st.just("removed"), NAMES),
        st.tuples(st.just("added"), NAMES),
        st.tuples(st.just("doubted"), NAMES),
    ),
    max_size=40,
)
# Until the next check begins: INTERVAL, and if other checks are at the cap, the time that these may take.
LONGEST = SETTINGS.interval + 3 * 2 * SETTINGS.timeout


def take(harness: Harness, members: dict[str, FakeUpstream], step: tuple[object, ...]) -> None:
    match step:
        case ("run", float(seconds)):
            harness.run(seconds)
        case ("stall", float(seconds)):
            harness.stall(seconds)
        case ("answers", str(name), answer):
            harness.probes[name].always = answer  # type: ignore[assignment]  # the strategy draws answers
        case ("served", str(name)):
            harness.live[name] += 1
        case ("busy", str(name)):
            harness.busy ^= {name}
        case ("moved", str(name)) if name in members:
            members[name].port += 1
            harness.checks.moved(members[name])
        case ("removed", str(name)) if name in members:
            harness.checks.remove(members.pop(name))
            harness.loop.settle()
            harness.probes[name] = harness._probe()
        case ("added", str(name)) if name not in members:
            (members[name],) = harness.add(name)
        case ("doubted", str(name)) if name in members:
            harness.checks.check_now(members[name], lambda _: None)
    harness.loop.settle()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_each_upstream_is_checked_one_at_a_time_and_without_long_gaps(
    steps: list[tuple[object, ...]],
) -> None:
    harness = Harness(at_once=AT_ONCE)
    members = {one.id: one for one in harness.add("app1", "app2", "app3")}
    harness.busy.update(members)
    for name in members:
        harness.probes[name].always = After(2.5, OK)
    harness.checks.start()
    for step in steps:
        take(harness, members, step)
        assert 0 <= harness.checks._room <= AT_ONCE
    # Every member is still checked, and its present state is found.
    for name in members:
        harness.probes[name].always = ERROR if name == "app2" else OK
    begun = {name: len(harness.probes[name].asked) for name in members}
    harness.run(LONGEST)
    assert all(len(harness.probes[name].asked) > begun[name] for name in members)
    harness.run(2 * LONGEST)
    for name in members:
        assert harness.checks._watches["default", name].verdict.failing is (name == "app2")
    assert harness.checks.first_round_done
    # Without any members no check runs.
    for name in members:
        harness.checks.remove(members[name])
    harness.loop.settle()
    assert harness.checks._room == AT_ONCE
    harness.close()
