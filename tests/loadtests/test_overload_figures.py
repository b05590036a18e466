"""The figures of overload runs, the verdict, and their presentation."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.figures import Latency
from loadtests.open_loop.records import Kind as Ended
from loadtests.open_loop.records import Record
from loadtests.overload import report
from loadtests.overload.figures import Cpu, Goodput, Run, measure
from loadtests.overload.options import parse
from loadtests.overload.scenes import SCENES, Kind, Scene, Window
from loadtests.overload.verdict import missed_aims

START = 100.0
SCENE = Scene(
    "short",
    "two seconds of each",
    Kind.OVERLOAD,
    [Phase(10, 6, (Sort("/r/"),))],
    Window(begins=2, counts=3, ends=4, least=5),
)
CPU = Cpu(idle=0.01, before=0.12, during=0.5)


def record(at: float, kind: Ended = Ended.OK, took: float = 0.1, status: int = 200) -> Record:
    return Record(0, "GET", START + at, 0.001, took, kind, status if kind is not Ended.TIMEOUT else 0)


def refusal(at: float) -> Record:
    return record(at, Ended.STATUS, 0.01, 503)


def run(**changes: object) -> Run:
    """A run that meets every bound, with `changes`."""
    good = Run(
        scene="threefold",
        balancer="balancer",
        requests=20_900,
        warm=(900, 900),
        by_second=(300, 400),
        goodput=Goodput(380, 390.0),
        refused=12_000,
        timeouts=0,
        others=Counter(),
        served=Latency(0.1, 0.5, 0.6),
        recovery=0.0,
        ejections=0,
        cpu_served=100e-6,
        cpu_refused=40e-6,
        lag=0.002,
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # tests name fields


def test_goodput_counts_each_answer_in_the_second_of_its_arrival() -> None:
    seen = [record(0.5), record(1.95), *[record(2.1)] * 4, *[record(3.2)] * 6, record(5.0)]
    measured = measure(SCENE, "balancer", seen, START, 0, CPU)
    assert measured.by_second == (1, 0, 5, 6, 0, 1)
    assert measured.goodput == Goodput(6, 5.5)
    assert measured.warm == (2, 2)


def test_failures_are_told_apart() -> None:
    seen = [record(1.0), refusal(2.5), record(2.6, Ended.TIMEOUT), record(2.7, Ended.CUT), refusal(4.5)]
    measured = measure(SCENE, "balancer", seen, START, None, CPU)
    assert (measured.refused, measured.timeouts, measured.others) == (2, 1, {"cut": 1})
    assert measured.recovery == pytest.approx(0.5)


def test_cpu_time_is_divided_between_served_and_refused() -> None:
    seen = [*[record(0.5)] * 100, *[record(2.1)] * 200, *[refusal(2.2)] * 1000]
    measured = measure(SCENE, "balancer", seen, START, 0, CPU)
    assert measured.cpu_served == pytest.approx(1e-3)  # 0.12 s minus 2 s of idling, for 100
    assert measured.cpu_refused == pytest.approx(
        0.28e-3
    )  # the rest of 0.5 s after 200 served requests and idling


def test_with_many_timeouts_the_cost_of_a_refusal_is_unknown() -> None:
    seen = [record(0.5), refusal(2.1), record(2.2, Ended.TIMEOUT)]
    assert measure(SCENE, "balancer", seen, START, 0, CPU).cpu_refused is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"goodput": Goodput(369, 400)}, "goodput 369/s in the worst second", id="goodput"),
        pytest.param({"served": Latency(0.1, 1.2, 2)}, "took 1.2 s", id="slow"),
        pytest.param({"ejections": 1}, "1 ejections", id="ejected"),
        pytest.param({"warm": (899, 900)}, "1 requests failed before", id="warm phase"),
        pytest.param({"recovery": 3.0}, "until 3.0 s after", id="no recovery"),
        pytest.param({"cpu_refused": 200e-6}, "costs more", id="dear refusals"),
        pytest.param({"lag": 0.06, "refused": 0}, "invalid", id="invalid"),
        pytest.param({"scene": "burst", "goodput": None}, "12000 requests failed", id="in the way"),
    ],
)
def test_missed_bounds_are_reported(changes: dict[str, object], message: str) -> None:
    (sentence,) = missed_aims([run(**changes)])
    assert message in sentence


def test_other_balancers_and_killed_replicas_have_no_bounds() -> None:
    assert missed_aims([run()]) == []
    assert missed_aims([run(balancer="nginx", goodput=Goodput(0, 0))]) == []
    assert missed_aims([run(scene="replicas-halve", ejections=2)]) == []


@pytest.mark.parametrize(
    ("took", "message"),
    [
        pytest.param(Latency(0.021, 0.06, 0.1), None, id="noise"),
        pytest.param(Latency(0.023, 0.06, 0.1), "p50 is 23 ms, and 20 without", id="p50"),
        pytest.param(Latency(0.02, 0.08, 0.1), "p99 is 80 ms, and 50 without", id="p99"),
    ],
)
def test_a_delay_is_compared_with_the_run_without_a_limit(took: Latency, message: str | None) -> None:
    quiet = run(scene="burst", goodput=None, refused=0)
    without = replace(quiet, balancer="without limit", served=Latency(0.02, 0.05, 0.1))
    missed = missed_aims([replace(quiet, served=took), without])
    assert missed == [] if message is None else message in missed[0]


def test_the_table_has_a_row_for_each_run(tmp_path: Path) -> None:
    console = Console(width=200, record=True)
    with console.capture() as shown:
        console.print(report.table([run(), run(balancer="nginx", recovery=9.99, ejections=None)], "title"))
    assert "900/900" in shown.get()
    assert "never" in shown.get()
    report.write_json(tmp_path / "file", [run(others=Counter(cut=2))])
    assert json.loads((tmp_path / "file").read_text())[0]["others"] == {"cut": 2}


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_consistent(name: str) -> None:
    scene = SCENES[name]
    assert all(sum(sort.share for sort in phase.sorts) == pytest.approx(1) for phase in scene.phases)
    assert all(0 <= step.at < scene.seconds for step in scene.steps)
    assert (scene.window is None) == (scene.kind is Kind.AWAY)
    if scene.window is not None:
        assert 0 < scene.window.begins <= scene.window.counts < scene.window.ends <= scene.seconds


def test_command_line_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse([]).scenes == tuple(SCENES)
    assert parse(["--vs", "nginx"]).balancers(SCENES["tenfold"]) == ("balancer", "nginx")
    assert parse(["--vs", "nginx"]).balancers(SCENES["burst"]) == ("balancer", "without limit")
    with pytest.raises(SystemExit):
        parse(["--only", "flood"])
    assert "'flood' is none of threefold" in capsys.readouterr().err
