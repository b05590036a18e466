"""A split route: who goes where, who moves when weights change, and what the cookie says."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from balancer.messages import PoolUpdate, SplitUpdate
from balancer.spec.part import replaced
from balancer.spec.worker import MatchSpec, RewriteSpec, RouteSpec, SideSpec, SplitSpec
from balancer.upstreams.state import Cause
from tests.fakes.messages import upstream_message
from tests.fakes.specs import retry_rules, route_spec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, status_of
from tests.proxy.test_route_table import PEER, head_of

USERS = [f"user-{number}" for number in range(3000)]
STABLE, CANARY = "10.1.0.1", "10.2.0.1"
MORE = {"stable": 1, "canary": 1}


def split_route(weights: Mapping[str, int], **changes: Any) -> RouteSpec:
    values = {
        "key": "header:X-User",
        "secret": b"secret",
        "cookie": b"balancer_split",
        "fallback": False,
        "keep": False,
        **changes,
    }
    route = route_spec("web", "stable", split=SplitSpec(weights=tuple(weights.values()), **values))
    sides = tuple(SideSpec(pool=pool, retry=retry_rules()) for pool in weights)
    return RouteSpec(**{name: getattr(route, name) for name in route.__struct_fields__} | {"sides": sides})


class Site:
    """A worker with a split route, asked by users."""

    def __init__(self, make_harness: MakeHarness, weights: Mapping[str, int], **changes: Any) -> None:
        self.harness: Harness = make_harness(1, more=MORE, routes=[split_route(weights, **changes)])
        self.split = self.harness.proxy.router.routes[0].split

    def side_of(self, user: str) -> str:
        assert self.split is not None
        return self.split.choose(head_of("a", "/", "GET", f"X-User: {user}"), PEER)[0].pool_name

    def sides(self) -> dict[str, str]:
        return {user: self.side_of(user) for user in USERS}

    def weigh(self, *weights: int) -> None:
        assert self.split is not None
        by_pool = {side.pool_name: weight for side, weight in zip(self.split.sides, weights, strict=True)}
        self.harness.proxy.take_split(SplitUpdate(route="web", revision=2, weights=by_pool))


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        pytest.param(f"balancer_split={'0' * 16}", None, id="only ours"),
        pytest.param(f"a=1; balancer_split={'0' * 16}; b=2", "a=1; b=2", id="among others"),
        pytest.param("a=1; not_balancer_split=2", "a=1; not_balancer_split=2", id="a longer name"),
        pytest.param("a=1", "a=1", id="without it"),
    ],
)
@pytest.mark.parametrize("rewrite", [None, RewriteSpec(host="app.example")], ids=["as it is", "rewritten"])
def test_the_app_does_not_see_the_balancers_cookie(
    make_harness: MakeHarness, sent: str, got: str | None, rewrite: RewriteSpec | None
) -> None:
    route = replaced(split_route({"stable": 1, "canary": 0}, key="cookie"), rewrite=rewrite)
    harness = make_harness(1, more=MORE, routes=[route])
    client = None
    for _ in range(3):  # the same head again is recognised
        client = harness.ask(f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {sent}\r\n\r\n".encode(), client)
        lines = harness.upstream.take().decode().split("\r\n")
        assert [line for line in lines if line.lower().startswith("cookie:")] == (
            [] if got is None else [f"Cookie: {got}"]
        )
        harness.answer()
        client.take()


def test_the_cookie_of_a_key_that_is_the_apps_reaches_it(make_harness: MakeHarness) -> None:
    harness = make_harness(1, more=MORE, routes=[split_route({"stable": 1, "canary": 1}, key="cookie:user")])
    harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: user=1; balancer_split=2\r\n\r\n")
    assert b"\r\nCookie: user=1; balancer_split=2\r\n" in harness.upstream.take()


def test_shares_are_the_weights(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 90, "canary": 10})
    for weights in ((90, 10), (50, 50), (10, 90), (3, 1)):
        site.weigh(*weights)
        share = Counter(site.sides().values())["canary"] / len(USERS)
        assert share == pytest.approx(weights[1] / sum(weights), abs=0.02)


def test_only_as_many_users_move_as_must_and_none_moves_back(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 90, "canary": 10})
    before = site.sides()
    for weights in ((50, 50), (10, 90), (0, 100)):
        site.weigh(*weights)
        after = site.sides()
        moves = Counter((before[user], after[user]) for user in USERS if before[user] != after[user])
        assert moves.keys() == {("stable", "canary")}
        grown = Counter(after.values())["canary"] - Counter(before.values())["canary"]
        assert sum(moves.values()) == grown
        before = after
    assert set(before.values()) == {"canary"}


def test_a_change_of_one_of_three_weights_moves_nobody_between_the_others(make_harness: MakeHarness) -> None:
    weights = {"stable": 1, "canary": 1, "default": 1}
    site = Site(make_harness, weights)
    before = site.sides()
    site.weigh(1, 1, 5)
    moved = {(before[user], side) for user, side in site.sides().items() if before[user] != side}
    assert moved == {("stable", "default"), ("canary", "default")}


def test_users_of_another_secret_are_divided_otherwise(make_harness: MakeHarness) -> None:
    first = Site(make_harness, {"stable": 50, "canary": 50}).sides()
    second = Site(make_harness, {"stable": 50, "canary": 50}, secret=b"other").sides()
    same = sum(first[user] == second[user] for user in USERS) / len(USERS)
    assert same == pytest.approx(0.5, abs=0.05)


def test_without_the_value_a_request_goes_by_its_clients_address(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 50, "canary": 50})
    random = Random(1)
    for _ in range(20):
        address = f"192.0.2.{random.randrange(256)}"
        served = set()
        for _ in range(2):
            client = site.harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", site.harness.client(address))
            for transport in site.harness.loop.transports:
                if transport.take():
                    transport.receive(OK)
            site.harness.settle()
            assert client.take() == OK
            served.add(site.harness.logged()["pool"])
        assert len(served) == 1


# --- our own cookie


def ask(harness: Harness, cookie: str = "", response: bytes = OK, path: str = "/") -> tuple[str, str]:
    """Returns the pool that has served a request, and the cookie that its response sets, "" for none."""
    lines = f"GET {path} HTTP/1.1\r\nHost: a\r\n" + (f"Cookie: balancer_split={cookie}\r\n" if cookie else "")
    client = harness.ask(f"{lines}\r\n".encode())
    for transport in harness.loop.transports:
        if transport.take():
            transport.receive(response)
    harness.settle()
    answer = client.take().decode()
    client.lose()
    harness.settle()
    given = answer.partition("Set-Cookie: balancer_split=")[2].partition(";")[0]
    return str(harness.logged()["pool"]), given


def test_a_new_user_gets_a_cookie_and_stays_with_it(make_harness: MakeHarness) -> None:
    harness = Site(make_harness, {"stable": 50, "canary": 50}, key="cookie").harness
    served: Counter[str] = Counter()
    for _ in range(60):
        pool, cookie = ask(harness)
        assert len(cookie) == 16
        served[pool] += 1
        for _ in range(3):
            assert ask(harness, cookie) == (pool, "")
    assert served.keys() == {"stable", "canary"}


@pytest.mark.parametrize("cookie", ["x", "0123456789abcde", "0123456789ABCDEF", "a" * 16 + ".b", "a" * 17])
def test_a_cookie_that_is_not_ours_is_replaced(make_harness: MakeHarness, cookie: str) -> None:
    harness = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie").harness
    assert len(ask(harness, cookie)[1]) == 16


def test_a_response_for_shared_caches_sets_no_cookie(make_harness: MakeHarness) -> None:
    harness = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie").harness
    response = b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\nok"
    assert ask(harness, response=response)[1] == ""


def test_a_side_of_weight_0_releases_its_users(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie")
    cookies = [ask(site.harness)[1] for _ in range(20)]
    site.weigh(0, 1)
    assert {ask(site.harness, cookie)[0] for cookie in cookies} == {"canary"}


def test_a_side_of_weight_0_keeps_its_users_if_wanted_but_gets_no_new_ones(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie", keep=True)
    users = [ask(site.harness) for _ in range(20)]
    assert {pool for pool, _ in users} == {"stable", "canary"}
    site.weigh(0, 1)
    for pool, cookie in users:
        assert ask(site.harness, cookie) == (pool, "")
    assert {ask(site.harness)[0] for _ in range(20)} == {"canary"}
    site.weigh(1, 0)
    for pool, cookie in users:
        assert ask(site.harness, cookie) == (pool, "")


def test_a_forged_mark_does_not_open_a_closed_side(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 0, "canary": 1}, key="cookie", keep=True)
    _, cookie = ask(site.harness)
    user, mark = cookie.split(".")
    assert ask(site.harness, f"{user}.AAAAAAAA") == ("canary", f"{user}.AAAAAAAA.{mark}")


def split_by_cookie(name: str, *pools: str, keep: bool) -> RouteSpec:
    """A route for the paths below /`name`."""
    route = split_route(dict.fromkeys(pools, 1), key="cookie", keep=keep)
    match = MatchSpec(path_prefixes=(f"/{name}",))
    values = {field: getattr(route, field) for field in route.__struct_fields__}
    return RouteSpec(**values | {"name": name, "match": match})


def test_each_route_keeps_its_users_whatever_other_routes_they_visit(make_harness: MakeHarness) -> None:
    routes = [
        split_by_cookie("a", "stable", "canary", keep=True),
        split_by_cookie("b", "stable", "default", keep=True),
        split_by_cookie("c", "stable", "canary", keep=False),
        split_by_cookie("d", "canary", "stable", keep=True),
    ]
    harness = make_harness(1, more=MORE, routes=routes)
    users = []
    for _ in range(20):
        cookie = ""
        served = {}
        for _ in range(2):
            for name in "acbd":
                served[name], given = ask(harness, cookie, path=f"/{name}")
                cookie = given or cookie
        assert cookie.count(".") == 2  # a and d have the same pools
        assert served["a"] == served["c"] == served["d"]
        users.append((served["a"], cookie))
    assert {pool for pool, _ in users} == {"stable", "canary"}
    for name in "ad":
        weights = {"stable": int(name != "a"), "canary": int(name == "a")}
        harness.proxy.take_split(SplitUpdate(route=name, revision=2, weights=weights))
    for pool, cookie in users:
        for name in "acbd":
            assert ask(harness, cookie, path=f"/{name}")[1] == ""
        assert ask(harness, cookie, path="/a") == ask(harness, cookie, path="/d") == (pool, "")


def test_a_cookie_has_room_for_sixteen_marks(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie", keep=True)
    foreign = [f"{number:08d}" for number in range(16)]
    _, cookie = ask(site.harness, ".".join(["0123456789abcdef", *foreign]))
    user, *marks = cookie.split(".")
    assert user == "0123456789abcdef"
    assert marks[:-1] == foreign[1:]
    assert ask(site.harness, cookie)[1] == ""


# --- a side that cannot serve


def test_the_users_of_a_side_without_an_upstream_get_503(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 0, "canary": 1}, key="client_ip")
    site.harness.proxy.take_update(_gone("canary"))
    client = site.harness.ask()
    assert client.take().startswith(b"HTTP/1.1 503 ")


def test_with_fallback_they_go_to_the_other_side_and_come_back(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, fallback=True)
    before = site.sides()
    site.harness.proxy.take_update(_gone("canary"))
    assert set(site.sides().values()) == {"stable"}
    site.harness.proxy.take_update(_back("canary"))
    assert site.sides() == before


def test_with_fallback_kept_users_go_to_the_other_side_too_and_come_back(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, key="cookie", keep=True, fallback=True)
    users = [ask(site.harness) for _ in range(20)]
    site.weigh(1, 0)
    site.harness.proxy.take_update(_gone("canary"))
    for _, cookie in users:
        assert ask(site.harness, cookie) == ("stable", "")
    site.harness.proxy.take_update(_back("canary"))
    for pool, cookie in users:
        assert ask(site.harness, cookie) == (pool, "")


def test_the_users_of_a_side_whose_upstreams_are_ejected_get_503_while_another_side_serves(
    make_harness: MakeHarness,
) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1})
    before = site.sides()
    site.harness.proxy.take_update(_ejected("canary"))
    assert site.sides() == before
    for pool in ("stable", "canary"):
        user = next(user for user in USERS if before[user] == pool)
        client = site.harness.ask(f"GET / HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n".encode())
        if pool == "stable":
            site.harness.answer()
        assert status_of(client.take()) == (200 if pool == "stable" else 503)
    assert site.harness.logged()["reason"] == "no_upstream"


def test_with_fallback_the_users_of_ejected_upstreams_go_to_the_other_side(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, fallback=True)
    site.harness.proxy.take_update(_ejected("canary"))
    assert set(site.sides().values()) == {"stable"}


@pytest.mark.parametrize("fallback", [False, True])
def test_if_no_side_has_an_eligible_upstream_the_ejected_ones_are_used(
    make_harness: MakeHarness, fallback: bool
) -> None:
    site = Site(make_harness, {"stable": 1, "canary": 1}, fallback=fallback)
    before = site.sides()
    for pool in ("stable", "canary"):
        site.harness.proxy.take_update(_ejected(pool))
    assert site.sides() == before
    site.harness.ask()
    assert site.harness.dialled[-1] in (STABLE, CANARY)


def test_a_side_of_weight_0_that_serves_does_not_keep_the_only_other_one_from_panic(
    make_harness: MakeHarness,
) -> None:
    site = Site(make_harness, {"stable": 0, "canary": 1})
    site.harness.proxy.take_update(_ejected("canary"))
    site.harness.ask()
    assert site.harness.dialled[-1] == CANARY


def test_another_route_to_the_pool_of_a_side_panics_as_before(make_harness: MakeHarness) -> None:
    routes = [split_by_cookie("a", "stable", "canary", keep=False), route_spec("rest", "canary")]
    harness = make_harness(1, more=MORE, routes=routes)
    harness.proxy.take_update(_ejected("canary"))
    harness.ask()
    assert harness.dialled[-1] == CANARY


def _ejected(pool: str) -> Any:
    host = {"stable": STABLE, "canary": CANARY}[pool]
    causes = frozenset([Cause.ACTIVE_CHECK])
    member = upstream_message(1, id=f"{pool}1:8000", host=host, row=3001, causes=causes)
    return PoolUpdate(name=pool, revision=5, starting=False, members=(member,))


def _gone(pool: str) -> Any:
    return PoolUpdate(name=pool, revision=5, starting=False, members=())


def _back(pool: str) -> Any:
    member = upstream_message(1, id=f"{pool}1:8000", host=CANARY, row=3001)
    return PoolUpdate(name=pool, revision=6, starting=False, members=(member,))


def test_weights_for_other_sides_are_about_other_routes(make_harness: MakeHarness) -> None:
    site = Site(make_harness, {"stable": 90, "canary": 10})
    for route, weights in (("web", {"stable": 0, "new": 1}), ("default", {"stable": 0, "canary": 1})):
        site.harness.proxy.take_split(SplitUpdate(route=route, revision=2, weights=weights))
    assert site.split is not None
    assert site.split.weights == [90, 10]
