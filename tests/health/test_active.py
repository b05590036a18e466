"""When upstreams are checked: at once at the start, then each at its own interval."""

from collections import Counter

import pytest

from balancer.health.result import Reply
from tests.health.harness import CLOSED, ERROR, HANG, OK, SETTINGS, After, FakeUpstream, Harness


def starts(harness: Harness, name: str) -> list[float]:
    return [when for when, _, _ in harness.probes[name].asked]


def test_all_first_checks_run_at_once() -> None:
    harness = Harness()
    names = [f"app{number}" for number in range(100)]
    harness.add(*names)
    harness.loop.settle()
    assert harness.at_once[1] == 0, "nothing before start"
    for name in names:
        harness.probes[name].script.append(HANG)
    harness.checks.start()
    harness.loop.settle()
    assert harness.at_once[0] == 100
    harness.close()


def test_concurrent_checks_are_capped_and_none_is_left_out() -> None:
    harness = Harness(at_once=8)
    names = [f"app{number}" for number in range(50)]
    harness.add(*names)
    for name in names:
        harness.probes[name].script.append(After(0.99, OK))
    harness.checks.start()
    harness.run(6.9)
    assert not harness.checks.first_round_done
    harness.run(0.2)
    assert harness.checks.first_round_done
    assert harness.at_once[1] == 8
    assert all(len(starts(harness, name)) >= 1 for name in names)
    harness.close()


def test_the_interval_is_jittered_and_never_exceeded() -> None:
    harness = Harness()
    names = [f"app{number}" for number in range(20)]
    harness.add(*names)
    harness.checks.start()
    harness.run(40)
    periods = [
        later - earlier
        for name in names
        for earlier, later in zip(starts(harness, name)[1:], starts(harness, name)[2:], strict=False)
    ]
    assert len(periods) >= 20 * 18
    assert min(periods) >= 1.8 - 0.01
    assert max(periods) <= 2.0 + 0.02
    assert max(periods) - min(periods) > 0.15
    harness.close()


def test_checks_of_a_thousand_upstreams_are_spread_out() -> None:
    harness = Harness()
    names = [f"app{number}" for number in range(1000)]
    harness.add(*names)
    harness.checks.start()
    harness.run(6)
    begun = min(starts(harness, names[0]))
    beats = Counter(int((when - begun) / 0.1) for name in names for when in starts(harness, name))
    # After the first round, 1,000 checks in 2 s are 50 in a tenth of a second if spread evenly.
    assert max(count for beat, count in beats.items() if beat >= 2) < 110
    harness.close()


def test_a_new_upstream_is_checked_at_once() -> None:
    harness = Harness()
    harness.checks.start()
    assert harness.checks.first_round_done
    harness.run(5)
    now = harness.clock.monotonic_ns() / 1e9
    harness.add("app1")
    harness.loop.settle()
    assert starts(harness, "app1") == [now]
    assert harness.told == ["app1 checked"]
    harness.close()


@pytest.mark.parametrize("answer", [OK, HANG], ids=["at rest", "while its check runs"])
def test_a_removed_upstream_is_not_reported_again(answer: object) -> None:
    harness = Harness()
    [upstream] = harness.add("app1")
    harness.probes["app1"].script.extend([OK, answer])  # type: ignore[list-item]  # the table's type is wide
    harness.checks.start()
    harness.run(2.1)
    told = list(harness.told)
    harness.checks.remove(upstream)
    assert harness.checks.last(upstream) is None
    assert harness.checks.counts(upstream) == {}
    harness.run(5)
    assert harness.probes["app1"].closed
    assert len(starts(harness, "app1")) == 2
    assert harness.told == told
    harness.checks.remove(upstream)  # a second call does nothing
    harness.close()


def test_an_upstream_removed_while_waiting_for_its_check_is_not_checked() -> None:
    harness = Harness(at_once=1)
    _, second, _ = harness.add("app1", "app2", "app3", interval=60.0)
    harness.probes["app1"].script.append(HANG)
    harness.checks.start()
    harness.loop.settle()
    harness.checks.remove(second)
    harness.run(1.1)
    assert [len(starts(harness, name)) for name in ("app1", "app2", "app3")] == [1, 0, 1]
    assert harness.checks.first_round_done
    harness.close()


def test_an_upstream_without_an_address_is_checked_once_it_has_one() -> None:
    harness = Harness()
    upstream = FakeUpstream("app1", address="")
    harness.checks.add(upstream, SETTINGS)
    harness.checks.start()
    harness.run(5)
    assert starts(harness, "app1") == []
    assert harness.checks.first_round_done, "readiness does not wait for a name that does not resolve"
    upstream.address = "10.0.0.7"
    harness.checks.moved(upstream)
    harness.loop.settle()
    assert [where for _, *where in harness.probes["app1"].asked] == [["10.0.0.7", 8000]]
    harness.close()


def test_a_silently_changed_address_is_noticed() -> None:
    harness = Harness()
    upstream = FakeUpstream("app1", address="")
    harness.checks.add(upstream, SETTINGS)
    harness.checks.start()
    harness.run(1)
    upstream.address = "10.0.0.7"
    harness.run(2.1)
    assert len(starts(harness, "app1")) >= 1
    harness.close()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param([OK, OK], ["checked", "checked"], id="passing before and after"),
        pytest.param(
            [OK, ERROR, ERROR, OK], ["checked", "failing", "checked", "passing"], id="failing after"
        ),
        pytest.param([ERROR, OK], ["failing", "checked"], id="failing before"),
    ],
)
def test_after_a_new_address_a_check_runs_at_once_and_counts_start_afresh(
    script: list[Reply], told: list[str]
) -> None:
    harness = Harness()
    [upstream] = harness.add("app1")
    harness.probes["app1"].script.extend(script)
    harness.checks.start()
    harness.loop.settle()
    upstream.address = "10.0.0.2"
    harness.checks.moved(upstream)
    harness.loop.settle()
    assert [where for _, *where in harness.probes["app1"].asked] == [["10.0.0.1", 8000], ["10.0.0.2", 8000]]
    harness.run(5)
    assert harness.told == [f"app1 {one}" for one in told]
    harness.close()


def test_a_check_of_a_former_address_is_ignored() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)
    harness.probes["app1"].script.append(HANG)
    harness.checks.start()
    harness.loop.settle()
    upstream.address = "10.0.0.2"
    harness.checks.moved(upstream)
    harness.loop.settle()
    assert harness.told == ["app1 checked"]
    assert harness.checks.counts(upstream) == {"passed": 1}
    harness.close()


def test_a_late_answer_from_a_former_address_is_ignored() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)

    def move() -> None:
        upstream.address = "10.0.0.2"
        harness.checks.moved(upstream)

    harness.probes["app1"].script.extend([ERROR, OK])
    harness.probes["app1"].then = move
    harness.checks.start()
    harness.loop.settle()
    assert harness.told == ["app1 checked"]
    assert harness.checks.counts(upstream) == {"passed": 1}
    harness.close()


def test_the_port_of_the_settings_overrides_the_upstreams() -> None:
    harness = Harness()
    harness.add("app1", port=9000)
    harness.checks.start()
    harness.loop.settle()
    assert [where for _, *where in harness.probes["app1"].asked] == [["10.0.0.1", 9000]]
    harness.close()


def test_checks_of_one_upstream_never_overlap_even_if_the_timeout_exceeds_the_interval() -> None:
    harness = Harness()
    harness.add("app1", interval=0.5, timeout=2.0)
    harness.probes["app1"].always = HANG
    harness.checks.start()
    harness.run(8.5)
    assert [round(when - starts(harness, "app1")[0]) for when in starts(harness, "app1")] == [0, 2, 4, 6, 8]
    harness.close()


def test_a_bug_in_a_check_does_not_end_the_checks(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)
    harness.probes["app1"].script.append(ZeroDivisionError("a bug"))
    harness.checks.start()
    harness.run(2.1)
    assert harness.checks.counts(upstream)["not_made"] == 1
    assert harness.checks.counts(upstream)["passed"] >= 1
    assert harness.told == ["app1 checked"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    harness.close()


def test_a_sink_that_raises_does_not_end_the_checks() -> None:
    harness = Harness()
    harness.add("app1", fall=1)
    harness.probes["app1"].script.append(ERROR)
    tell = harness._tell

    def stumble(what: str, why: str) -> None:
        tell(what, why)
        if what == "app1 failing":
            raise ZeroDivisionError

    harness._tell = stumble  # type: ignore[method-assign]  # the harness is the test's own
    harness.checks.start()
    with pytest.raises(ZeroDivisionError):
        harness.loop.settle()
    harness.run(5)
    assert harness.told == ["app1 failing", "app1 checked", "app1 passing"]
    harness.close()


def test_the_sink_may_remove_the_upstream() -> None:
    harness = Harness()
    [upstream] = harness.add("app1", fall=1)
    harness.probes["app1"].always = ERROR
    tell = harness._tell

    def remove(what: str, why: str) -> None:
        tell(what, why)
        harness.checks.remove(upstream)

    harness._tell = remove  # type: ignore[method-assign]  # the harness is the test's own
    harness.checks.start()
    harness.run(5)
    assert len(starts(harness, "app1")) == 1
    assert harness.probes["app1"].closed
    harness.close()


def test_close_ends_running_checks_and_closes_every_connection() -> None:
    harness = Harness(at_once=2)
    harness.add("app1", "app2", "app3")
    for name in ("app1", "app2", "app3"):
        harness.probes[name].script.append(HANG)
    harness.checks.start()
    harness.run(0.2)
    harness.close()
    assert all(probe.closed for probe in harness.probes.values())
    assert harness.told == []


def test_durations_are_counted_by_pool() -> None:
    harness = Harness()
    harness.checks.add(FakeUpstream("app1", pool="web"), SETTINGS)
    harness.checks.add(FakeUpstream("app2", pool="api"), SETTINGS)
    harness.probes["app1"].script.extend([CLOSED, HANG])
    harness.checks.start()
    harness.run(3)
    web, api = harness.checks.durations["web"], harness.checks.durations["api"]
    assert sum(web.cells) == len(starts(harness, "app1"))
    assert web.sum == pytest.approx(1.0, abs=0.05)
    assert api.cells[1] == len(starts(harness, "app2"))
    assert api.sum == 0.0
    harness.close()
