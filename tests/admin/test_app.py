"""The responses of the admin application, resource by resource."""

import json
from dataclasses import asdict

import pytest

from balancer.admin.view import UpstreamView
from balancer.edges import DEFAULT as BUCKETS
from tests.admin.harness import FAILURE, UPSTREAM, AdminClient, FakeInstance

PATHS = (
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/pools",
    "/api/pools/default",
    "/api/pools/default/upstreams",
    "/api/pools/default/upstreams/app1:8000",
    "/api/events",
    "/api/failures",
    "/api/config",
    "/api/config?format=yaml",
    "/nothing",
)


async def test_healthz_is_ok_also_when_not_ready(client: AdminClient, instance: FakeInstance) -> None:
    instance.reasons = ["draining"]
    response = await client.get("/healthz")
    assert (response.status, await response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/readyz", "/readyz?strict=0", "/readyz?strict=1"])
async def test_readyz_is_200_for_a_healthy_instance(client: AdminClient, path: str) -> None:
    response = await client.get(path)
    assert (response.status, await response.json()) == (200, {"status": "ready"})


async def test_readyz_is_503_with_the_reasons(client: AdminClient, instance: FakeInstance) -> None:
    instance.reasons = ["draining", "worker 1 is starting"]
    response = await client.get("/readyz")
    assert response.status == 503
    assert await response.json() == {
        "status": "not ready",
        "reasons": ["draining", "worker 1 is starting"],
    }


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?strict=0", 200), ("?strict=1", 503)])
async def test_readyz_requires_eligible_upstreams_only_when_strict(
    client: AdminClient, instance: FakeInstance, query: str, status: int
) -> None:
    instance.strict_reasons = ["pool default has no eligible upstream"]
    assert (await client.get(f"/readyz{query}")).status == status


async def test_metrics_are_in_prometheus_text_format(client: AdminClient) -> None:
    response = await client.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert await response.text() == "balancer_worker_up 1.0\n"


async def test_pools_show_their_upstreams(client: AdminClient) -> None:
    body = await (await client.get("/api/pools")).json()
    assert body == {
        "first_byte_bounds": list(BUCKETS),
        "pools": [
            {
                "name": "default",
                "policy": "least_connections",
                "panic": True,
                "eligible": 0,
                "problems": {},
                "overload": {
                    "since": "1994-11-06T08:49:30.000Z",
                    "served_per_second": 402.1,
                    "refused_per_second": 798.0,
                    "left_per_second": 1.5,
                },
                "queue_length": 7,
                "queue_rejected": {"full": 3, "timeout": 0},
                "queue_abandoned": 4,
                "upstreams": [asdict(UPSTREAM)],
            }
        ],
    }
    (upstream,) = body["pools"][0]["upstreams"]
    assert list(upstream) == list(UpstreamView.__dataclass_fields__)
    assert upstream["last_check"]["hint"] == "404 on /: set a path"


async def test_one_pool_and_one_upstream_can_be_requested(client: AdminClient) -> None:
    pool = await (await client.get("/api/pools/default")).json()
    assert pool["name"] == "default"
    upstreams = (await (await client.get("/api/pools/default/upstreams")).json())["upstreams"]
    assert upstreams == pool["upstreams"]
    for spelling in ("app1:8000", "app1%3A8000"):
        response = await client.get(f"/api/pools/default/upstreams/{spelling}")
        assert await response.json() == upstreams[0]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/pools/web", "there is no pool 'web'; the pools: default"),
        ("/api/pools/web/upstreams", "there is no pool 'web'; the pools: default"),
        ("/api/pools/web/upstreams/app1:8000", "there is no pool 'web'; the pools: default"),
        (
            "/api/pools/default/upstreams/app2:8000",
            "pool default has no upstream 'app2:8000'; it has app1:8000",
        ),
    ],
)
async def test_an_unknown_resource_is_404_and_lists_the_known_ones(
    client: AdminClient, path: str, error: str
) -> None:
    response = await client.get(path)
    assert (response.status, await response.json()) == (404, {"error": error})


async def test_failures_are_shown_with_their_time(client: AdminClient) -> None:
    body = await (await client.get("/api/failures")).json()
    assert body == {"failures": [{**FAILURE, "time": "1994-11-06T08:49:37.250Z"}]}


async def test_config_shows_settings_and_origins_or_a_file(client: AdminClient) -> None:
    body = await (await client.get("/api/config")).json()
    assert body == {
        "settings": {"listen": "0.0.0.0:8080"},
        "origins": {"listen": "default"},
        "live_changes": [],
    }
    assert await (await client.get("/api/config?format=json")).json() == body
    response = await client.get("/api/config?format=yaml")
    assert response.content_type == "application/yaml"
    assert await response.text() == "listen: 0.0.0.0:8080\n"


async def test_the_overview_names_every_path(client: AdminClient) -> None:
    response = await client.get("/")
    assert response.content_type == "text/plain"
    overview = await response.text()
    listed = (await (await client.get("/nothing")).json())["paths"]
    words = {"{pool}": "POOL", "{id}": "ID", "{route}": "ROUTE"}
    for path in listed:
        for written, shown in words.items():
            path = path.replace(written, shown)
        assert f"\n{path} " in overview or path == "/"


@pytest.mark.parametrize("path", PATHS)
async def test_every_response_ends_its_line_and_names_no_library(client: AdminClient, path: str) -> None:
    response = await client.get(path)
    assert response.headers["Server"] == "balancer"
    text = await response.text()
    assert text.endswith("\n")
    if response.content_type == "application/json":
        json.loads(text)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("HEAD", "/healthz", 200, id="head"),
        pytest.param("GET", "/nothing", 404, id="unknown path"),
        pytest.param("GET", "/api/pools/", 404, id="slash too many"),
        pytest.param("POST", "/readyz", 405, id="method"),
        pytest.param("GET", "/readyz?strict=yes", 400, id="unknown value"),
        pytest.param("GET", "/api/config?format=toml", 400, id="unknown format"),
        pytest.param("GET", "/api/failures?last=3", 400, id="unexpected parameter"),
    ],
)
async def test_requests_for_other_paths_methods_and_parameters_have_their_status(
    client: AdminClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert response.status == status
    assert response.content_type == "application/json"
    if status != 200:
        assert (await response.json())["error"]


async def test_an_unknown_path_lists_the_paths(client: AdminClient) -> None:
    body = await (await client.get("/metric")).json()
    assert body["error"] == "there is nothing at /metric"
    assert {"/metrics", "/api/pools/{pool}/upstreams/{id}"} <= {*body["paths"]}


async def test_a_method_that_is_not_allowed_is_405_with_allow(client: AdminClient) -> None:
    response = await client.delete("/api/events")
    assert response.headers["Allow"] == "GET, HEAD"
    assert await response.json() == {"error": "/api/events takes GET, HEAD, not DELETE"}
