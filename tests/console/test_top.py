"""`balancer top`: its screen, its keys, and instances that go away."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from balancer.console.client import AdminClient, UnreachableError
from balancer.console.places import Place
from balancer.console.top import Top
from balancer.console.top_keys import keys_in
from balancer.console.top_poll import Source
from tests.console.answers import check, event
from tests.console.top_answers import answer, one, text_of
from tests.fakes.loop import FakeClock

AWAY = UnreachableError("nothing answers on 10.0.0.2:9901")

KEYS = [
    pytest.param("q", ["q"], id="letter"),
    pytest.param("\x1b[A\x1b[B", ["up", "down"], id="arrows"),
    pytest.param("\x1bOA", ["up"], id="application mode"),
    pytest.param("\x1b", ["escape"], id="escape"),
    pytest.param("\x1b[15~q", ["q"], id="a key without a use"),
    pytest.param("\x1b[1;5Cq", ["q"], id="with a modifier"),
    pytest.param("\x1b[", [], id="cut off"),
    pytest.param("\rj", ["enter", "down"], id="two"),
    pytest.param("\x1b[5~\x1b[6~", ["page up", "page down"], id="pages"),
]


@pytest.mark.parametrize(("sent", "keys"), KEYS)
def test_keys_are_read_from_what_a_terminal_sends(sent: str, keys: list[str]) -> None:
    assert list(keys_in(sent)) == keys


class ScriptedClient(AdminClient):
    """Answers in turn; the last one for ever."""

    def __init__(self, *answers: Mapping[str, Any] | UnreachableError, host: str = "10.0.0.1") -> None:
        super().__init__(Place(host, 9901))
        self.answers = list(answers)
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        self.asked.append(target)
        if field == "events":
            after = int(target.rpartition("=")[2])
            return {
                "last": self.events[-1]["revision"] if self.events else 0,
                "events": [one for one in self.events if one["revision"] > after],
            }
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, UnreachableError):
            raise found
        return found


class Harness:
    def __init__(self, *clients: ScriptedClient) -> None:
        self.clock = FakeClock()
        self.sources = [Source(client, self.clock) for client in clients]
        self.top = Top(self.sources, self.clock)
        self.ask()

    def ask(self) -> None:
        self.clock.advance(1.0)
        for source in self.sources:
            source.ask()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.top.press(key)

    def shown(self, width: int = 80, height: int = 24) -> list[str]:
        console = Console(file=StringIO(), width=width, height=height)
        return text_of(self.top.screen(console), width, height)


def test_the_screen_has_a_row_for_each_pool_and_upstream() -> None:
    harness = Harness(ScriptedClient(answer(one("app1", 0)), answer(one("app1", 20))))
    assert harness.shown()[0] == "balancer top   10.0.0.1:9901   08:49:38 UTC"
    assert harness.shown()[2].split() == ["default", "1", "of", "1", "-", "-", "-", "-", "-", "0", "0"]
    harness.ask()
    assert harness.shown()[3].split() == ["app1", "active", "20", "0", *["10", "ms"] * 3, "0"]
    assert harness.shown()[-1].startswith("q: quit")


def test_an_instance_that_goes_away_is_stale_and_comes_back_without_wrong_rates() -> None:
    client = ScriptedClient(
        answer(one("app1", 10)),
        answer(one("app1", 20)),
        AWAY,
        answer(one("app1", 9000)),
        answer(one("app1", 9005)),
    )
    harness = Harness(client)
    harness.ask()
    harness.ask()
    lines_now = harness.shown()
    assert lines_now[1].startswith("stale since 08:49:39: nothing answers")
    assert lines_now[4].split()[:3] == ["app1", "active", "10"]  # as it was
    harness.ask()
    assert "stale" not in " ".join(harness.shown())
    assert harness.shown()[3].split()[:3] == ["app1", "active", "-"]
    harness.ask()
    assert harness.shown()[3].split()[:3] == ["app1", "active", "5.0"]


def test_of_several_instances_only_those_that_answer_count() -> None:
    harness = Harness(
        ScriptedClient(answer(one("app1", inflight=1))),
        ScriptedClient(answer(one("app1", inflight=2)), AWAY, host="10.0.0.2"),
        ScriptedClient(AWAY, host="10.0.0.3"),
    )
    assert harness.shown()[1].startswith("10.0.0.3:9901 not seen so far: nothing answers")
    assert harness.shown()[4].split()[-1] == "3"
    harness.ask()
    assert harness.shown()[0].startswith("balancer top   3 instances")
    assert harness.shown()[1].startswith("10.0.0.2:9901 stale since 08:49:38: nothing answers")
    assert harness.shown()[5].split()[-1] == "1"


def test_keys_sort_and_quit() -> None:
    harness = Harness(ScriptedClient(answer(one("a", inflight=1), one("b", inflight=5))))
    assert [line.split()[0] for line in harness.shown()[3:5]] == ["a", "b"]
    harness.press("i")
    assert [line.split()[0] for line in harness.shown()[3:5]] == ["b", "a"]
    harness.press("x", "q")
    assert harness.top.quits


def test_an_upstream_is_chosen_and_looked_into() -> None:
    failed = check(passed=False, status=500, text="500 on /", hint="500 on /: the app fails")
    client = ScriptedClient(
        answer(one("a"), one("b", 10, 1, last_check=failed)),
        answer(one("a"), one("b", 20, 3, last_check=failed)),
    )
    client.events = [
        {**event(1, text="a ejected: it fails"), "upstream": "a"},
        {**event(2, text="b ejected: it fails"), "upstream": "b"},
        {**event(3, kind="panic", text="no upstream is eligible"), "upstream": None},
        {**event(4, text="b of another pool"), "pool": "web", "upstream": "b"},
    ]
    harness = Harness(client)
    harness.press("enter")
    assert not harness.top.looks_into  # none is marked
    harness.press("down", "down", "enter")
    harness.ask()
    shown = harness.shown()
    text = "\n".join(shown)
    assert shown[1].split() == ["upstream", "b", "pool", "default"]
    assert "10 requests/s   2.0 errors/s   p50 10 ms" in text
    assert "responses   200: 17   503: 3" in text
    assert "last check  12:00:00  500 on /, 2 ms" in text
    assert "last check: 500 on /: the app fails" in text
    assert [line for line in shown if line.startswith("12:00:00")] == [
        "12:00:00  ejected  b ejected: it fails",
        "12:00:00  panic    no upstream is eligible",
    ]
    harness.press("escape")
    assert harness.shown()[1].startswith("pool, upstream")
    asked = len(client.asked)
    harness.ask()
    assert client.asked[asked:] == ["/api/pools"]


def test_a_look_into_several_instances_shows_each() -> None:
    harness = Harness(
        ScriptedClient(answer(one("a", inflight=1))),
        ScriptedClient(answer(one("a", inflight=4)), host="10.0.0.2"),
    )
    harness.press("down", "enter")
    text = "\n".join(harness.shown())
    assert "together    -" in text
    assert (
        text.index("instance    10.0.0.1:9901") < text.index("inflight    1 ") < text.index("10.0.0.2:9901")
    )
    assert "inflight    4 " in text


def test_only_new_events_are_asked_for_and_a_restart_is_noticed() -> None:
    client = ScriptedClient(answer(one("a")))
    client.events = [{**event(7), "upstream": "a"}]
    harness = Harness(client)
    harness.press("down", "enter")
    harness.ask()
    harness.ask()
    assert [target for target in client.asked if "events" in target] == [
        "/api/events?after=0",
        "/api/events?after=7",
    ]
    client.events = [{**event(1, text="a is at another address"), "upstream": "a"}]
    harness.ask()
    harness.ask()
    assert harness.sources[0].events[-1]["text"] == "a is at another address"


def test_an_upstream_that_leaves_while_it_is_looked_into_ends_the_look() -> None:
    harness = Harness(ScriptedClient(answer(one("a"), one("b")), answer(one("a"))))
    harness.press("down", "down", "enter")
    harness.ask()
    assert harness.shown()[1].startswith("pool, upstream")
    harness.press("down")
    assert harness.top.cursor == ("default", "a")


@pytest.mark.parametrize("height", [6, 10, 24])
def test_the_marked_row_stays_on_the_screen(height: int) -> None:
    harness = Harness(ScriptedClient(answer(*(one(f"app{number:03}") for number in range(300)))))
    for steps, name in ((1, "app000"), (150, "app150"), (500, "app299")):
        harness.press(*["down"] * steps)
        shown = harness.shown(height=height)
        assert len(shown) <= height
        assert any(line.split()[:1] == [name] for line in shown)
    assert shown[-2].endswith(" more")
    harness.press(*["page up"] * 40)
    assert any(line.split()[:1] == ["app000"] for line in harness.shown(height=height))


@pytest.mark.parametrize("height", [12, 24])
def test_events_fill_the_rest_of_the_screen(height: int) -> None:
    client = ScriptedClient(answer(one("a")))
    client.events = [{**event(number, text=f"event {number}"), "upstream": "a"} for number in range(1, 100)]
    harness = Harness(client)
    harness.press("down", "enter")
    harness.ask()
    shown = harness.shown(height=height)
    assert len(shown) <= height
    assert any("event 99" in line for line in shown)
    assert shown[-1] == "q: quit   esc: back"
