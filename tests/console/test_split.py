"""`balancer split`: both sides beside each other, and the change of weights."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from balancer.console.client import AdminClient
from balancer.console.places import Place
from balancer.console.split import (
    HEADINGS,
    NOT_WATCHED,
    SplitCommand,
    _since,
    parse_weights,
    set_read_only,
    split_everywhere,
)
from balancer.errors import OperatorError

BOUNDS = [0.001, 0.01, 0.1, 1.0]


def side(pool: str, weight: int, codes: Mapping[str, int], buckets: list[int]) -> dict[str, Any]:
    return {
        "pool": pool,
        "weight": weight,
        "inflight": 1,
        "requests": sum(codes.values()),
        "codes": dict(codes),
        "broken_off": 0,
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
        self.at_end: BaseException = KeyboardInterrupt()
        self.answer: dict[str, Any] = {"route": "web", "weights": {"stable": 1, "canary": 3}, "gate": None}
        self.last_gate: dict[str, Any] | None = None
        self.gates: list[dict[str, Any]] = []
        self.changes: list[tuple[str, Mapping[str, Any]]] = []

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        if not self.answers:
            raise self.at_end
        route = {"name": "web", "split": True, "sides": self.answers.pop(0), "gate": None}
        route["last_gate"] = self.last_gate
        if self.gates:
            route["gate"] = self.gates.pop(0)
        plain = {"name": "api", "split": False, "sides": [side("api", 1, {}, [0] * 5)]}
        return {"bounds": BOUNDS, "routes": [route, plain]}

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


def shown(client: AdminClient, watch: bool = False, route: str = "web", width: int = 120) -> list[list[str]]:
    return [
        line.replace(" ms", "ms").replace("> 1 s", ">1s").replace("1 s", "1s").split()
        for line in lines_of(client, watch, route, width)
    ]


def lines_of(client: AdminClient, watch: bool, route: str, width: int) -> list[str]:
    output = StringIO()
    command = SplitCommand(client, Console(file=output, width=width), route, sleep=lambda seconds: None)
    if watch:
        with pytest.raises(KeyboardInterrupt):
            command.watch()
    else:
        command.show()
    return output.getvalue().splitlines()


def test_the_sides_are_shown_beside_each_other() -> None:
    rows = shown(ScriptedClient(FIRST))
    assert list(HEADINGS) in rows
    assert ["stable", "90", "1", "1", "90", "90%", "0", "2", "2.2%", "2", "10ms", "100ms", "1s"] in rows
    assert ["canary", "10", "1", "1", "10", "10%", "0", "0", "2", ">1s", ">1s", ">1s"] in rows


def test_watching_shows_the_last_second() -> None:
    rows = shown(ScriptedClient(FIRST, THEN), watch=True)
    assert ["stable", "90", "1", "1", "90", "90%", "0", "0", "0", "10ms", "10ms", "10ms"] in rows
    assert ["canary", "10", "1", "1", "10", "10%", "0", "0", "0", "1ms", "1ms", "1ms"] in rows


def test_new_weights_are_sent_and_shown_with_their_shares() -> None:
    client = ScriptedClient()
    output = StringIO()
    command = SplitCommand(client, Console(file=output, width=120), "a/b")
    said = command.set(parse_weights(["stable=1", "canary=3"]))
    assert client.changes == [("/api/routes/a%2Fb/split", {"stable": 1, "canary": 3})]
    assert said.plain == "a/b is split: stable 1 (25%), canary 3 (75%)"


@pytest.mark.parametrize("word", ["canary", "canary=", "=5", "canary=5%", "canary=-1", "canary=٣"])
def test_what_is_no_weight_is_refused(word: str) -> None:
    with pytest.raises(OperatorError, match="is no weight of a side; write POOL=WEIGHT"):
        parse_weights([word])


def test_two_weights_of_one_side_are_refused() -> None:
    with pytest.raises(OperatorError, match="canary has two weights, 50 and 20; write one"):
        parse_weights(["canary=50", "canary=20"])


def test_an_unknown_route_is_named_with_those_that_there_are() -> None:
    with pytest.raises(OperatorError, match="there is no route x; the routes: web, api"):
        shown(ScriptedClient(FIRST), route="x")


def test_a_route_that_is_not_split_says_so() -> None:
    with pytest.raises(OperatorError, match="route api is not split; split are: web"):
        shown(ScriptedClient(FIRST), route="api")


def test_responses_that_broke_off_are_errors() -> None:
    sides = [{**FIRST[0], "broken_off": 7}, FIRST[1]]
    (row,) = [row for row in shown(ScriptedClient(sides)) if row[:1] == ["stable"]]
    assert row[7:9] == ["9", "10.0%"]


LARGE = [
    {**side("stable-2026-11", 999_900, {"200": 1_234_567, "404": 23_456, "503": 12_345}, [0] * 4 + [9])},
    {**side("canary-2026-12", 100, {"200": 123_456, "404": 2_345, "521": 1_234}, [0] * 4 + [9])},
]


@pytest.mark.parametrize("width", [60, 70, 80, 100])
@pytest.mark.parametrize("sides", [FIRST, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("watch", [False, True])
def test_a_narrow_console_has_fewer_columns_but_whole_figures(
    sides: list[dict[str, Any]], width: int, watch: bool
) -> None:
    client = ScriptedClient(sides, sides)
    client.gates = [GATE, GATE]
    lines = lines_of(client, watch, "web", width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert {"pool", "weight", "requests", "errors", "p95", "p99"} <= set(text.split())
    assert ("retries" in text, "p50" in text) == (True, True) or width < 80
    assert "back if errors>1%" in " ".join(text.split())


GATE = {
    "number": 4,
    "abort_if": ["errors>1%"],
    "hold": 600.0,
    "passed": 3.0,
    "back_to": {"stable": 90, "canary": 10},
    "waiting": "",
}
WHY = "errors>1%: 20.0% of its requests failed, 0.2% of the others"
OTHER = "an operator has set stable 90, canary 30 meanwhile"


def following(client: ScriptedClient) -> tuple[SplitCommand, StringIO]:
    client.answer["gate"] = GATE
    output = StringIO()
    console = Console(file=output, width=120)
    return SplitCommand(client, console, "web", sleep=lambda seconds: None), output


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        pytest.param({"number": 4, "result": "held", "why": ""}, 0, "it has held", id="held"),
        pytest.param({"number": 4, "result": "breached", "why": WHY}, 1, f"taken back: {WHY}", id="breached"),
        pytest.param(
            {"number": 4, "result": "replaced", "why": OTHER}, 3, f"no longer watched: {OTHER}", id="replaced"
        ),
        pytest.param(
            {"number": 5, "result": "held", "why": ""}, 3, "no longer watched; balancer events", id="other"
        ),
        pytest.param(None, 3, "no longer watched; balancer events says why", id="restarted"),
    ],
)
def test_a_watched_change_is_followed_to_its_end(last: dict[str, Any] | None, code: int, said: str) -> None:
    client = ScriptedClient(FIRST, THEN, THEN)
    client.gates = [GATE, GATE]
    client.last_gate = last
    command, output = following(client)
    command.set({"canary": 10}, 600.0, "errors>1%")
    assert client.changes[0][1] == {
        "weights": {"canary": 10},
        "gate": {"hold": 600.0, "abort_if": "errors>1%"},
    }
    assert command.follow() == code
    assert f"\nweb: {said}" in output.getvalue()  # on a line of its own
    assert "held for 3 of 600 s; back if errors>1%" in output.getvalue()


def test_a_watch_that_another_change_has_taken_over_is_not_followed() -> None:
    client = ScriptedClient(FIRST, THEN)
    client.gates = [GATE, {**GATE, "number": 5}]
    client.last_gate = {"number": 4, "result": "replaced", "why": OTHER}
    command, output = following(client)
    command.set({"canary": 10}, 600.0, "errors>1%")
    assert command.follow() == NOT_WATCHED
    assert OTHER in output.getvalue()


def test_what_the_watch_waits_for_is_shown() -> None:
    client = ScriptedClient(FIRST)
    client.gates = [{**GATE, "waiting": "canary 3 of 100 requests"}]
    lines = lines_of(client, False, "web", 120)
    assert lines[-1] == "held for 3 of 600 s; back if errors>1%; waiting: canary 3 of 100 requests"


def test_after_ctrl_c_it_says_that_the_watch_goes_on() -> None:
    client = ScriptedClient(FIRST)  # interrupted after that
    client.gates = [GATE]
    command, output = following(client)
    command.set({"canary": 10}, 600.0, "errors>1%")
    with pytest.raises(KeyboardInterrupt):
        command.follow()
    assert "\nweb: the balancer goes on watching" in output.getvalue()


def test_an_error_while_following_begins_on_a_line_of_its_own() -> None:
    client = ScriptedClient(FIRST)
    client.gates = [GATE]
    client.at_end = OperatorError("nothing answers")
    command, output = following(client)
    command.set({"canary": 10}, 600.0, "errors>1%")
    with pytest.raises(OperatorError):
        command.follow()
    assert output.getvalue().endswith("\n")


@pytest.mark.parametrize(("now", "said"), [(59.6, "a/b is read-only for 60 s"), (0, "a/b serves changes")])
def test_a_route_is_made_read_only(now: float, said: str) -> None:
    client = ScriptedClient()
    client.answer = {"read_only": now}
    (line,) = set_read_only(client, "a/b", 60.0)
    assert client.changes == [("/api/routes/a%2Fb", {"read_only": 60.0})]
    assert line.plain == said


def instance_of(last: dict[str, Any] | None) -> ScriptedClient:
    """One that watches a change until its next answer but one."""
    client = ScriptedClient(FIRST, THEN)
    client.gates, client.last_gate, client.answer["gate"] = [GATE], last, GATE
    return client


ENDS = {
    "held": {"number": 4, "result": "held", "why": ""},
    "breached": {"number": 4, "result": "breached", "why": WHY},
    "replaced": {"number": 4, "result": "replaced", "why": OTHER},
}


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [("held", "held", 0), ("held", "breached", 1), ("replaced", "held", 3), ("breached", "replaced", 1)],
)
def test_a_change_of_several_instances_is_watched_by_each(first: str, second: str, code: int) -> None:
    clients = [instance_of(ENDS[first]), instance_of(ENDS[second])]
    output = StringIO()
    console = Console(file=output, width=200)
    weights = {"canary": 10}
    ended = split_everywhere(clients, console, "web", weights, 600.0, "errors>1%", sleep=lambda seconds: None)
    assert ended == code
    assert [client.changes[0][1]["weights"] for client in clients] == [weights, weights]
    assert len(output.getvalue().splitlines()) == 4


def test_without_a_watch_several_instances_are_only_changed() -> None:
    clients = [ScriptedClient(), ScriptedClient()]
    output = StringIO()
    assert split_everywhere(clients, Console(file=output, width=200), "web", {"canary": 10}, None, "") == 0
    assert output.getvalue().count("web is split: stable 1 (25%), canary 3 (75%)") == 2


def test_counts_are_compared_over_the_bounds_of_both_looks() -> None:
    before = {**side("canary", 1, {"200": 10}, [4, 3, 2, 1, 0]), "bounds": BOUNDS}
    finer = {**side("canary", 1, {"200": 30}, [4, 3, 6, 10, 4, 3]), "bounds": [0.001, 0.01, 0.05, 0.1, 1.0]}
    found = _since(finer, before)
    assert (found["bounds"], found["first_byte_buckets"]) == (BOUNDS, [0, 0, 14, 3, 3])
