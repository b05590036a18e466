"""`balancer explain`: a request as a story, from one instance or several, and filters on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from balancer.admin.explained import Summary
from balancer.console.client import AdminClient, UnreachableError
from balancer.console.explain import list_all, parsed, seconds_of, show, watch
from balancer.console.places import Place
from balancer.errors import OperatorError
from balancer.runtime.explanations import summary
from balancer.spec.explained import AttemptSeen, Explanation, StepSeen
from balancer.spec.part import encode_plain
from tests.fakes.explained import CHOICE, ROUTE, explanation

PAGE = Path(__file__).parents[2] / "docs/explain.md"
UNKNOWN = "no request 'r9' is explained here. Kept are the last errors"


class FakeInstance(AdminClient):
    """The admin API of an instance that keeps these explanations; `lists` are further ones, by request."""

    def __init__(self, *kept: Explanation, port: int = 9901, away: bool = False) -> None:
        super().__init__(Place("10.0.0.1", port))
        self.kept = list(kept)
        self.lists: list[Explanation] = []
        self.orders: list[Any] = []
        self.away = away

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        shown = [plain(summary(one)) for one in reversed(self.kept)]
        if self.lists:
            self.kept.append(self.lists.pop(0))
        return {"requests": shown, "left_out": 0}

    def ask(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
        field: str,
        *,
        results: Collection[str] = (),
        patience: float = 0.0,
    ) -> tuple[int, Mapping[str, Any]]:
        if self.away:
            raise UnreachableError(f"nothing answers on {self.place}")
        if method == "POST":
            self.orders.append(body)
            return 200, {"now": {}}
        found = [one for one in self.kept if target == f"/api/explain/{one.request_id}"]
        if not found:
            return 404, {"result": "unknown", "error": UNKNOWN}
        return 200, {"explanations": [json.loads(json.dumps(encode_plain(one))) for one in found]}


def plain(one: Summary) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


class Printed:
    """A wide console, and what it has printed."""

    def __init__(self) -> None:
        self._file = StringIO()
        self.console = Console(file=self._file, width=160, highlight=False, markup=False, emoji=False)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._file.getvalue().splitlines())


def test_the_example_of_the_page_is_what_is_printed() -> None:
    shown = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    story = [
        (0.0, "took route web: every request"),
        (0.0, "chose app1:8000 by least_connections"),
        (4.3, "no connection to app1:8000: connect_refused, connection refused"),
        (4.4, "no upstream to choose: 0 of 1 candidates free, 1 tried, 1 not eligible"),
        (4.5, "the balancer answered 502 itself: connect_refused, connection refused"),
    ]
    one = explanation(
        request_id="7f3c9a1be20d4c55",
        began="2026-02-01T12:00:06.475Z",
        client="10.0.0.99",
        target="/cart?id=***",
        split=None,
        pin=None,
        route=ROUTE,
        story=tuple(StepSeen(at=at, kind="", text=text) for at, text in story),
    )
    printed = Printed()
    show([FakeInstance(one)], printed.console, "7f3c9a1be20d4c55", as_json=False)
    assert printed.text.startswith(shown)


def test_all_that_is_known_is_printed() -> None:
    without = {"passed_over": (), "panic": True, "waiting": 3, "left_out": 2, "upstream": None, "by": ""}
    retried = msgspec.structs.replace(CHOICE, **without)
    one = explanation(choices=(CHOICE, retried), notes=("A note.",), trace_id="4bf92f")
    printed = Printed()
    show([FakeInstance(one)], printed.console, "r1", as_json=False)
    lines = [re.sub(r" +", " ", line) for line in printed.text.splitlines()]
    for line in (
        "request r1, began 2026-02-01T12:00:00.000Z, kept because of: failure, trace 4bf92f",
        "route web, number 2: every request",
        " not api: path below /api/",
        "side web of web 90, new 10, by cookie",
        "pin new: the client has no pin",
        "choice 1 at 0.0 ms: app1:8000 by least_connections",
        " app1:8000 0.5/2 3 - 8 chosen",
        " app2:8000 - 1 - - draining",
        "choice 2 at 0.0 ms: none; panic: none is eligible, so ejected ones are used; "
        "3 requests waited in the queue",
        "and 2 others",
        "cut by connect_refused, refused (to act: upstream)",
        " while dialling",
        "A note.",
    ):
        assert line in lines, line


def test_several_instances_are_asked_and_the_one_that_knows_it_is_named() -> None:
    printed = Printed()
    clients = [FakeInstance(), FakeInstance(explanation(), port=9902), FakeInstance(away=True)]
    show(clients, printed.console, "r1", as_json=False)
    assert "; at 10.0.0.1:9902" in printed.text


def test_an_unknown_request_is_an_error_that_names_who_was_asked() -> None:
    clients = [FakeInstance(), FakeInstance(port=9902), FakeInstance(port=9903, away=True)]
    with pytest.raises(OperatorError) as caught:
        show(clients, Printed().console, "r9", as_json=False)
    assert str(caught.value) == (
        f"{UNKNOWN}; nothing answers on 10.0.0.1:9903 (asked: 10.0.0.1:9901, 10.0.0.1:9902, 10.0.0.1:9903)"
    )


def test_json_is_that_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    show([FakeInstance(explanation())], Printed().console, "r1", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["explanations"] == [json.loads(json.dumps(encode_plain(explanation())))]


def test_the_list_has_a_line_for_each() -> None:
    printed = Printed()
    list_all([FakeInstance(explanation())], printed.console, as_json=False)
    (line,) = [line for line in printed.text.splitlines() if " r1 " in line]
    began, request_id, why, method, target, *rest = line.split()
    assert (began, request_id, why) == ("2026-02-01T12:00:00.000Z", "r1", "failure")
    assert (method, target) == ("GET", "/x?token=***")
    assert rest == ["502", "connect_refused", "app1:8000", "1", "4.5", "ms"]


def test_an_empty_list_says_so() -> None:
    printed = Printed()
    list_all([FakeInstance()], printed.console, as_json=False)
    assert printed.text == "no request is explained yet: none has failed, and nothing was asked for"


def test_watching_orders_it_and_prints_what_comes() -> None:
    before = explanation(request_id="before", why="watch")
    instance = FakeInstance(before)
    instance.lists = [
        explanation(request_id="failed"),
        explanation(request_id="seen", why="watch", cut=None, status=200),
    ]
    printed = Printed()
    slept: list[float] = []
    watch([instance], printed.console, "path=/api client=192.0.2.1", "2s", as_json=False, sleep=slept.append)
    assert instance.orders == [{"path": "/api", "client": "192.0.2.1", "seconds": 2.0}]
    first, *lines = printed.text.splitlines()
    assert first == "explains path=/api client=192.0.2.1 for 2s; Ctrl-C stops looking"
    assert [line.split()[1] for line in lines] == ["seen"]
    assert sum(slept) == 3.0


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ("api", "--watch: api is not known; write path, host, client, method, route"),
        ("target=/x", "--watch: target=/x is not known"),
        ("path=", "--watch: path= is not known"),
        ("path=/a path=/b", "--watch: path is named twice"),
    ],
)
def test_a_wrong_filter_is_an_error(wish: str, error: str) -> None:
    with pytest.raises(OperatorError, match=f"^{re.escape(error)}"):
        parsed(wish)


def test_a_wrong_duration_is_an_error() -> None:
    assert seconds_of("5m") == 300.0
    with pytest.raises(OperatorError, match="--for: soon is not a duration"):
        seconds_of("soon")


def test_an_attempt_without_times_is_printed() -> None:
    """Of an error that no worker has explained."""
    unseen = AttemptSeen(
        upstream="app1:8000", at=None, sent=None, reused=None, first_byte=None, ended=None,
        result="connect_refused", detail="",
    )  # fmt: skip
    one = explanation(attempts=(unseen,), choices=(), waits=(), split=None, pin=None)
    show([FakeInstance(one)], Printed().console, "r1", as_json=False)
