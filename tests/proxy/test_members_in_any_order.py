"""Upstreams that come, go, change state and have slots, in any order: no slot is lost, none given twice.

As `test_any_order`, with sessions that stick, outliers, slow starts and every policy besides.
"""

from typing import Any

import pytest

from balancer.policies import registry
from balancer.sticky.affinity import make_token
from balancer.telemetry.columns import UPSTREAM_INFLIGHT
from balancer.upstreams.state import AdminState, candidates
from balancer.upstreams.upstream import Upstream
from tests.fakes.wire import upstream_message
from tests.proxy.harness import Harness
from tests.proxy.sticky_session import OWN
from tests.proxy.test_any_order import PARTS, REQUESTS, STEPS, Play

SEEDS = 120
NUMBERS = (1, 2, 3)
STATES: list[dict[str, Any] | None] = [
    {},
    {},
    {"causes": ["active_check"]},
    {"causes": ["active_check"], "silent_since_ns": 1},  # all its requests came later
    {"causes": ["active_check"], "silent_since_ns": 1 << 62},  # all came before
    {"causes": ["outlier"]},
    {"admin_state": "draining"},
    {"admin_state": "maintenance"},
    {"backup": True},
    {"on_probation": True},
    {"first_check": "awaited"},
    {"first_check": "required"},
    {"other_hosts": ["10.0.0.9", "10.0.0.8"]},
    {"host": "10.0.0.9"},
    {"host": ""},
    None,  # it leaves
]
LAST_ROW = 100  # of those that come back; each time by another one
COOKIES = [b"Cookie: pin=" + make_token(b"", "default", f"app{number}:8000") + b"\r\n" for number in NUMBERS]


class MembersPlay(Play):
    """The supervisor changes members and states as well. `gone` are the removed upstreams by row."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.cap = self.random.choice([0, 1, 1, 2])
        self.states: dict[int, dict[str, Any]] = {number: {} for number in NUMBERS}
        self.rows = {number: 3 + number for number in NUMBERS}
        self.next_row = 10
        self.gone: dict[int, Upstream] = {}
        ours = (self.address_changes, self.limit_changes)
        self.acts = [act for act in self.acts if act[1] not in ours]
        self.acts += [(6, self.member_changes), (2, self.cap_changes), (5, self.verdict)]
        self.tell()

    def set_up(self) -> Harness:
        random = self.random
        return Harness(
            len(NUMBERS),
            policy=random.choice(registry.names()),
            timeouts={"total": random.choice([0.0, 100.0])},
            retry={"statuses": [500, 502, 503, 504], "max_attempts": random.choice([1, 2, 3, 5])},
            queue={"size": random.choice([0, 1, 3, 40]), "timeout": random.choice([1.0, 40.0])},
            sticky=random.choice([None, OWN]),
            outlier={"enabled": random.random() < 0.5, "consecutive_5xx": 2, "consecutive_failures": 2},
            slow_start=random.choice([0.0, 10.0]),
        )

    def tell(self) -> None:
        before = {upstream.row: upstream for upstream in self.harness.upstreams}
        self.harness.tell(
            *(
                upstream_message(number, row=row, max_inflight=self.cap, **self.states[number])
                for number, row in self.rows.items()
            )
        )
        self.gone |= {row: one for row, one in before.items() if row not in self.rows.values()}

    def member_changes(self) -> None:
        number, state = self.random.choice(NUMBERS), self.random.choice(STATES)
        if state is None:
            self.rows.pop(number, None)
        elif number in self.rows or self.next_row < LAST_ROW:
            if number not in self.rows:
                self.rows[number] = self.next_row
                self.next_row += 1
            ramp_since_ns = self.random.choice([0, self.harness.clock.monotonic_ns()])
            weight = self.random.choice([1, 1, 2, 5])
            self.states[number] = {**state, "ramp_since_ns": ramp_since_ns, "weight": weight}
        self.tell()

    def cap_changes(self) -> None:
        self.cap = self.random.choice([0, 1, 1, 2])
        self.tell()

    def verdict(self) -> None:
        """The supervisor has judged the upstreams that were ejected here."""
        until = self.random.choice([0, self.harness.revision, self.harness.revision + 1])
        for upstream in self.harness.upstreams:
            self.harness.judge(upstream.row, until)

    def request(self) -> None:
        client = self.client()
        fits = client.protocol._state in (1, 3)  # type: ignore[attr-defined]  # in a body, in a tunnel
        data = self.random.choice(PARTS if fits or self.random.random() < 0.1 else REQUESTS)
        if self.random.random() < 0.5:
            data = data.replace(b"Host: a\r\n", b"Host: a\r\n" + self.random.choice(COOKIES))
        client.receive(data)

    def nobody_waits_for_nothing(self) -> None:
        queue = self.harness.pool.queue
        may_serve, _ = candidates(self.harness.upstreams, panic=True)
        free = {upstream for upstream in may_serve if not upstream.is_full()}
        for waiter in [] if queue is None else queue.waiting:
            assert free <= set(waiter.tried)  # type: ignore[attr-defined]  # it is a Connecting


def play(seed: int) -> None:
    play = MembersPlay(seed)
    harness = play.harness
    drain_at = play.random.randrange(4 * STEPS)
    for step in range(STEPS):
        before = {upstream: upstream.inflight for upstream in harness.upstreams}
        play.step()
        if step == drain_at:
            harness.proxy.drain()
        for upstream in harness.upstreams:
            was = before.get(upstream, 0)
            most = was if upstream.admin_state is AdminState.MAINTENANCE else max(play.cap or 1000, was)
            assert 0 <= upstream.inflight <= most, upstream
        if step % 4 == 0:
            harness.settle()
            play.nobody_waits_for_nothing()
    for client in harness.clients:
        client.lose()
    harness.settle()
    for _ in range(3):
        harness.proxy.sweep()
    for upstream in play.gone.values():
        assert upstream.inflight == upstream.cells[UPSTREAM_INFLIGHT] == 0
    assert sorted(harness.proxy.take_released()) == sorted(play.gone)
    harness.check_and_close()


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_slots_are_kept_under_any_order_of_membership_changes(first: int) -> None:
    for seed in range(first, first + 20):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
