"""The balancer and its app replicas under load. (The files run in the order of their numbers.)"""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.load import Load
from tests.e2e.stack import Stack, until

pytestmark = pytest.mark.e2e

PORT = ":8000"
# FALL (2) x INTERVAL (0.5 s), and the time to turn the switch from outside.
EJECTED_WITHIN = timedelta(seconds=2.5)
# Requests that may run at a replica when it is killed: those are lost.
LOST_AT_A_KILL = 5


def served(stack: Stack) -> Counter[str]:
    """Responses by upstream."""
    return Counter({address: one["requests"] for address, one in stack.upstreams().items()})


def served_since(stack: Stack, before: Counter[str], at_least: int) -> Counter[str]:
    """Wait until there are enough responses since `before`; returns them by upstream."""
    return until(
        f"{at_least} more requests",
        lambda: Counter({address: count - before[address] for address, count in served(stack).items()}),
        lambda counts: counts.total() >= at_least,
    )


def everyone_serves(stack: Stack, at_least: int) -> None:
    """Wait until every eligible upstream has sent `at_least` more responses."""
    before = served(stack)

    def fewest() -> int:
        now = served(stack)
        return min(now[address] - before[address] for address in _eligible(stack))

    until("everyone has its part", fewest, lambda count: count >= at_least)


def server_errors(stack: Stack) -> float:
    """5xx responses to clients so far, of upstreams and local."""
    return sum(count for code, count in stack.responses().items() if code.startswith("5"))


def test_replicas_share_by_weight(stack: Stack, load: Load) -> None:
    weights = {address: one["weight"] for address, one in stack.upstreams().items()}
    assert sorted(weights.values()) == [1, 1, 3]
    counts = served_since(stack, served(stack), at_least=800)
    shares = {address: count / counts.total() for address, count in counts.items()}
    assert shares == pytest.approx({address: weight / 5 for address, weight in weights.items()}, rel=0.2)


def test_a_replica_that_turns_to_500_is_ejected_and_readmitted(stack: Stack, load: Load) -> None:
    ip, container = next(iter(stack.addresses("app").items()))
    address = ip + PORT
    upstream = stack.upstreams()[address]["id"]
    revision, switched = stack.last_event(), datetime.now(UTC)
    stack.switch(container, mode="failing")

    event = stack.event(revision, "ejected", upstream, "active_check")
    assert datetime.fromisoformat(event["time"]) - switched < EJECTED_WITHIN
    state = stack.upstreams()[address]
    assert "active_check" in state["causes"]  # live traffic has most likely shown it before
    assert (state["eligible"], state["last_check"]["status"]) == (False, 500)

    until("the last requests to it end", lambda: stack.upstreams()[address]["inflight"] == 0)
    before, errors = served(stack), server_errors(stack)
    assert served_since(stack, before, at_least=300)[address] == 0
    assert server_errors(stack) == errors

    stack.switch(container, mode="normal")
    stack.event(event["revision"], "readmitted", upstream, "active_check")
    before = served(stack)
    until("requests to it again", lambda: served(stack)[address] - before[address] >= 20)


def test_a_killed_replica_costs_only_its_running_requests(stack: Stack, load: Load) -> None:
    ip, container = next(iter(stack.addresses("app").items()))
    upstream = stack.upstreams()[ip + PORT]["id"]
    revision, errors = stack.last_event(), server_errors(stack)
    stack.signal(container, "KILL")
    stack.event(revision, "removed", upstream)
    served_since(stack, served(stack), at_least=200)
    assert server_errors(stack) - errors <= LOST_AT_A_KILL
    stack.up("app", app=2)
    until("its successor is eligible", lambda: _eligible(stack) == _running(stack))


def test_scaling_from_2_to_5_to_2_to_5_and_to_3_loses_nothing(stack: Stack, load: Load) -> None:
    errors = server_errors(stack)
    for count in (5, 2, 5, 3):
        stack.up("app", app=count)
        until(f"{count} replicas are eligible", lambda: _eligible(stack) == _running(stack))
        assert len(_eligible(stack)) == count + 1  # and the heavy one
        everyone_serves(stack, at_least=20)
    assert server_errors(stack) == errors


def _eligible(stack: Stack) -> set[str]:
    return {address for address, one in stack.upstreams().items() if one["eligible"]}


def _running(stack: Stack) -> set[str]:
    return {ip + PORT for service in ("app", "heavy") for ip in stack.addresses(service)}
