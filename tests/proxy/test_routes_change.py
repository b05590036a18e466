"""Other routes while requests run: these keep theirs, the next ones take the new routes; what is counted."""

from collections.abc import Sequence

from balancer.messages import ReadOnly, RoutesUpdate, SplitUpdate
from balancer.spec.part import replaced
from balancer.spec.worker import RouteSpec, SideSpec, SplitSpec
from balancer.telemetry.columns import CODE_COLUMN, METHOD_COLUMN, ROUTE_INFLIGHT
from tests.fakes.specs import retry_rules, route_spec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, status_of

GET = b"GET /api/x HTTP/1.1\r\nHost: a\r\n\r\n"
API_ROW, WEB_ROW, NEW_ROW = 3, 2000, 2100
COLUMN = METHOD_COLUMN[b"GET"] + CODE_COLUMN[200]


def api(pool: str = "api", name: str = "api") -> RouteSpec:
    return route_spec(name, pool, match={"path_prefixes": ("/api",)})


def made(make_harness: MakeHarness) -> Harness:
    """`/api` leads to the pool `api` at 10.1.0.1, all else to `web` at 10.2.0.1."""
    return make_harness(1, more={"api": 1, "web": 1}, routes=[api(), route_spec("web")])


def change(harness: Harness, routes: Sequence[RouteSpec], rows: Sequence[int], **state: object) -> None:
    update = RoutesUpdate(routes=tuple(routes), rows=tuple((row,) for row in rows), **state)  # type: ignore[arg-type]  # as named
    harness.proxy.take_routes(update)


def count(harness: Harness, row: int, column: int = COLUMN) -> int:
    harness.proxy.flush()
    return harness.segment.page(1).row(row)[column]


def test_a_running_exchange_keeps_its_route_and_the_next_request_takes_the_new_one(
    make_harness: MakeHarness,
) -> None:
    """Also if it is byte for byte the same, which is recognised without being parsed."""
    harness = made(make_harness)
    client = harness.client()
    for _ in range(2):
        harness.ask(GET, client)
        harness.answer()
    harness.ask(GET, client)
    assert harness.dialled == ["10.1.0.1"]
    change(harness, [api("web", "api2"), route_spec("web")], [NEW_ROW, WEB_ROW])
    harness.answer()
    assert client.take() == OK * 3
    harness.ask(GET, client)
    assert harness.dialled == ["10.1.0.1", "10.2.0.1"]
    harness.answer()
    assert [record["route"] for record in harness.records.records] == ["api"] * 3 + ["api2"]
    assert (count(harness, API_ROW), count(harness, NEW_ROW)) == (3, 1)


def test_a_route_that_stays_goes_on_counting(make_harness: MakeHarness) -> None:
    harness = made(make_harness)
    client = harness.ask(GET)
    change(harness, [api("web"), route_spec("web")], [API_ROW, WEB_ROW])
    assert count(harness, API_ROW, ROUTE_INFLIGHT) == 1
    harness.answer()
    harness.ask(GET, client)
    harness.answer()
    assert (count(harness, API_ROW), count(harness, API_ROW, ROUTE_INFLIGHT)) == (2, 0)


def test_pipelined_requests_take_the_new_route(make_harness: MakeHarness) -> None:
    harness = made(make_harness)
    client = harness.ask(GET * 2)
    change(harness, [route_spec("web")], [WEB_ROW])
    harness.answer()
    harness.answer()
    assert client.take() == OK * 2
    assert harness.dialled == ["10.1.0.1", "10.2.0.1"]


def test_routes_to_a_pool_that_is_not_there_change_nothing(make_harness: MakeHarness) -> None:
    """They are meant for the worker's successor."""
    harness = made(make_harness)
    change(harness, [route_spec("other")], [NEW_ROW])
    client = harness.ask(GET)
    harness.answer()
    assert client.take() == OK
    assert harness.dialled == ["10.1.0.1"]


def test_weights_and_read_only_routes_come_with_the_routes(make_harness: MakeHarness) -> None:
    harness = made(make_harness)
    sides = tuple(SideSpec(pool=pool, retry=retry_rules()) for pool in ("api", "web"))
    split = SplitSpec(weights=(1, 0), key="client_ip", secret=b"s", cookie=b"", fallback=False, keep=False)
    both = RoutesUpdate(
        routes=(replaced(route_spec("both", "api"), sides=sides, split=split),),
        rows=((NEW_ROW, NEW_ROW + 1),),
        splits=(SplitUpdate(route="both", revision=1, weights={"api": 0, "web": 1}),),
        read_only=(ReadOnly(route="both", until_ns=1 << 62),),
    )
    harness.proxy.take_routes(both)
    client = harness.ask(GET)
    harness.answer()
    assert (client.take(), harness.dialled) == (OK, ["10.2.0.1"])
    harness.ask(GET.replace(b"GET", b"POST"), client)
    assert status_of(client.take()) == 503


def test_the_row_of_a_route_that_is_gone_is_released_after_its_last_exchange(
    make_harness: MakeHarness,
) -> None:
    harness = made(make_harness)
    harness.ask(GET)
    change(harness, [route_spec("web")], [WEB_ROW])
    for _ in range(3):
        harness.advance(0.25)
    assert harness.proxy.take_released() == []
    harness.answer()
    harness.advance(0.25)
    assert harness.proxy.take_released() == []  # not before it is idle in two sweeps
    harness.advance(0.25)
    assert count(harness, API_ROW) == 1
    assert harness.proxy.take_released() == [API_ROW]


def test_a_released_row_may_be_that_of_another_route(make_harness: MakeHarness) -> None:
    harness = made(make_harness)
    harness.ask(GET)
    harness.answer()
    change(harness, [route_spec("web")], [WEB_ROW])
    for _ in range(3):
        harness.advance(0.25)
    assert harness.proxy.take_released() == [API_ROW]
    harness.segment.page(1).row(API_ROW)[COLUMN] = 0  # the supervisor clears it
    change(harness, [api(name="later"), route_spec("web")], [API_ROW, WEB_ROW])
    harness.ask(GET)
    harness.answer()
    assert count(harness, API_ROW) == 1


def test_a_row_that_returns_in_time_is_not_released(make_harness: MakeHarness) -> None:
    harness = made(make_harness)
    harness.ask(GET)
    harness.answer()
    change(harness, [route_spec("web")], [WEB_ROW])
    change(harness, [api(), route_spec("web")], [API_ROW, WEB_ROW])
    for _ in range(3):
        harness.advance(0.25)
    assert harness.proxy.take_released() == []


def test_a_pools_share_of_the_connections_counts_exchanges_of_routes_that_are_gone(
    make_harness: MakeHarness,
) -> None:
    harness = made(make_harness)
    harness.ask(GET)
    before = harness.proxy.router.routes[0].side.share
    change(harness, [api(name="api2"), route_spec("web")], [NEW_ROW, WEB_ROW])
    share = harness.proxy.router.routes[0].side.share
    assert (share is before, share.held) == (True, 1)
    harness.answer()
    assert share.held == 0
