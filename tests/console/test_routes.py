"""The routes in the output of `balancer status`, at any width."""

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console, Group

from balancer.console import status as shown_status
from balancer.console.client import AdminClient
from balancer.console.places import Place
from balancer.console.routes import HEADINGS, MOST, routes
from tests.console.answers import pools, upstream
from tests.console.test_split import BOUNDS, side


def route(name: str, *sides: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"name": name, "split": len(sides) > 1, "sides": sides, "gate": None, "read_only": 0.0, **other}


def answer(*given: dict[str, Any]) -> dict[str, Any]:
    return {"bounds": BOUNDS, "routes": given}


FAST, SLOW = [90, 8, 2, 0, 0], [0, 0, 90, 9, 1]
UPLOAD = route("upload", side("api", 1, {"200": 90, "404": 5, "499": 5}, FAST))
SHOP = route("shop", side("stable", 90, {"200": 90}, FAST), side("canary", 10, {"200": 7, "503": 3}, SLOW))
MOVED = route("moved", side("", 0, {"301": 1200}, FAST))
UNMATCHED = route("unmatched", side("", 0, {}, [0] * 5))


def shown(*given: dict[str, Any], width: int = 100, most: int | None = None) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, highlight=False).print(Group(*routes(answer(*given), width, most)))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def cells(lines: list[str]) -> list[list[str]]:
    return [line.replace(" ms", "ms").replace(" s", "s").split() for line in lines]


@pytest.mark.parametrize(
    "only", [[], [UPLOAD], [UPLOAD, UNMATCHED]], ids=["none", "one", "no unmatched ones"]
)
def test_a_site_with_one_route_to_one_pool_has_no_table(only: list[dict[str, Any]]) -> None:
    assert shown(*only) == []


def test_each_side_of_each_route_has_a_row_with_its_counts_and_times() -> None:
    rows = cells(shown(UPLOAD, SHOP, MOVED, UNMATCHED))
    assert rows[0] == list(HEADINGS)
    assert rows[2:6] == [
        ["upload", "api", "100", "7%", "10", "0", "2", "1ms", "10ms", "100ms"],
        ["shop", "stable:90", "90", "6%", "0", "0", "2", "1ms", "10ms", "100ms"],
        ["canary:10", "10", "1%", "0", "3", "30.0%", "2", "100ms", "1s", "1s"],
        ["moved", "-", "1,200", "86%", "0", "0", "-", "1ms", "10ms", "100ms"],
    ]
    assert rows[6:] == [[]]


def test_requests_that_no_route_matches_are_shown_if_there_were_any() -> None:
    unmatched = route("unmatched", side("", 0, {"404": 4}, FAST))
    assert cells(shown(UPLOAD, unmatched))[3][:5] == ["unmatched", "-", "4", "4%", "4"]


def test_one_route_that_is_split_has_a_table() -> None:
    assert [row[:1] for row in cells(shown(SHOP))[2:4]] == [["shop"], ["canary:10"]]


@pytest.mark.parametrize("width", [50, 60, 70, 80, 120])
def test_a_narrow_console_has_fewer_columns_but_all_rows(width: int) -> None:
    lines = shown(UPLOAD, SHOP, MOVED, width=width)
    assert max(map(len, lines)) <= width
    assert [line.split()[0] for line in lines[2:6]] == ["upload", "shop", "canary:10", "moved"]
    assert {"errors", "p95"} <= set(lines[0].split())
    assert ("retries" in lines[0]) is (width > 60)


def test_of_many_routes_those_with_errors_and_many_requests_are_shown_in_their_order() -> None:
    many = [route(f"r{number}", side("a", 1, {"200": number}, FAST)) for number in range(100)]
    many[40] = route("ill", side("a", 1, {"500": 1}, FAST))
    lines = shown(*many)
    names = [line.split()[0] for line in lines[2 : 2 + MOST]]
    assert names == ["ill", *(f"r{number}" for number in range(81, 100))]
    assert lines[2 + MOST] == "... and 80 more with fewer errors and requests (use --json)"
    assert len(shown(*many, most=3)) == 2 + 3 + 1 + 1


def test_what_an_operator_has_changed_for_a_while_is_below_the_table() -> None:
    gate = {"abort_if": ["errors>1%", "p95>1.3x"], "hold": 600.0, "passed": 3.2, "back_to": {}, "waiting": ""}
    lines = shown({**UPLOAD, "read_only": 58.6}, {**SHOP, "gate": gate})
    assert lines[-3:-1] == [
        "upload: serves no changes for another 59 s",
        "shop: new weights held for 3 of 600 s; back if errors>1%, p95>1.3x",
    ]


class Scripted(AdminClient):
    """Answers like an instance with two routes."""

    def __init__(self) -> None:
        super().__init__(Place("127.0.0.1", 9901))

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        if target == "/api/certificates":
            return {"certificates": []}
        return answer(UPLOAD, SHOP) if target == "/api/routes" else pools(upstream("app1:8000"))


def test_status_shows_pools_and_then_routes() -> None:
    file = StringIO()
    shown_status.show(Scripted(), Console(file=file, width=100), as_json=False)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("pool default")
    assert lines[5].split() == list(HEADINGS)


def test_the_json_has_both(capsys: pytest.CaptureFixture[str]) -> None:
    shown_status.show(Scripted(), Console(), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in printed["pools"]] == ["default"]
    assert [one["name"] for one in printed["routes"]] == ["upload", "shop"]


def test_both_fit_into_the_height_of_a_terminal() -> None:
    many = [route(f"r{number}", side("a", 1, {"200": number}, FAST)) for number in range(100)]
    both = {**pools(*(upstream(f"app{number}:8000") for number in range(50))), **answer(*many)}
    console = Console(file=StringIO(), width=100)
    assert len(console.render_lines(shown_status.fitting(both, console, 24), pad=False)) <= 24


SLO = {"latency": 0.3, "percentile": 95.0, "errors": 0.01, "window": 2_592_000.0}


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ({"requests": 1000, "slow": 50, "failed": 10}, []),
        ({"requests": 0, "slow": 0, "failed": 0}, []),
        (
            {"requests": 1000, "slow": 81, "failed": 0},
            ["api: of 1,000 requests at api so far 8.10% later than 300ms (promised: 5%)", ""],
        ),
        (
            {"requests": 1000, "slow": 0, "failed": 11},
            ["api: of 1,000 requests at api so far 1.10% failed (promised: 1%)", ""],
        ),
    ],
    ids=["kept", "no requests", "slow", "failed"],
)
def test_a_promise_that_was_not_kept_is_noted(counts: dict[str, int], note: list[str]) -> None:
    assert shown(route("api", {**side("api", 1, {"200": 9}, FAST), "slo": {**SLO, **counts}})) == note
