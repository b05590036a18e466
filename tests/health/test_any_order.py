"""Checks under any order of answers, silence, live traffic, stalls of ours, moves and removals."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.health.harness import CLOSED, ERROR, HANG, OK, SETTINGS, After, FakeUpstream, Scene

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
# Until the next check begins: INTERVAL, and where checks of others hold the room, what these may take.
LONGEST = SETTINGS.interval + 3 * 2 * SETTINGS.timeout


def take(scene: Scene, members: dict[str, FakeUpstream], step: tuple[object, ...]) -> None:
    match step:
        case ("run", float(seconds)):
            scene.run(seconds)
        case ("stall", float(seconds)):
            scene.stall(seconds)
        case ("answers", str(name), answer):
            scene.probes[name].always = answer  # type: ignore[assignment]  # the strategy draws answers
        case ("served", str(name)):
            scene.live[name] += 1
        case ("busy", str(name)):
            scene.busy ^= {name}
        case ("moved", str(name)) if name in members:
            members[name].port += 1
            scene.checks.moved(members[name])
        case ("removed", str(name)) if name in members:
            scene.checks.remove(members.pop(name))
            scene.loop.settle()
            scene.probes[name] = scene._probe()
        case ("added", str(name)) if name not in members:
            (members[name],) = scene.add(name)
        case ("doubted", str(name)) if name in members:
            scene.checks.check_now(members[name], lambda _: None)
    scene.loop.settle()


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_never_two_checks_of_one_and_never_none_for_long(steps: list[tuple[object, ...]]) -> None:
    scene = Scene(at_once=AT_ONCE)
    members = {one.id: one for one in scene.add("app1", "app2", "app3")}
    scene.busy.update(members)
    for name in members:
        scene.probes[name].always = After(2.5, OK)
    scene.checks.start()
    for step in steps:
        take(scene, members, step)
        assert 0 <= scene.checks._room <= AT_ONCE
    # Whoever is there is checked on, and what is true by now is found out.
    for name in members:
        scene.probes[name].always = ERROR if name == "app2" else OK
    begun = {name: len(scene.probes[name].asked) for name in members}
    scene.run(LONGEST)
    assert all(len(scene.probes[name].asked) > begun[name] for name in members)
    scene.run(2 * LONGEST)
    for name in members:
        assert scene.checks._watches["default", name].verdict.failing is (name == "app2")
    assert scene.checks.first_round_done
    # With nobody asked any more, all room is free again.
    for name in members:
        scene.checks.remove(members[name])
    scene.loop.settle()
    assert scene.checks._room == AT_ONCE
    scene.close()
