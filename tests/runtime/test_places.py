"""The `start` message: every entity with its row, names without an address, the pools in their present
state."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balancer.config.settings import Settings
from balancer.messages import Start, from_supervisor
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.fleet import Fleet
from balancer.runtime.places import Places, pool_states
from balancer.spec.instance import InstanceSpec
from balancer.spec.part import encode, replaced
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from tests.fakes.loop import FakeClock
from tests.fakes.splits import readonly, splits
from tests.runtime.test_live_tls import Scene


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    segment = Segment.create(workers=3)
    yield Ledger(segment)
    segment.close()


def spec(**values: Any) -> InstanceSpec:
    upstreams: Any = "app1:8000,10.0.0.2:8000?weight=3,[::1]:80,dns://app:8000"
    return instance_spec(Settings(upstreams=upstreams, workers=3, **values), via="x", max_connections=100)


def fleet_of(spec: InstanceSpec, ledger: Ledger) -> Fleet:
    return Fleet(
        pool_states(spec, ledger),
        ledger=ledger,
        events=EventLog(),
        clock=FakeClock(),
        log=logging.getLogger("balancer.test"),
        call_later=lambda delay, callback: None,
        broadcast=lambda message: None,
    )


def start(ledger: Ledger, slot: int = 0, **values: Any) -> Start:
    made = spec(**values)
    return Places(made.worker, fleet_of(made, ledger), splits(), readonly(), ledger).start_message(slot, 2)


def test_the_start_message_has_the_worker_spec_and_its_place(ledger: Ledger) -> None:
    message = start(ledger, slot=1)
    assert (message.slot, message.page, message.spec) == (1, 2, spec().worker)


def test_the_start_message_survives_the_wire(ledger: Ledger) -> None:
    message = start(ledger, sticky={"enabled": True, "secret": "grün"})
    assert from_supervisor().decode(encode(message)) == message


def test_a_name_has_no_address_until_it_resolves_and_discovered_members_are_absent(ledger: Ledger) -> None:
    (pool,) = start(ledger).pools
    assert [(one.id, one.host, one.port, one.weight) for one in pool.members] == [
        ("app1:8000", "", 8000, 1),
        ("10.0.0.2:8000", "10.0.0.2", 8000, 3),
        ("[::1]:80", "::1", 80, 1),
    ]


def test_every_entity_has_its_own_row(ledger: Ledger) -> None:
    made = spec()
    places = Places(made.worker, fleet_of(made, ledger), splits(), readonly(), ledger)
    starts = [places.start_message(slot, slot + 1) for slot in range(3)]
    first = starts[0].rows
    members = [one.row for one in starts[0].pools[0].members]
    rows = [first.listener, *first.routes[0], *first.pools, *members, *(one.rows.worker for one in starts)]
    assert len(set(rows)) == len(rows) == 9


def test_a_later_worker_gets_the_present_state_of_the_pools(ledger: Ledger) -> None:
    made = spec()
    fleet = fleet_of(made, ledger)
    places = Places(made.worker, fleet, splits(), readonly(), ledger)
    (before,) = places.start_message(0, 1).pools
    fleet.eject(fleet.upstreams()[1], Cause.OUTLIER, "x")
    (after,) = places.start_message(0, 2).pools
    assert [one.causes for one in after.members] == [frozenset(), {Cause.OUTLIER}, frozenset()]
    assert (before.revision, after.revision) == (0, fleet.revision)


@pytest.mark.parametrize("enabled", [True, False])
def test_upstreams_are_unchecked_if_there_are_checks(ledger: Ledger, enabled: bool) -> None:
    (pool,) = pool_states(spec(health_check={"enabled": enabled}), ledger)
    assert {upstream.unchecked for upstream in pool.upstreams.values()} == {enabled}
    assert pool.is_checked is enabled


@pytest.mark.parametrize("cap", [0, 100])
def test_a_cap_is_sent_undivided(ledger: Ledger, cap: int) -> None:
    (pool,) = start(ledger, limits={"max_inflight": cap}).pools
    assert {one.max_inflight for one in pool.members} == {cap}


def test_a_later_worker_gets_the_certificates_of_that_moment(ledger: Ledger, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    made = scene.plan.instance
    places = Places(
        made.worker,
        fleet_of(made, ledger),
        splits(),
        readonly(),
        ledger,
        present=lambda: scene.tls.worker_spec,
    )
    before = places.start_message(0, 1).spec
    assert before == made.worker
    assert scene.tls.listener is not None
    scene.tls.listener.authorities = b"new"
    assert before.tls is not None
    assert places.start_message(0, 2).spec == replaced(
        made.worker, tls=replaced(before.tls, client_ca=b"new")
    )
