"""Apps register themselves for a time, with a token that allows nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from balancer.admin.app import build_app
from balancer.admin.view import MOST_TTL
from tests.admin import harness
from tests.admin.harness import UPSTREAM, AdminClient, FakeInstance

UPSTREAMS = "/api/pools/default/upstreams"
ADMIN, APPS = "adm1n", "4pps"
WISH = {"upstream": "10.0.0.9:8000", "ttl": 30}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Host": "lb.example"}


@pytest.fixture(params=[ADMIN, ""], ids=["with ADMIN_TOKEN", "without"])
async def guarded(instance: FakeInstance, request: pytest.FixtureRequest) -> AsyncIterator[AdminClient]:
    """A client of an instance with a token for apps, with and without one for operators."""
    app = build_app(instance, request.param, registration_tokens=lambda: {"default": APPS, "api": "other"})
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_first_registration_is_201_and_each_renewal_200(
    guarded: AdminClient, instance: FakeInstance
) -> None:
    for status in (201, 200, 200):
        response = await guarded.post(UPSTREAMS, json=WISH, headers=bearer(APPS))
        assert response.status == status
        assert response.headers["Location"] == f"{UPSTREAMS}/app1%3A8000"
        assert (await response.json())["id"] == UPSTREAM.id
    assert instance.registered == [("default", "10.0.0.9:8000", 30, True)] * 3
    assert instance.added == []


async def test_operators_may_add_for_a_time_too(client: AdminClient, instance: FakeInstance) -> None:
    assert (await client.post(UPSTREAMS, json=WISH)).status == 201
    assert instance.registered == [("default", "10.0.0.9:8000", 30, False)]


async def test_without_a_ttl_the_token_of_apps_is_not_enough(
    guarded: AdminClient, instance: FakeInstance
) -> None:
    response = await guarded.post(UPSTREAMS, json={"upstream": "10.0.0.9:8000"}, headers=bearer(APPS))
    assert response.status == 403
    assert '"ttl": 30' in (await response.json())["error"]
    assert instance.added == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("PATCH", f"{UPSTREAMS}/{UPSTREAM.id}", {"weight": 3}, id="weight"),
        pytest.param("POST", "/api/pools/api/upstreams", WISH, id="another pool"),
        pytest.param("DELETE", f"/api/pools/api/upstreams/{UPSTREAM.id}", None, id="of another pool"),
        pytest.param("PATCH", "/api/routes/web/split", {"weights": {"a": 1}}, id="split"),
    ],
)
async def test_the_token_of_apps_allows_nothing_else(
    guarded: AdminClient, instance: FakeInstance, method: str, path: str, body: dict[str, Any] | None
) -> None:
    response = await guarded.request(method, path, json=body, headers=bearer(APPS))
    assert response.status == 403
    assert (await response.json())["error"] == (
        "this token only registers upstreams, and ends that, at /api/pools/default/upstreams: "
        "all else needs the ADMIN_TOKEN"
    )
    assert (instance.changes, instance.registered, instance.removed) == ([], [], [])


async def test_an_app_ends_its_own_registration_only(
    guarded: AdminClient, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{UPSTREAMS}/{UPSTREAM.id}"
    response = await guarded.delete(path, headers=bearer(APPS))
    assert response.status == 403
    assert "was not registered with this token" in (await response.json())["error"]
    monkeypatch.setattr(harness, "UPSTREAM", harness.replace(UPSTREAM, source="registered"))
    assert (await guarded.delete(path, headers=bearer(APPS))).status == 200
    assert instance.removed == [("default", UPSTREAM.id)]


async def test_a_wrong_token_is_refused_as_before(guarded: AdminClient, instance: FakeInstance) -> None:
    response = await guarded.post(UPSTREAMS, json=WISH, headers=bearer("4pps2"))
    assert response.status in (401, 403)
    assert "ADMIN_TOKEN" in (await response.json())["error"]
    assert instance.registered == []


@pytest.mark.parametrize("ttl", [0, -1, MOST_TTL + 1, 1.5, "30", True, None])
async def test_a_wrong_time_is_400(client: AdminClient, instance: FakeInstance, ttl: object) -> None:
    response = await client.post(UPSTREAMS, json={**WISH, "ttl": ttl})
    assert response.status == 400
    assert (await response.json())["error"] == f"ttl {ttl!r} is not a whole number of seconds from 1 to 86400"


async def test_an_impossible_registration_is_409(client: AdminClient, instance: FakeInstance) -> None:
    instance.refusal = "10.0.0.9:8000 comes from the settings, and stays without being registered"
    response = await client.post(UPSTREAMS, json=WISH)
    assert (response.status, (await response.json())["error"]) == (409, instance.refusal)


async def test_the_token_of_apps_is_compared_in_constant_time(
    guarded: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append(token)
        return given == token

    monkeypatch.setattr("balancer.admin.registration.hmac.compare_digest", compare)
    await guarded.post(UPSTREAMS, json=WISH, headers=bearer(APPS))
    assert compared[-2:] == [APPS.encode(), b"other"]  # every one, also after the right one
