"""A harness for each test; at the end of each test it is checked that nothing is left behind."""

from collections.abc import Callable, Iterator
from typing import ClassVar, cast

import pytest

from balancer.errors import Outcome
from balancer.policies import registry
from balancer.policies.base import PolicyContext
from balancer.policies.round_robin import RoundRobin
from balancer.upstreams.upstream import Upstream
from tests.proxy.harness import Harness

MakeHarness = Callable[..., Harness]


@pytest.fixture
def make_harness() -> Iterator[MakeHarness]:
    """Builds harnesses with given settings."""
    stages: list[Harness] = []

    def make(*args: object, **changes: object) -> Harness:
        stages.append(Harness(*args, **changes))  # type: ignore[arg-type]  # as `start_message` takes them
        return stages[-1]

    yield make
    for harness in stages:
        harness.check_and_close()


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    """One upstream, default settings."""
    return make_harness()


class Garbage:
    """An invalid answer of a policy: not an upstream, so its first use fails."""

    id = "garbage"

    @property
    def inflight(self) -> int:
        raise ZeroDivisionError("a bug planted in pick")


class Telling(RoundRobin):
    """Records the outcomes of attempts, and can be made to fail: to pick garbage, or to raise."""

    tracks_load: ClassVar[bool] = True

    def __init__(self, context: PolicyContext, told: list[Outcome], bugs: set[str]) -> None:
        super().__init__(context)
        self._told = told
        self._bugs = bugs

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        if "pick" in self._bugs:
            return cast(Upstream, Garbage())
        return super().pick(key, tried)

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self._told.append(outcome)
        if "finished" in self._bugs:
            raise ZeroDivisionError("a bug planted in finished")


@pytest.fixture
def bugs() -> set[str]:
    """The methods of the policy `telling` that are broken."""
    return set()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, bugs: set[str]) -> list[Outcome]:
    """Registers the policy `telling`; returns the outcomes that it is told."""
    outcomes: list[Outcome] = []
    monkeypatch.setitem(registry.BUILT_IN, "telling", lambda context: Telling(context, outcomes, bugs))
    return outcomes
