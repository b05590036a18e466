"""What a reload changes: added and removed pools and members, settings, and whether it takes new workers."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from balancer.spec.diff import MemberChange, SettingChange, diff
from balancer.spec.instance import (
    CheckSpec,
    EjectionSpec,
    InstanceSpec,
    NameSpec,
    SupervisedPool,
    UpstreamSpec,
)
from balancer.spec.part import replaced
from balancer.spec.tls import TlsSpec
from balancer.spec.worker import OutlierSpec
from tests.fakes.specs import pool_spec, retry_rules, worker_spec


def upstream(name: str, weight: int = 1) -> UpstreamSpec:
    return UpstreamSpec(id=f"{name}:8000", host=name, port=8000, weight=weight, backup=False)


def name(host: str, refresh: float = 2.0) -> NameSpec:
    return NameSpec(id=f"dns://{host}:8000", host=host, port=8000, weight=1, backup=False, refresh=refresh)


def supervised(name: str, *upstreams: UpstreamSpec, names: tuple[NameSpec, ...] = ()) -> SupervisedPool:
    return SupervisedPool(
        name=name,
        upstreams=upstreams,
        names=names,
        max_inflight=0,
        check=CheckSpec(
            path="/",
            interval=2.0,
            timeout=1.0,
            rise=2,
            fall=2,
            expect=((200, 399),),
            body="",
            port=0,
            headers=(),
            drain_status=0,
        ),
        ejection=EjectionSpec(time=10, max_time=300, max_percent=50),
    )


APP1, APP2 = upstream("app1"), upstream("app2")
WEB, STATIC = pool_spec("web"), pool_spec("static")
OLD = InstanceSpec(
    worker=worker_spec(WEB, STATIC),
    pools=(supervised("web", APP1, APP2, names=(name("app"),)), supervised("static", upstream("files"))),
)
Change: TypeAlias = Callable[[], InstanceSpec]


def test_equal_specs_have_no_difference() -> None:
    changes = diff(OLD, OLD)
    assert (changes.is_empty, changes.needs_new_workers) == (True, False)


def web(**changes: Any) -> InstanceSpec:
    """OLD with `changes` to the pool web's settings at the supervisor."""
    return replaced(OLD, pools=(replaced(OLD.pools[0], **changes), OLD.pools[1]))


MEMBERS: dict[str, tuple[InstanceSpec, list[tuple[str, object, object]]]] = {
    "added": (
        web(upstreams=(APP1, APP2, upstream("app3"))),
        [("app3:8000", None, upstream("app3"))],
    ),
    "gone": (web(upstreams=(APP2,)), [("app1:8000", APP1, None)]),
    "gone before come": (
        web(upstreams=(APP2, upstream("app3"))),
        [("app1:8000", APP1, None), ("app3:8000", None, upstream("app3"))],
    ),
    "another weight": (
        web(upstreams=(APP1, upstream("app2", weight=3))),
        [("app2:8000", APP2, upstream("app2", weight=3))],
    ),
    "in another order": (web(upstreams=(APP2, APP1)), []),
    "a name is looked up more often": (
        web(names=(name("app", refresh=0.5),)),
        [("dns://app:8000", name("app"), name("app", refresh=0.5))],
    ),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_members_change_live(case: str) -> None:
    new, expected = MEMBERS[case]
    changes = diff(OLD, new)
    assert [(one.id, one.before, one.after) for one in changes.members] == expected
    assert {one.pool for one in changes.members} <= {"web"}
    assert (changes.settings, changes.needs_new_workers) == ((), False)


def worker(**changes: Any) -> InstanceSpec:
    return replaced(OLD, worker=replaced(OLD.worker, **changes))


def listener(**changes: Any) -> InstanceSpec:
    return worker(listener=replaced(OLD.worker.listener, **changes))


def of_web(**changes: Any) -> InstanceSpec:
    return worker(pools=(replaced(WEB, **changes), STATIC))


ROUTES = OLD.worker.routes
SETTINGS: dict[str, tuple[InstanceSpec, list[str], bool]] = {
    "a check": (
        web(check=replaced(OLD.pools[0].check, path="/healthz", fall=3)),  # type: ignore[type-var]  # it has one
        ["pools[web].check.path", "pools[web].check.fall"],
        False,
    ),
    "no checks": (web(check=None), ["pools[web].check"], False),
    "a cap": (web(max_inflight=10), ["pools[web].max_inflight"], False),
    "ejection": (
        web(ejection=EjectionSpec(time=5, max_time=300, max_percent=50)),
        ["pools[web].ejection.time"],
        False,
    ),
    "log level": (worker(log_level="debug"), ["worker.log_level"], True),
    "a limit": (
        listener(limits=replaced(OLD.worker.listener.limits, uri_bytes=1)),
        ["worker.listener.limits.uri_bytes"],
        True,
    ),
    "proxies": (listener(trusted_proxies=("10.0.0.0/8",)), ["worker.listener.trusted_proxies"], True),
    "retries": (
        of_web(retry=retry_rules(max_attempts=5)),
        ["worker.pools[web].retry.max_attempts"],
        True,
    ),
    "outliers on": (
        of_web(outlier=OutlierSpec(consecutive_5xx=5, consecutive_failures=3)),
        ["worker.pools[web].outlier"],
        True,
    ),
    "a route by another pool": (
        worker(routes=(replaced(ROUTES[0], sides=ROUTES[1].sides), ROUTES[1])),
        ["worker.routes[web].sides"],
        False,
    ),
    "routes in another order": (worker(routes=ROUTES[::-1]), ["worker.routes"], False),
    "a route more": (
        worker(routes=(*ROUTES, replaced(ROUTES[0], name="rest"))),
        ["worker.routes[rest]"],
        False,
    ),
    "live and not": (
        replaced(web(max_inflight=10), worker=replaced(OLD.worker, drain=1.0)),
        ["worker.drain", "pools[web].max_inflight"],
        True,
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_change_live_unless_they_belong_to_the_worker_and_are_no_routes(case: str) -> None:
    new, paths, needs_new_workers = SETTINGS[case]
    changes = diff(OLD, new)
    assert [one.path for one in changes.settings] == paths
    assert [one.path for one in changes.settings if not one.live] == [
        path for path in paths if path.startswith("worker") and not path.startswith("worker.routes")
    ]
    assert (changes.members, changes.needs_new_workers) == ((), needs_new_workers)


def test_an_added_pool_brings_its_members_and_new_workers() -> None:
    new = InstanceSpec(
        worker=worker_spec(WEB, STATIC, pool_spec("api")),
        pools=(*OLD.pools, supervised("api", upstream("api1"))),
    )
    changes = diff(OLD, new)
    assert changes.members == (MemberChange(pool="api", id="api1:8000", before=None, after=upstream("api1")),)
    assert changes.settings == (
        SettingChange(path="worker.routes[api]", live=True),
        SettingChange(path="worker.pools[api]", live=False),
        SettingChange(path="pools[api]", live=True),
    )


def test_the_reverse_difference_is_the_opposite() -> None:
    new = web(upstreams=(APP2, upstream("app3")), max_inflight=3)
    there, back = diff(OLD, new), diff(new, OLD)
    assert back.settings == there.settings
    assert {(one.id, one.after, one.before) for one in back.members} == {
        (one.id, one.before, one.after) for one in there.members
    }


def test_certificates_of_a_tls_listener_change_live_but_not_the_listener_itself() -> None:
    tls = TlsSpec(name="0.0.0.0:8443", min_version="1.2", certificates=(), client_ca=b"old")
    before = replaced(OLD, worker=replaced(OLD.worker, tls=tls))
    after = replaced(OLD, worker=replaced(OLD.worker, tls=replaced(tls, client_ca=b"new")))
    assert diff(before, after).settings == (SettingChange(path="worker.tls.client_ca", live=True),)
    assert diff(OLD, before).settings == (SettingChange(path="worker.tls", live=False),)
