"""Pools without an upstream to pick, under every policy."""

from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.policies import registry
from balancer.policies.conformance.cost import within
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.sticky_session import OWN

ALL_GONE: dict[str, list[dict[str, Any]]] = {
    "removed": [],
    "draining": [{"admin_state": "draining"}] * 5,
    "in maintenance": [{"admin_state": "maintenance"}] * 5,
    "without an address": [{"host": ""}] * 5,
    "some draining, the others out": [
        *[{"admin_state": "draining"}] * 2,
        *[{"admin_state": "maintenance", "causes": ["outlier"]}] * 3,
    ],
}


@pytest.mark.parametrize("case", ALL_GONE)
@pytest.mark.parametrize("policy", registry.names())
def test_if_all_are_gone_or_draining_pick_returns_none_in_bounded_steps(
    make_harness: MakeHarness, policy: str, case: str
) -> None:
    """Also for a pinned request; and the upstreams are used again when they are back."""
    harness = make_harness(5, policy=policy, sticky=OWN)
    members = [upstream_message(number) for number in range(1, 6)]
    pinned = harness.upstreams[2]
    gone = ALL_GONE[case]
    left = [upstream_message(number, **state) for number, state in enumerate(gone, 1)]
    harness.tell(*left)
    now = harness.clock.monotonic_ns()
    key = int.from_bytes(sha256(b"a client").digest()[:8])
    for tried in ((), tuple(harness.upstreams)):
        assert within(partial(harness.pool.choose, key, tried, now), 300) is None
        assert not harness.pool.is_full(tried)
    kept = within(partial(harness.pool.choose, key, (), now, pinned), 300)
    assert kept is (pinned if case == "draining" else None)
    if kept is not None:
        harness.pool.finished(kept, 0, Outcome.SUCCESS)
    client = harness.ask()
    assert client.take().startswith(b"HTTP/1.1 503 ")
    harness.tell(*members)
    harness.ask(client=client)
    harness.answer()
    assert b"HTTP/1.1 200 OK" in client.take()
