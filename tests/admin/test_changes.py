"""Changes by the admin API: their effect, and which clients may make them."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from balancer.admin.app import build_app
from balancer.admin.guard import why_not_local
from balancer.admin.view import Change, GateWish
from tests.admin.harness import AdminClient, FakeInstance

PATH = "/api/pools/default/upstreams/app1:8000"
JSON = {"Content-Type": "application/json"}
DRAIN = '{"admin_state": "draining"}'
TOKEN = "s3cret-t0ken"


@pytest.fixture
async def guarded(instance: FakeInstance) -> AsyncIterator[AdminClient]:
    """A client of an instance with a token."""
    async with TestClient(TestServer(build_app(instance, TOKEN))) as made:
        yield made


CHANGES = [
    pytest.param({"admin_state": "draining"}, Change("draining", None), id="draining"),
    pytest.param({"admin_state": "maintenance"}, Change("maintenance", None), id="maintenance"),
    pytest.param({"admin_state": "active", "weight": 1000}, Change("active", 1000), id="both"),
    pytest.param({"weight": 3}, Change(None, 3), id="weight"),
]


@pytest.mark.parametrize(("body", "change"), CHANGES)
async def test_a_change_is_applied_and_answered_with_the_upstream(
    client: AdminClient, instance: FakeInstance, body: dict[str, Any], change: Change
) -> None:
    response = await client.patch(PATH, json=body)
    assert response.status == 200
    assert (await response.json())["id"] == "app1:8000"
    assert instance.changes == [("default", "app1:8000", change)]
    config = await (await client.get("/api/config")).json()
    assert [one["upstream"] for one in config["live_changes"]] == ["app1:8000"]


MISTAKES = [
    pytest.param(PATH, "", 400, "the body has the wrong form; write {", id="empty"),
    pytest.param(PATH, "[]", 400, "the body has the wrong form", id="list"),
    pytest.param(PATH, "{}", 400, "the body has the wrong form", id="nothing in it"),
    pytest.param(PATH, '{"state": 1}', 400, "unknown field 'state'; known: admin_state", id="field"),
    pytest.param(
        PATH, '{"admin_state": "off"}', 400, "'off' is not known; write active, draining", id="state"
    ),
    pytest.param(PATH, '{"admin_state": null}', 400, "admin_state None is not known", id="null"),
    pytest.param(PATH, '{"weight": 0}', 400, "weight 0 is not a whole number from 1 to 1000", id="zero"),
    pytest.param(PATH, '{"weight": 1001}', 400, "weight 1001 is not", id="too heavy"),
    pytest.param(PATH, '{"weight": true}', 400, "weight True is not", id="bool"),
    pytest.param(PATH, '{"weight": 1.5}', 400, "weight 1.5 is not", id="fraction"),
    pytest.param(
        "/api/pools/x/upstreams/a", DRAIN, 404, "there is no pool 'x'; the pools: default", id="pool"
    ),
    pytest.param(
        "/api/pools/default/upstreams/a",
        DRAIN,
        404,
        "pool default has no upstream 'a'; it has",
        id="upstream",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "problem"), MISTAKES)
async def test_an_invalid_change_is_refused_and_changes_nothing(
    client: AdminClient, instance: FakeInstance, path: str, body: str, status: int, problem: str
) -> None:
    response = await client.patch(path, data=body, headers=JSON)
    assert response.status == status
    assert problem in (await response.json())["error"]
    assert instance.changes == []


BODIES = [
    pytest.param(b'{"weight": 3}' + b" " * 2**20, {}, 413, "longer than 1048576 bytes", id="long"),
    pytest.param(b'{"weight": 3}', {"Content-Encoding": "gzip"}, 400, "could not be read", id="no gzip"),
]


@pytest.mark.parametrize(("body", "headers", "status", "problem"), BODIES)
async def test_an_unreadable_body_is_refused_like_other_mistakes(
    client: AdminClient,
    instance: FakeInstance,
    body: bytes,
    headers: dict[str, str],
    status: int,
    problem: str,
) -> None:
    response = await client.patch(PATH, data=BytesIO(body), headers={**JSON, **headers})
    assert response.status == status
    assert problem in (await response.json())["error"]
    assert instance.changes == []


FOREIGN = [
    pytest.param({"Host": "evil.example:9901"}, "the request asks for evil.example:9901", id="rebound name"),
    pytest.param({"Host": "10.0.0.5"}, "the request asks for 10.0.0.5", id="other address"),
    pytest.param({"Host": "evil@127.0.0.1:9901"}, "the request asks for evil@127.0.0.1:9901", id="user name"),
    pytest.param({"Host": "0.0.0.0:9901"}, "the request asks for 0.0.0.0:9901", id="any address"),
    pytest.param({"Origin": "http://evil.example"}, "came from a page in a browser", id="page"),
    pytest.param({"Origin": "null"}, "came from a page in a browser", id="page without origin"),
    pytest.param({"X-Forwarded-For": "10.0.0.9"}, "came through a proxy", id="proxy"),
    pytest.param({"Forwarded": "for=10.0.0.9"}, "came through a proxy", id="proxy by RFC 7239"),
    pytest.param({"Via": "1.1 x"}, "came through a proxy", id="proxy by Via"),
    pytest.param({"X-Real-IP": "10.0.0.9"}, "came through a proxy", id="nginx"),
]


@pytest.mark.parametrize(("headers", "reason"), FOREIGN)
async def test_without_a_token_only_local_programs_may_make_changes(
    client: AdminClient, instance: FakeInstance, headers: dict[str, str], reason: str
) -> None:
    response = await client.patch(PATH, data=DRAIN, headers={**JSON, **headers})
    assert response.status == 403
    problem = (await response.json())["error"]
    assert reason in problem
    assert "set ADMIN_TOKEN" in problem
    assert instance.changes == []
    assert (await client.get("/api/pools", headers=headers)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9901",
        "lb.localhost",
        "LOCALHOST.",
        "127.0.0.1:9901",
        "[::1]:9901",
        "127.1.2.3",
    ],
)
async def test_which_hosts_are_local(client: AdminClient, host: str) -> None:
    assert (await client.patch(PATH, data=DRAIN, headers={**JSON, "Host": host})).status == 200


class Ends:
    """A request with nothing but the two addresses of its connection."""

    def __init__(self, peer: str | None, own: str) -> None:
        self.transport = self
        self.headers = CIMultiDict({"Host": "localhost:9901"})
        self.raw_path = "/"
        self._ends = {"peername": (peer, 1) if peer is not None else None, "sockname": (own, 9901)}

    def get_extra_info(self, which: str) -> tuple[str, int] | None:
        return self._ends[which]


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        pytest.param("10.0.0.9", "10.0.0.1", id="network"),
        pytest.param("172.17.0.1", "172.17.0.2", id="published container port"),
        pytest.param("10.0.0.1", "10.0.0.1", id="own address"),
        pytest.param("127.0.0.1", "10.0.0.1", id="one end"),
        pytest.param("::ffff:10.0.0.9", "::ffff:10.0.0.1", id="mapped"),
        pytest.param("fe80::1%eth0", "fe80::2%eth0", id="link local"),
        pytest.param(None, "127.0.0.1", id="gone"),
    ],
)
def test_both_ends_must_be_loopback(peer: str | None, own: str) -> None:
    assert why_not_local(Ends(peer, own)) == "the request does not come from 127.0.0.1"  # type: ignore[arg-type]  # as far as it is asked


@pytest.mark.parametrize(("peer", "own"), [("::1", "::1"), ("::ffff:127.0.0.1", "::ffff:127.0.0.1")])
def test_ipv6_loopback_is_local(peer: str, own: str) -> None:
    assert why_not_local(Ends(peer, own)) is None  # type: ignore[arg-type]  # as far as it is asked


TYPES = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]


@pytest.mark.parametrize("content_type", TYPES)
async def test_requests_that_a_form_could_send_are_refused(
    client: AdminClient, instance: FakeInstance, content_type: str
) -> None:
    response = await client.patch(PATH, data=DRAIN.encode(), headers={"Content-Type": content_type})
    assert response.status == 415
    assert instance.changes == []


AUTHORIZATIONS = [
    pytest.param(f"Bearer {TOKEN}", 200, id="right"),
    pytest.param(f"bearer  {TOKEN} ", 200, id="as loosely as RFC 9110 has it"),
    pytest.param(None, 401, id="none"),
    pytest.param("", 401, id="empty"),
    pytest.param("Bearer", 401, id="no token"),
    pytest.param("Bearer ", 401, id="empty token"),
    pytest.param(f"Bearer {TOKEN}x", 401, id="longer"),
    pytest.param(f"Bearer {TOKEN[:-1]}", 401, id="shorter"),
    pytest.param(f"Basic {TOKEN}", 401, id="scheme"),
    pytest.param(f"Digest {TOKEN}", 401, id="scheme as long as the right one"),
    pytest.param(TOKEN, 401, id="without scheme"),
    pytest.param("Bearer \u00e9", 401, id="not ASCII"),
]


@pytest.mark.parametrize(("authorization", "status"), AUTHORIZATIONS)
async def test_if_a_token_is_set_changes_need_it(
    guarded: AdminClient, instance: FakeInstance, authorization: str | None, status: int
) -> None:
    headers = JSON if authorization is None else {**JSON, "Authorization": authorization}
    response = await guarded.patch(PATH, data=DRAIN, headers=headers)
    assert response.status == status
    assert bool(instance.changes) is (status == 200)
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in await response.text()


async def test_with_the_token_changes_may_come_from_any_address(guarded: AdminClient) -> None:
    headers = {
        **JSON,
        "Authorization": f"Bearer {TOKEN}",
        "Host": "lb.example",
        "X-Forwarded-For": "10.0.0.9",
        "Origin": "https://lb.example",
    }
    assert (await guarded.patch(PATH, data=DRAIN, headers=headers)).status == 200


async def test_reading_needs_no_token(guarded: AdminClient) -> None:
    for path in ("/api/pools", PATH, "/api/config", "/healthz"):
        assert (await guarded.get(path)).status == 200


POOL = "/api/pools/default/upstreams"


async def test_an_upstream_is_added(client: AdminClient, instance: FakeInstance) -> None:
    response = await client.post(POOL, json={"upstream": "10.0.0.9:8000?weight=2"})
    assert response.status == 201
    assert response.headers["Location"] == "/api/pools/default/upstreams/app1%3A8000"
    assert (await client.get(response.headers["Location"])).status == 200
    assert instance.added == [("default", "10.0.0.9:8000?weight=2")]


@pytest.mark.parametrize("body", ["", "{}", '{"upstream": 1}', '{"weight": 1}'])
async def test_a_body_without_an_upstream_is_refused(
    client: AdminClient, instance: FakeInstance, body: str
) -> None:
    response = await client.post(POOL, data=body, headers=JSON)
    assert response.status == 400
    assert instance.added == []


async def test_an_upstream_is_removed(client: AdminClient, instance: FakeInstance) -> None:
    response = await client.delete(PATH)
    assert (response.status, (await response.json())["id"]) == (200, "app1:8000")
    assert instance.removed == [("default", "app1:8000")]


async def test_an_impossible_change_is_409(client: AdminClient, instance: FakeInstance) -> None:
    instance.refusal = "app1:8000 comes from the settings"
    for response in (await client.post(POOL, json={"upstream": "x"}), await client.delete(PATH)):
        assert (response.status, await response.json()) == (409, {"error": instance.refusal})


async def test_adding_and_removing_need_authorization(client: AdminClient, guarded: AdminClient) -> None:
    page = {"Origin": "http://evil.example"}
    assert (await client.delete(PATH, headers=page)).status == 403
    assert (await client.post(POOL, json={"upstream": "x"}, headers=page)).status == 403
    assert (await client.post(POOL, data="{}")).status == 415
    assert (await guarded.delete(PATH)).status == 401
    assert (await guarded.post(POOL, json={"upstream": "x"})).status == 401


async def test_an_unknown_method_is_405(client: AdminClient) -> None:
    response = await client.put(PATH)
    assert response.status == 405
    assert json.loads(await response.text())["error"] == f"{PATH} takes DELETE, GET, HEAD, PATCH, not PUT"


@pytest.mark.parametrize("given", [TOKEN, f"{TOKEN[:-1]}x", "x", "\u00e9" * len(TOKEN)])
@pytest.mark.parametrize("verdict", [True, False])
async def test_tokens_are_compared_in_constant_time(
    guarded: AdminClient, monkeypatch: pytest.MonkeyPatch, given: str, verdict: bool
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return verdict

    monkeypatch.setattr("balancer.admin.guard.hmac.compare_digest", compare_digest)
    response = await guarded.patch(PATH, data=DRAIN, headers={**JSON, "Authorization": f"Bearer {given}"})
    assert response.status == (200 if verdict else 401)
    assert compared == [(given.encode(), TOKEN.encode())]


SPLIT = "/api/routes/web/split"


async def test_a_split_is_shown_and_changed(client: AdminClient, instance: FakeInstance) -> None:
    response = await client.get(SPLIT)
    assert await response.json() == {
        "route": "web",
        "weights": {"stable": 90, "canary": 10},
        "gate": None,
        "last_gate": None,
        "until_restart": True,
    }
    response = await client.patch(SPLIT, json={"stable": 50, "canary": 50})
    assert (response.status, (await response.json())["weights"]) == (200, {"stable": 50, "canary": 50})
    assert instance.weights == {"stable": 50, "canary": 50}


async def test_a_wrong_split_is_refused(
    client: AdminClient, guarded: AdminClient, instance: FakeInstance
) -> None:
    for body in ("[]", "{}", '{"stable": "5"}', '{"stable": true}', '{"stable": 1.5}'):
        assert (await client.patch(SPLIT, data=body, headers=JSON)).status == 400
    assert (await client.patch("/api/routes/x/split", json={"stable": 1})).status == 404
    assert (await guarded.patch(SPLIT, json={"stable": 1})).status == 401
    instance.refusal = "route web is not split"
    response = await client.patch(SPLIT, json={"stable": 1})
    assert (response.status, await response.json()) == (409, {"error": instance.refusal})


async def test_routes_are_shown_with_their_sides(client: AdminClient) -> None:
    body = await (await client.get("/api/routes")).json()
    (route,) = body["routes"]
    assert (route["name"], route["split"]) == ("web", True)
    assert [(side["pool"], side["weight"], side["codes"]) for side in route["sides"]] == [
        ("stable", 90, {"200": 2}),
        ("canary", 10, {"200": 2}),
    ]
    assert len(body["bounds"]) == len(route["sides"][0]["duration_buckets"]) - 1


async def test_a_change_of_a_split_may_be_watched(client: AdminClient, instance: FakeInstance) -> None:
    gate = {"hold": 600, "abort_if": "errors>+0.5%"}
    response = await client.patch(SPLIT, json={"weights": {"canary": 50}, "gate": gate})
    assert (response.status, instance.weights["canary"]) == (200, 50)
    assert instance.gate == GateWish(600.0, "errors>+0.5%")
    wrong_ones: list[object] = [{}, {"hold": 1}, {"hold": "1", "abort_if": "x"}, []]
    for wrong in [*wrong_ones, {"hold": True, "abort_if": "x"}]:
        assert (await client.patch(SPLIT, json={"weights": {"canary": 9}, "gate": wrong})).status == 400
    assert instance.weights["canary"] == 50


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"weights": {"canary": 50}, "gat": {"hold": 600, "abort_if": "errors>1%"}}, "gat"),
        ({"weights": {"canary": 50}, "hold": 600, "abort_if": "errors>1%"}, "hold, abort_if"),
        ({"canary": 50, "hold": 600}, "hold"),
        ({"canary": 50, "gate": {"hold": 600, "abort_if": "errors>1%"}}, "gate"),
        ({"weights": {"canari": 50}}, "canari"),
    ],
)
async def test_unknown_keys_of_a_split_are_named(
    client: AdminClient, instance: FakeInstance, body: dict[str, object], unknown: str
) -> None:
    response = await client.patch(SPLIT, json=body)
    assert response.status == 400
    assert f"unknown keys: {unknown}; known are " in (await response.json())["error"]
    assert instance.weights == {"stable": 90, "canary": 10}


async def test_a_route_may_be_read_only(client: AdminClient, instance: FakeInstance) -> None:
    response = await client.patch("/api/routes/web", json={"read_only": 60})
    assert (response.status, (await response.json())["name"], instance.read_only) == (200, "web", 60.0)
    wrong_ones: list[object] = [{}, {"read_only": "60"}, {"read_only": True}, {"read_only": 1, "x": 2}, []]
    for wrong in wrong_ones:
        assert (await client.patch("/api/routes/web", json=wrong)).status == 400
    assert (await client.patch("/api/routes/x", json={"read_only": 1})).status == 404
    response = await client.patch("/api/routes/web", json={"read_only": 9999})
    assert response.status == 400
    assert "is not a number of seconds from 0 to 3600" in (await response.json())["error"]
    instance.refusal = "there is no route web"
    assert (await client.patch("/api/routes/web", json={"read_only": 1})).status == 409
