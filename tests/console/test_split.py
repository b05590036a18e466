"""`balancer split`: both sides beside each other, and the change of weights."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from balancer.console.client import AdminClient, Place
from balancer.console.split import HEADINGS, SplitCommand, parse_weights, set_read_only
from balancer.errors import OperatorError

BOUNDS = [0.001, 0.01, 0.1, 1.0]


def side(pool: str, weight: int, codes: Mapping[str, int], buckets: list[int]) -> dict[str, Any]:
    return {
        "pool": pool,
        "weight": weight,
        "inflight": 1,
        "requests": sum(codes.values()),
        "codes": dict(codes),
        "duration_buckets": buckets,
        "duration_sum": 0.5,
        "first_byte_buckets": buckets,
        "retries": 2,
        "eligible": 1,
    }


class ScriptedClient(AdminClient):
    """Answers with these sides, one after the other, and records changes."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        super().__init__(Place("127.0.0.1", 9901))
        self.answers = list(answers)
        self.answer: dict[str, Any] = {"route": "web", "weights": {"stable": 1, "canary": 3}}
        self.gates: list[dict[str, Any]] = []
        self.changes: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        if not self.answers:
            raise KeyboardInterrupt
        route = {"name": "web", "split": True, "sides": self.answers.pop(0), "gate": None}
        if self.gates:
            route["gate"] = self.gates.pop(0)
        return {"bounds": BOUNDS, "routes": [route]}

    def patch(self, target: str, change: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        self.changes.append((target, change))
        return self.answer


FIRST = [
    side("stable", 90, {"200": 88, "503": 2}, [10, 70, 8, 2, 0]),
    side("canary", 10, {"200": 10}, [0, 0, 0, 0, 10]),
]
THEN = [
    side("stable", 90, {"200": 178, "503": 2}, [10, 160, 8, 2, 0]),
    side("canary", 10, {"200": 20}, [10, 0, 0, 0, 10]),
]


def shown(client: AdminClient, watch: bool = False, route: str = "web") -> list[list[str]]:
    output = StringIO()
    command = SplitCommand(client, Console(file=output, width=120), route, sleep=lambda seconds: None)
    if watch:
        with pytest.raises(KeyboardInterrupt):
            command.watch()
    else:
        command.show()
    return [
        line.replace(" ms", "ms").replace("> 1 s", ">1s").replace("1 s", "1s").split()
        for line in output.getvalue().splitlines()
    ]


def test_the_sides_are_shown_beside_each_other() -> None:
    rows = shown(ScriptedClient(FIRST))
    assert ["pool", *HEADINGS] in rows
    assert ["stable", "90", "1", "1", "90", "90%", "2", "2", "10ms", "100ms", "1s"] in rows
    assert ["canary", "10", "1", "1", "10", "10%", "0", "2", ">1s", ">1s", ">1s"] in rows


def test_watching_shows_the_last_second() -> None:
    rows = shown(ScriptedClient(FIRST, THEN), watch=True)
    assert ["stable", "90", "1", "1", "90", "90%", "0", "0", "10ms", "10ms", "10ms"] in rows
    assert ["canary", "10", "1", "1", "10", "10%", "0", "0", "1ms", "1ms", "1ms"] in rows


def test_new_weights_are_sent_and_shown_with_their_shares() -> None:
    client = ScriptedClient()
    output = StringIO()
    SplitCommand(client, Console(file=output, width=120), "a/b").set(parse_weights(["stable=1", "canary=3"]))
    assert client.changes == [("/api/routes/a%2Fb/split", {"stable": 1, "canary": 3})]
    assert output.getvalue() == "a/b is split: stable 1 (25%), canary 3 (75%)\n"


@pytest.mark.parametrize("word", ["canary", "canary=", "=5", "canary=5%", "canary=-1", "canary=٣"])
def test_what_is_no_weight_is_refused(word: str) -> None:
    with pytest.raises(OperatorError, match="is no weight of a side; write POOL=WEIGHT"):
        parse_weights([word])


def test_an_unknown_route_is_named_with_those_that_there_are() -> None:
    with pytest.raises(OperatorError, match="there is no route x; the routes: web"):
        shown(ScriptedClient(FIRST), route="x")


GATE = {"abort_if": ["errors>1%"], "hold": 600.0, "passed": 3.0, "back_to": {"stable": 90, "canary": 10}}


@pytest.mark.parametrize(
    ("last", "has_held", "said"),
    [
        (THEN, True, "web: it has held"),
        ([side("stable", 100, {}, [0] * 5), side("canary", 0, {}, [0] * 5)], False, "web: taken back"),
    ],
)
def test_a_watched_change_is_followed_to_its_end(
    last: list[dict[str, Any]], has_held: bool, said: str
) -> None:
    client = ScriptedClient(FIRST, THEN, last)
    client.gates = [GATE, GATE]
    output = StringIO()
    command = SplitCommand(client, Console(file=output, width=120), "web", sleep=lambda seconds: None)
    command.set({"canary": 10}, 600.0, "errors>1%")
    assert client.changes[0][1] == {
        "weights": {"canary": 10},
        "gate": {"hold": 600.0, "abort_if": "errors>1%"},
    }
    assert command.follow() is has_held
    assert f"\n{said}" in output.getvalue()  # on a line of its own
    assert "held for 3 of 600 s; back if errors>1%" in output.getvalue()


@pytest.mark.parametrize(
    ("now", "said"), [(59.6, "a/b is read-only for 60 s\n"), (0, "a/b serves changes\n")]
)
def test_a_route_is_made_read_only(now: float, said: str) -> None:
    client = ScriptedClient()
    client.answer = {"read_only": now}
    output = StringIO()
    set_read_only(client, Console(file=output, width=120), "a/b", 60.0)
    assert client.changes == [("/api/routes/a%2Fb", {"read_only": 60.0})]
    assert output.getvalue() == said
