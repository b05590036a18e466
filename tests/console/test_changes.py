"""The requests of `balancer drain` and similar commands, and how they wait."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from rich.text import Text

from balancer.console.changes import POLL, Changes, StillBusyError
from balancer.console.client import AdminClient
from balancer.console.places import Place
from tests.fakes.loop import FakeClock


class ScriptedClient(AdminClient):
    """Answers with these counts in flight, one per request, and records what it was asked for."""

    def __init__(self, *running: int) -> None:
        super().__init__(Place("127.0.0.1", 9901))
        self._running = list(running)
        self.targets: list[str] = []
        self.pool: Mapping[str, Any] = {"eligible": 1, "panic": False}
        self.causes: list[str] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {})
        self.asked: list[tuple[str, str, Mapping[str, Any] | None]] = []

    def get(self, target: str, field: str, patience: float = 0.0) -> Mapping[str, Any]:
        self.targets.append(target)
        if field == "eligible":
            return self.pool
        return {field: self._running.pop(0)}

    def patch(self, target: str, change: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        self.targets.append(target)
        return {"inflight": self._running.pop(0), "causes": self.causes, "effective_weight": 3.0, **change}

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
        self.asked.append((method, target, body))
        return self.answer


class Harness:
    def __init__(self, *running: int, named: str = "app1:8000") -> None:
        self.client = ScriptedClient(*running)
        self.clock = FakeClock()
        self.began_ns = self.clock.monotonic_ns()
        self.changes = Changes(self.client, named, clock=self.clock, sleep=self.clock.advance)
        self.said = ""

    def do(self, lines: Iterator[Text]) -> None:
        for line in lines:
            self.said += f"{line.plain}\n"

    @property
    def passed(self) -> float:
        return (self.clock.monotonic_ns() - self.began_ns) / 1e9


NAMES = [
    pytest.param("app1:8000", "default/upstreams/app1%3A8000", id="of the default pool"),
    pytest.param("web/app1:8000", "web/upstreams/app1%3A8000", id="of another pool"),
    pytest.param("unix:/run/a.sock", "default/upstreams/unix%3A%2Frun%2Fa.sock", id="socket"),
    pytest.param("web/unix:/a/b", "web/upstreams/unix%3A%2Fa%2Fb", id="socket of another pool"),
    pytest.param("[::1]:8000", "default/upstreams/%5B%3A%3A1%5D%3A8000", id="IPv6"),
    pytest.param("app 1", "default/upstreams/app%201", id="not allowed in a URL"),
    pytest.param("a?b#c", "default/upstreams/a%3Fb%23c", id="reserved in a URL"),
    pytest.param("\u00e4pp", "default/upstreams/%C3%A4pp", id="not ASCII"),
]


@pytest.mark.parametrize(("named", "target"), NAMES)
def test_any_upstream_name_is_requested_as_it_is(named: str, target: str) -> None:
    harness = Harness(0, named=named)
    harness.do(harness.changes.want("active"))
    assert harness.client.targets == [f"/api/pools/{target}"]


SAID = [
    pytest.param("draining", 3, "app1:8000 is draining; 3 in flight may finish\n", id="some run"),
    pytest.param("maintenance", 0, "app1:8000 is in maintenance\n", id="none runs"),
    pytest.param("active", 3, "app1:8000 is active\n", id="they may stay"),
]


@pytest.mark.parametrize(("wanted", "running", "said"), SAID)
def test_the_result_of_a_change_is_printed(wanted: str, running: int, said: str) -> None:
    harness = Harness(running)
    harness.do(harness.changes.want(wanted))
    assert harness.said == said


@pytest.mark.parametrize(
    ("panic", "then"),
    [(True, "go to the ejected ones"), (False, "get 503")],
    ids=["panic", "no upstream"],
)
def test_draining_the_last_upstream_explains_the_consequence(panic: bool, then: str) -> None:
    harness = Harness(0, named="web/app1:8000")
    harness.client.pool = {"eligible": 0, "panic": panic}
    harness.do(harness.changes.want("draining"))
    assert (
        harness.said == f"app1:8000 is draining\nno upstream of pool web is eligible now: requests {then}\n"
    )
    assert harness.client.targets[-1] == "/api/pools/web"


def test_an_active_but_ejected_upstream_is_not_reported_as_serving() -> None:
    harness = Harness(0)
    harness.client.causes = ["active_check"]
    harness.do(harness.changes.want("active"))
    assert harness.said == "app1:8000 is active, but still ejected; balancer status says why\n"


def test_drain_is_complete_only_after_workers_have_heard_of_it() -> None:
    harness = Harness(0, 2, 1, 0)
    harness.do(harness.changes.want("draining"))
    harness.do(harness.changes.wait(30))
    assert harness.said.splitlines()[-1] == "app1:8000 has nothing in flight"
    assert harness.passed == 3 * POLL


@pytest.mark.parametrize(("most", "passed"), [(0, POLL), (1.2, 3 * POLL)])
def test_a_timeout_is_an_error(most: float, passed: float) -> None:
    harness = Harness(2, 2, 2, 2)
    with pytest.raises(StillBusyError, match=rf"still has 2 in flight after {most:g} s"):
        harness.do(harness.changes.wait(most))
    assert harness.passed == passed


@pytest.mark.parametrize(
    ("weight", "said"),
    [(3, "app1:8000 has the weight 3\n"), (6, "app1:8000 has the weight 6, 3 so far in its slow start\n")],
)
def test_a_weight_is_set(weight: int, said: str) -> None:
    harness = Harness(0)
    harness.do(harness.changes.weigh(weight))
    assert harness.said == said


ADDED = [
    pytest.param(201, False, "10.0.0.9:8000 is added to pool web\n", id="new"),
    pytest.param(
        201, True, "10.0.0.9:8000 is added to pool web; it serves once it has passed a check\n", id="checked"
    ),
    pytest.param(200, False, "10.0.0.9:8000 is already in pool web\n", id="there already"),
]


@pytest.mark.parametrize(("status", "unchecked", "said"), ADDED)
def test_an_upstream_is_added(status: int, unchecked: bool, said: str) -> None:
    harness = Harness(named="web/10.0.0.9:8000?weight=2")
    harness.client.answer = (status, {"id": "10.0.0.9:8000", "unchecked": unchecked})
    harness.do(harness.changes.add())
    assert harness.said == said
    assert harness.client.asked == [
        ("POST", "/api/pools/web/upstreams", {"upstream": "10.0.0.9:8000?weight=2"})
    ]


REMOVED = [
    pytest.param(200, {"inflight": 0}, "app1:8000 is removed from pool default\n", id="idle"),
    pytest.param(
        200, {"inflight": 2}, "app1:8000 is removed from pool default; 2 in flight may finish\n", id="busy"
    ),
    pytest.param(404, {"result": "gone"}, "app1:8000 is not in pool default; nothing to remove\n", id="gone"),
]


@pytest.mark.parametrize(("status", "answer", "said"), REMOVED)
def test_an_upstream_is_removed(status: int, answer: dict[str, Any], said: str) -> None:
    harness = Harness()
    harness.client.answer = (status, answer)
    harness.do(harness.changes.remove())
    assert harness.said == said
    assert harness.client.asked == [("DELETE", "/api/pools/default/upstreams/app1%3A8000", None)]
