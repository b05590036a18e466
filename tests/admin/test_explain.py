"""`/api/explain`: what is shown of explained requests, and which further ones are asked for."""

from typing import Any

import pytest

from balancer.admin.explained import Wish
from balancer.spec.part import encode_plain
from tests.admin.harness import AdminClient, FakeInstance
from tests.fakes.explained import explanation


async def test_a_request_is_found_by_its_id(client: AdminClient, instance: FakeInstance) -> None:
    instance.explanations.kept = [explanation(request_id="a/b=1"), explanation(request_id="other")]
    response = await client.get("/api/explain/a%2Fb=1")
    assert response.status == 200
    shown = await response.json()
    assert shown["request_id"] == "a/b=1"
    assert [one["request_id"] for one in shown["explanations"]] == ["a/b=1"]
    expected = encode_plain(explanation(request_id="a/b=1"))
    assert shown["explanations"][0]["choices"][0]["candidates"] == list(expected["choices"][0]["candidates"])


async def test_an_unknown_one_says_what_would_have_made_it_kept(client: AdminClient) -> None:
    response = await client.get("/api/explain/r9")
    shown = await response.json()
    assert (response.status, shown["result"]) == (404, "unknown")
    assert shown["error"].startswith("no request 'r9' is explained here. Kept are the last errors that")
    assert "a share EXPLAIN__SAMPLE (now 0), with TRUSTED_PROXIES, those that such a proxy" in shown["error"]


async def test_the_list_has_the_newest_first_and_what_is_explained_now(
    client: AdminClient, instance: FakeInstance
) -> None:
    instance.explanations.kept = [explanation()]
    instance.explanations.left_out = 3
    shown = await (await client.get("/api/explain")).json()
    assert shown["now"] == {"watch": "", "seconds": 0.0, "sample": 0.0, "by_header": False}
    assert shown["left_out"] == 3
    (one,) = shown["requests"]
    assert (one["request_id"], one["reason"], one["attempts"]) == ("r1", "connect_refused", 1)


@pytest.mark.parametrize(
    ("body", "wish"),
    [
        ({"path": "/api"}, Wish(60.0, path="/api")),
        (
            {"host": "*.shop.example", "method": "GET", "seconds": 5},
            Wish(5.0, host="*.shop.example", method="GET"),
        ),
        ({"client": "192.0.2.0/24", "route": "web"}, Wish(60.0, client="192.0.2.0/24", route="web")),
        ({"seconds": 0}, Wish(0.0)),
    ],
)
async def test_a_filter_is_an_order_with_an_audit_event(
    client: AdminClient, instance: FakeInstance, body: Any, wish: Wish
) -> None:
    response = await client.post("/api/explain", json=body)
    assert response.status == 200
    assert instance.explanations.wishes == [wish]
    assert (await response.json())["requests"] == []
    ((_, _, _, audited),) = instance.audits
    said = f"explains {wish} for {wish.seconds:g} s" if wish.seconds else "explains no more"
    assert audited.endswith(f"{said}: done")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "the body has the wrong form"),
        ({"path": "api"}, "path 'api' is not a path; write /api"),
        ({"host": "a b"}, "host 'a b' is not a name"),
        ({"method": "G T"}, "method 'G T' is not a method"),
        ({"seconds": 4000}, "seconds 4000 is not a number of seconds from 0 to 3600"),
        ({"paths": "/"}, "unknown field 'paths'"),
        ({"path": 7}, "path 7 is not a path"),
    ],
)
async def test_a_wrong_order_is_refused_with_the_remedy(
    client: AdminClient, instance: FakeInstance, body: Any, error: str
) -> None:
    response = await client.post("/api/explain", json=body)
    assert response.status == 400
    assert (await response.json())["error"].startswith(error)
    assert instance.explanations.wishes == []


async def test_a_client_that_is_no_address_is_refused(client: AdminClient, instance: FakeInstance) -> None:
    response = await client.post("/api/explain", json={"client": "somebody"})
    assert response.status == 409
    assert (await response.json())["error"].startswith("client 'somebody' is no address or network; write")
    assert instance.explanations.wishes == []


async def test_the_page_is_for_browsers(client: AdminClient) -> None:
    response = await client.get("/explain?id=r1")
    assert (response.status, response.content_type) == (200, "text/html")
    assert "Content-Security-Policy" in response.headers
