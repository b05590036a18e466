"""The figures of fault runs from records and ledgers, the verdict, and the presentation of both."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.faults import ledger, report
from loadtests.faults.figures import Run, Timeline, Window, measure, together
from loadtests.faults.ledger import Entry, Ledger
from loadtests.faults.verdict import broken_promises
from loadtests.open_loop import records
from loadtests.open_loop.figures import MAX_LAG, Latency, latency
from loadtests.open_loop.records import Kind, Record

WINDOW = Window(baseline=10.0, onset=20.0, end=30.0)


def record(
    number: int, begun: float, kind: Kind = Kind.OK, method: str = "GET", took: float = 0.01
) -> Record:
    return Record(number, method, begun, 0.001, took, kind, 502 if kind is Kind.STATUS else 200)


def run(**changes: object) -> Run:
    quick = Latency(0.01, 0.02, 0.03)
    whole = Run("balancer", "kill", 600, Counter(), Counter(), None, quick, quick, 0.1, 0, 0.002)
    return replace(whole, **changes)  # type: ignore[arg-type]  # tests name fields


def test_a_run_is_split_into_phases() -> None:
    timeline = Timeline.of(30)
    assert (timeline.warm_up, timeline.before, timeline.fault, timeline.after) == pytest.approx((3, 6, 12, 9))
    assert timeline.whole == pytest.approx(30)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param([], Latency(0, 0, 0), id="of nothing"),
        pytest.param([3.0], Latency(3, 3, 3), id="of one"),
        pytest.param([float(n) for n in range(100, 0, -1)], Latency(50, 99, 100), id="of a hundred"),
    ],
)
def test_percentiles_are_by_nearest_rank(seconds: list[float], expected: Latency) -> None:
    assert latency(seconds) == expected


def test_requests_in_flight_at_the_onset_belong_to_the_fault() -> None:
    seen = [
        record(0, 5.0, took=9.0),  # warming up
        record(1, 15.0, took=0.1),
        record(2, 19.9, took=2.0),
        record(3, 25.0, took=0.2),
        record(4, 35.0, took=8.0),  # afterwards
    ]
    measured = measure(("balancer", "kill"), seen, [[]], WINDOW, 0)
    assert measured.before == Latency(0.1, 0.1, 0.1)
    assert measured.during == Latency(0.2, 2.0, 2.0)


def test_failures_are_counted_by_method_and_kind_in_all_phases() -> None:
    seen = [
        record(0, 12.0, Kind.RESET),
        record(1, 22.0, Kind.STATUS),
        record(2, 23.0, Kind.STATUS),
        record(3, 24.5, Kind.TIMEOUT, method="POST"),
        record(4, 26.0),
    ]
    measured = measure(("balancer", "kill"), seen, [[]], WINDOW, 0)
    assert measured.gets == {"reset": 1, "status 502": 2}
    assert measured.posts == {"timeout": 1}
    assert measured.last_failure == pytest.approx(4.5)


def test_a_failure_before_the_onset_is_not_the_last_failure_after_it() -> None:
    assert measure(("balancer", "kill"), [record(0, 12.0, Kind.RESET)], [[]], WINDOW, 0).last_failure is None


@pytest.mark.parametrize(("ill", "share"), [(0, 0.5), (1, 0.25), (None, None)])
def test_the_share_of_the_ill_replica(ill: int | None, share: float | None) -> None:
    seen = [record(number, 21.0 + number) for number in range(4)]
    ledgers = [[Entry("GET", 0), Entry("GET", 1), Entry("GET", 99)], [Entry("GET", 1)]]
    assert measure(("balancer", "kill"), seen, ledgers, WINDOW, ill).ill_share == share


@pytest.mark.parametrize(
    ("ledgers", "twice"),
    [
        pytest.param([[Entry("POST", 1)], [Entry("POST", 2)]], set(), id="once each"),
        pytest.param([[Entry("POST", 1)], [Entry("POST", 1)]], {1}, id="by two replicas"),
        pytest.param([[Entry("POST", 1), Entry("POST", 1)]], {1}, id="by one"),
        pytest.param([[Entry("GET", 1)], [Entry("GET", 1)]], set(), id="a GET may be"),
    ],
)
def test_posts_read_twice_are_counted(ledgers: list[list[Entry]], twice: set[int]) -> None:
    assert ledger.posts_read_twice(ledgers) == twice


def test_a_ledger_outlives_its_replica(tmp_path: Path) -> None:
    for number in (b"1", b"2"):
        with Ledger(tmp_path / "ledger") as written:
            written.enter(b"POST", ledger.TARGET.encode() + number)
    assert ledger.read(tmp_path / "ledger") == [Entry("POST", 1), Entry("POST", 2)]


def test_records_round_trip(tmp_path: Path) -> None:
    seen = [record(0, 1.5), record(1, 2.5, Kind.STATUS, "POST")]
    records.write(tmp_path / "records", seen)
    assert records.read(tmp_path / "records") == seen


def test_runs_are_combined() -> None:
    runs = [
        run(gets=Counter({"reset": 1}), last_failure=2.0, ill_share=0.1, lag=0.01),
        run(gets=Counter({"reset": 2}), during=Latency(0.01, 0.5, 0.9), ill_share=0.3, posts_read_twice=1),
        run(posts=Counter({"timeout": 1}), last_failure=1.0, ill_share=0.2),
    ]
    one = together(runs)
    assert one.requests == 1800
    assert one.gets == {"reset": 3}
    assert one.posts == {"timeout": 1}
    assert (one.last_failure, one.ill_share, one.posts_read_twice, one.lag) == (2.0, 0.2, 1, 0.01)
    assert one.during == Latency(0.01, 0.02, 0.9)


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        pytest.param({}, [], id="no failures"),
        pytest.param({"gets": Counter({"reset": 1})}, ["1 GET requests failed"], id="a GET failed"),
        pytest.param({"posts": Counter({"status 502": 9})}, [], id="a POST may fail"),
        pytest.param({"posts_read_twice": 2}, ["2 POST requests were read twice"], id="a POST read twice"),
        pytest.param({"posts": Counter({"wrong": 1})}, ["the response to another"], id="another's response"),
        pytest.param({"lag": 2 * MAX_LAG}, ["invalid"], id="the load was late"),
        pytest.param({"fault": "half", "gets": Counter({"cut": 9})}, [], id="half a response is cut"),
        pytest.param(
            {"fault": "half", "gets": Counter({"cut": 9, "reset": 1})}, ["1 GET"], id="half, but not cut"
        ),
        pytest.param({"gets": Counter({"cut": 9})}, ["9 GET"], id="cut by another fault"),
        pytest.param(
            {"balancer": "nginx", "gets": Counter({"reset": 1}), "posts_read_twice": 1}, [], id="others may"
        ),
        pytest.param({"balancer": "nginx", "lag": 1.0}, ["invalid"], id="others' runs may not be invalid"),
    ],
)
def test_fault_verdict(changes: dict[str, object], sentences: list[str]) -> None:
    found = broken_promises([run(**changes)])
    assert len(found) == len(sentences)
    assert all(part in sentence for part, sentence in zip(sentences, found, strict=True))


@pytest.mark.parametrize(
    ("counts", "text"),
    [(Counter(), "0"), (Counter({"reset": 2, "status 502": 10}), "12: 10 status 502, 2 reset")],
)
def test_failures_are_shown_by_kind(counts: Counter[str], text: str) -> None:
    assert report.failures(counts) == text


def test_the_table_is_complete() -> None:
    rows = [
        run(gets=Counter({"status 500": 7}), last_failure=1.25),
        run(balancer="nginx", lag=1.0, ill_share=None),
    ]
    console = Console(width=160)
    with console.capture() as shown:
        console.print(report.table(rows, "title"))
    for text in ("7: 7 status 500", "1.2", "10 / 20 / 30", "10.0%", "nginx invalid"):
        assert text in shown.get()


def test_the_json_file_has_every_run(tmp_path: Path) -> None:
    runs = [run(gets=Counter({"reset": 1})), run()]
    report.write_json(tmp_path / "faults.json", {"runs": 2}, [together(runs)], runs)
    document = json.loads((tmp_path / "faults.json").read_text())
    assert document["table"][0]["gets"] == {"reset": 1}
    assert [one["gets"] for one in document["runs"]] == [{"reset": 1}, {}]
    assert document["runs"][0]["is_valid"] is True
