"""When upstreams are checked: at once at start, then each at its own beat."""

from collections import Counter

import pytest

from balancer.health.result import Reply
from tests.health.harness import CLOSED, ERROR, HANG, OK, SETTINGS, After, FakeUpstream, Scene


def starts(scene: Scene, name: str) -> list[float]:
    return [when for when, _, _ in scene.probes[name].asked]


def test_all_first_checks_run_at_once() -> None:
    scene = Scene()
    names = [f"app{number}" for number in range(100)]
    scene.add(*names)
    scene.loop.settle()
    assert scene.at_once[1] == 0, "nothing before start"
    for name in names:
        scene.probes[name].script.append(HANG)
    scene.checks.start()
    scene.loop.settle()
    assert scene.at_once[0] == 100
    scene.close()


def test_no_more_than_the_cap_run_at_a_time_and_none_is_left_out() -> None:
    scene = Scene(at_once=8)
    names = [f"app{number}" for number in range(50)]
    scene.add(*names)
    for name in names:
        scene.probes[name].script.append(After(0.99, OK))
    scene.checks.start()
    scene.run(6.9)
    assert not scene.checks.first_round_done
    scene.run(0.2)
    assert scene.checks.first_round_done
    assert scene.at_once[1] == 8
    assert all(len(starts(scene, name)) >= 1 for name in names)
    scene.close()


def test_the_beat_is_jittered_and_never_slower_than_the_interval() -> None:
    scene = Scene()
    names = [f"app{number}" for number in range(20)]
    scene.add(*names)
    scene.checks.start()
    scene.run(40)
    periods = [
        later - earlier
        for name in names
        for earlier, later in zip(starts(scene, name)[1:], starts(scene, name)[2:], strict=False)
    ]
    assert len(periods) >= 20 * 18
    assert min(periods) >= 1.8 - 0.01
    assert max(periods) <= 2.0 + 0.02
    assert max(periods) - min(periods) > 0.15
    scene.close()


def test_a_thousand_upstreams_do_not_beat_in_step() -> None:
    scene = Scene()
    names = [f"app{number}" for number in range(1000)]
    scene.add(*names)
    scene.checks.start()
    scene.run(6)
    begun = min(starts(scene, names[0]))
    beats = Counter(int((when - begun) / 0.1) for name in names for when in starts(scene, name))
    # After the first round 1,000 checks in 2 s are 50 in a tenth of a second, were they spread evenly.
    assert max(count for beat, count in beats.items() if beat >= 2) < 110
    scene.close()


def test_a_new_upstream_is_checked_at_once() -> None:
    scene = Scene()
    scene.checks.start()
    assert scene.checks.first_round_done
    scene.run(5)
    now = scene.clock.monotonic_ns() / 1e9
    scene.add("app1")
    scene.loop.settle()
    assert starts(scene, "app1") == [now]
    assert scene.told == ["app1 checked"]
    scene.close()


@pytest.mark.parametrize("answer", [OK, HANG], ids=["at rest", "while its check runs"])
def test_of_a_removed_upstream_nothing_is_heard(answer: object) -> None:
    scene = Scene()
    [upstream] = scene.add("app1")
    scene.probes["app1"].script.extend([OK, answer])  # type: ignore[list-item]  # the table's type is wide
    scene.checks.start()
    scene.run(2.1)
    told = list(scene.told)
    scene.checks.remove(upstream)
    assert scene.checks.last(upstream) is None
    assert scene.checks.counts(upstream) == {}
    scene.run(5)
    assert scene.probes["app1"].closed
    assert len(starts(scene, "app1")) == 2
    assert scene.told == told
    scene.checks.remove(upstream)  # once more does nothing
    scene.close()


def test_an_upstream_removed_while_it_waits_for_its_turn_is_not_checked() -> None:
    scene = Scene(at_once=1)
    _, second, _ = scene.add("app1", "app2", "app3", interval=60.0)
    scene.probes["app1"].script.append(HANG)
    scene.checks.start()
    scene.loop.settle()
    scene.checks.remove(second)
    scene.run(1.1)
    assert [len(starts(scene, name)) for name in ("app1", "app2", "app3")] == [1, 0, 1]
    assert scene.checks.first_round_done
    scene.close()


def test_an_upstream_without_an_address_is_not_checked_until_it_has_one() -> None:
    scene = Scene()
    upstream = FakeUpstream("app1", address="")
    scene.checks.add(upstream, SETTINGS)
    scene.checks.start()
    scene.run(5)
    assert starts(scene, "app1") == []
    assert scene.checks.first_round_done, "readiness does not wait for a name that does not resolve"
    upstream.address = "10.0.0.7"
    scene.checks.moved(upstream)
    scene.loop.settle()
    assert [where for _, *where in scene.probes["app1"].asked] == [["10.0.0.7", 8000]]
    scene.close()


def test_an_address_that_comes_without_a_word_is_noticed() -> None:
    scene = Scene()
    upstream = FakeUpstream("app1", address="")
    scene.checks.add(upstream, SETTINGS)
    scene.checks.start()
    scene.run(1)
    upstream.address = "10.0.0.7"
    scene.run(2.1)
    assert len(starts(scene, "app1")) >= 1
    scene.close()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param([OK, OK], ["checked", "checked"], id="well before and after"),
        pytest.param([OK, ERROR, ERROR, OK], ["checked", "failing", "checked", "passing"], id="ill after"),
        pytest.param([ERROR, OK], ["failing", "checked"], id="ill before"),
    ],
)
def test_a_moved_upstream_is_checked_at_once_and_begins_anew(script: list[Reply], told: list[str]) -> None:
    scene = Scene()
    [upstream] = scene.add("app1")
    scene.probes["app1"].script.extend(script)
    scene.checks.start()
    scene.loop.settle()
    upstream.address = "10.0.0.2"
    scene.checks.moved(upstream)
    scene.loop.settle()
    assert [where for _, *where in scene.probes["app1"].asked] == [["10.0.0.1", 8000], ["10.0.0.2", 8000]]
    scene.run(5)
    assert scene.told == [f"app1 {one}" for one in told]
    scene.close()


def test_a_check_of_an_address_it_no_longer_has_says_nothing() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)
    scene.probes["app1"].script.append(HANG)
    scene.checks.start()
    scene.loop.settle()
    upstream.address = "10.0.0.2"
    scene.checks.moved(upstream)
    scene.loop.settle()
    assert scene.told == ["app1 checked"]
    assert scene.checks.counts(upstream) == {"passed": 1}
    scene.close()


def test_an_answer_that_was_on_its_way_while_it_moved_says_nothing() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)

    def move() -> None:
        upstream.address = "10.0.0.2"
        scene.checks.moved(upstream)

    scene.probes["app1"].script.extend([ERROR, OK])
    scene.probes["app1"].then = move
    scene.checks.start()
    scene.loop.settle()
    assert scene.told == ["app1 checked"]
    assert scene.checks.counts(upstream) == {"passed": 1}
    scene.close()


def test_the_port_of_the_settings_wins() -> None:
    scene = Scene()
    scene.add("app1", port=9000)
    scene.checks.start()
    scene.loop.settle()
    assert [where for _, *where in scene.probes["app1"].asked] == [["10.0.0.1", 9000]]
    scene.close()


def test_one_check_of_an_upstream_at_a_time_where_the_timeout_is_longer_than_the_interval() -> None:
    scene = Scene()
    scene.add("app1", interval=0.5, timeout=2.0)
    scene.probes["app1"].always = HANG
    scene.checks.start()
    scene.run(8.5)
    assert [round(when - starts(scene, "app1")[0]) for when in starts(scene, "app1")] == [0, 2, 4, 6, 8]
    scene.close()


def test_a_bug_in_a_check_does_not_end_the_checks(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)
    scene.probes["app1"].script.append(ZeroDivisionError("a bug"))
    scene.checks.start()
    scene.run(2.1)
    assert scene.checks.counts(upstream)["not_made"] == 1
    assert scene.checks.counts(upstream)["passed"] >= 1
    assert scene.told == ["app1 checked"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    scene.close()


def test_a_door_that_raises_does_not_end_the_checks() -> None:
    scene = Scene()
    scene.add("app1", fall=1)
    scene.probes["app1"].script.append(ERROR)
    tell = scene._tell

    def stumble(what: str, why: str) -> None:
        tell(what, why)
        if what == "app1 failing":
            raise ZeroDivisionError

    scene._tell = stumble  # type: ignore[method-assign]  # the scene is the test's own
    scene.checks.start()
    with pytest.raises(ZeroDivisionError):
        scene.loop.settle()
    scene.run(5)
    assert scene.told == ["app1 failing", "app1 checked", "app1 passing"]
    scene.close()


def test_a_door_may_remove_the_upstream() -> None:
    scene = Scene()
    [upstream] = scene.add("app1", fall=1)
    scene.probes["app1"].always = ERROR
    tell = scene._tell

    def remove(what: str, why: str) -> None:
        tell(what, why)
        scene.checks.remove(upstream)

    scene._tell = remove  # type: ignore[method-assign]  # the scene is the test's own
    scene.checks.start()
    scene.run(5)
    assert len(starts(scene, "app1")) == 1
    assert scene.probes["app1"].closed
    scene.close()


def test_close_ends_checks_that_run_and_closes_every_connection() -> None:
    scene = Scene(at_once=2)
    scene.add("app1", "app2", "app3")
    for name in ("app1", "app2", "app3"):
        scene.probes[name].script.append(HANG)
    scene.checks.start()
    scene.run(0.2)
    scene.close()
    assert all(probe.closed for probe in scene.probes.values())
    assert scene.told == []


def test_durations_are_counted_by_pool() -> None:
    scene = Scene()
    scene.checks.add(FakeUpstream("app1", pool="web"), SETTINGS)
    scene.checks.add(FakeUpstream("app2", pool="api"), SETTINGS)
    scene.probes["app1"].script.extend([CLOSED, HANG])
    scene.checks.start()
    scene.run(3)
    web, api = scene.checks.durations["web"], scene.checks.durations["api"]
    assert sum(web.cells) == len(starts(scene, "app1"))
    assert web.sum == pytest.approx(1.0, abs=0.05)
    assert api.cells[0] == len(starts(scene, "app2"))
    assert api.sum == 0.0
    scene.close()
