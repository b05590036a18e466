"""Changes that are made only if they are still wanted, may be repeated, and leave an audit event."""

import asyncio
from typing import Any

import pytest

from balancer.admin.changing import LONGEST_NAME, is_met, readable
from tests.admin.harness import AdminClient, FakeInstance

UPSTREAMS = "/api/pools/default/upstreams"
UPSTREAM = f"{UPSTREAMS}/app1:8000"
WEIGHT = {"weight": 3}

CHANGES: list[Any] = [
    pytest.param("PATCH", UPSTREAM, WEIGHT, id="upstream"),
    pytest.param("DELETE", UPSTREAM, None, id="removal"),
    pytest.param("POST", UPSTREAMS, {"upstream": "10.0.0.9:8000"}, id="addition"),
    pytest.param("PATCH", "/api/routes/web", {"read_only": 60}, id="route"),
    pytest.param("PATCH", "/api/routes/web/split", {"stable": 1}, id="split"),
]
WHOLE: list[Any] = [
    pytest.param("/api/reload", "reloads the settings: applied", id="reload"),
    pytest.param("/api/replace", "replaces the program: done", id="replacement"),
]


@pytest.mark.parametrize(
    "path",
    [
        "/api/pools",
        "/api/pools/default",
        UPSTREAMS,
        UPSTREAM,
        "/api/routes",
        "/api/routes/web/split",
        "/api/config",
        "/api/config?format=yaml",
    ],
)
async def test_the_state_has_the_revision_of_what_operators_have_set(client: AdminClient, path: str) -> None:
    assert (await client.get(path)).headers["ETag"] == '"7"'


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_answers_with_the_revision_after_it(
    client: AdminClient, method: str, path: str, body: object
) -> None:
    response = await client.request(method, path, json=body, headers={"If-Match": '"7"'})
    assert response.ok
    assert response.headers["ETag"] == '"8"'


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_a_change_of_something_else_than_was_seen_is_412(
    client: AdminClient, instance: FakeInstance, method: str, path: str, body: object
) -> None:
    response = await client.request(method, path, json=body, headers={"If-Match": '"6"'})
    assert response.status == 412
    answer = await response.json()
    assert answer["revision"] == 7
    assert answer["error"].startswith("operators have changed something since: the revision is 7")
    assert response.headers["ETag"] == '"7"'
    assert (instance.revision, instance.weights["stable"]) == (7, 90)
    assert instance.audits[0][3].endswith("as operators have changed something since: the revision is 7")


CONDITIONS = [
    pytest.param([], True, id="none"),
    pytest.param(["*"], True, id="any"),
    pytest.param(['"7"'], True, id="the present one"),
    pytest.param(['"6", "7"'], True, id="one of a list"),
    pytest.param(['"6"', '"7"'], True, id="in two lines"),
    pytest.param(['"6"'], False, id="an older one"),
    pytest.param(['"8"'], False, id="of another instance"),
    pytest.param(['W/"7"'], False, id="a weak one"),
    pytest.param(['"7 "'], None, id="a space in it"),
    pytest.param(["7"], None, id="without quotes"),
    pytest.param(['"7" "8"'], None, id="without a comma"),
    pytest.param([""], None, id="empty"),
]


@pytest.mark.parametrize(("fields", "met"), CONDITIONS)
async def test_which_conditions_are_met_at_revision_7(
    client: AdminClient, fields: list[str], met: bool | None
) -> None:
    headers = [("If-Match", field) for field in fields]
    response = await client.patch(UPSTREAM, json=WEIGHT, headers=headers)
    assert response.status == {True: 200, False: 412, None: 400}[met]
    if met is None:
        assert 'write If-Match: "7"' in (await response.json())["error"]


def test_a_condition_is_read_in_linear_time() -> None:
    assert not is_met([", ".join(['"6"'] * 2000)], 7)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_of_changes_at_the_same_time_only_one_is_made(
    client: AdminClient, method: str, path: str, body: object
) -> None:
    seen = {"If-Match": '"7"'}
    responses = await asyncio.gather(
        *(client.request(method, path, json=body, headers=seen) for _ in range(5))
    )
    assert sorted(response.status for response in responses)[1:] == [412] * 4


@pytest.mark.parametrize("repeated", [1, 2])
async def test_an_upstream_that_is_there_already_is_200(
    client: AdminClient, instance: FakeInstance, repeated: int
) -> None:
    statuses = []
    for _ in range(repeated + 1):
        response = await client.post(UPSTREAMS, json={"upstream": "10.0.0.9:8000"})
        statuses.append(response.status)
        assert (await response.json())["id"] == "app1:8000"
        assert response.headers["ETag"] == '"8"'
    assert statuses == [201, *[200] * repeated]
    assert instance.audits[-1][3].endswith("adds 10.0.0.9:8000 to pool default: it is so already")


async def test_removing_what_is_gone_says_that_it_is_done(client: AdminClient) -> None:
    response = await client.delete(f"{UPSTREAMS}/app9:8000")
    assert response.status == 404
    assert await response.json() == {
        "error": "pool default has no upstream 'app9:8000'; it has app1:8000",
        "result": "gone",
    }
    unknown = await client.delete("/api/pools/web/upstreams/app1:8000")
    assert (unknown.status, "result" in await unknown.json()) == (404, False)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_every_change_is_audited(
    client: AdminClient, instance: FakeInstance, method: str, path: str, body: object
) -> None:
    assert (await client.request(method, path, json=body, headers={"X-Operator": "alice"})).ok
    ((pool, _, by, text),) = instance.audits
    assert by == "alice at 127.0.0.1"
    assert text.startswith("alice at 127.0.0.1 ")
    assert text.endswith(": done")
    assert pool == ("default" if "pools" in path else "")


GATED = {"weights": {"stable": 1, "canary": 2}, "gate": {"hold": 60, "abort_if": "errors>1%"}}
APP1, ROUTE = "app1:8000", "/api/routes/web"
READ_ONLY = "lets route web serve no changes for 1.5 s"
AUDITS: list[Any] = [
    pytest.param(
        "PATCH", UPSTREAM, {"weight": 2}, APP1, f"sets {APP1} of pool default to weight 2", id="weight"
    ),
    pytest.param(
        *("PATCH", UPSTREAM, {"admin_state": "active", "weight": 2}, APP1),
        f"sets {APP1} of pool default to active and weight 2",
        id="both",
    ),
    pytest.param("DELETE", UPSTREAM, None, APP1, f"removes {APP1} from pool default", id="removal"),
    pytest.param(
        *("POST", UPSTREAMS, {"upstream": "a\nb" + "x" * 300}, None),
        "adds a?b" + "x" * 189 + "...",
        id="foreign text",
    ),
    pytest.param("PATCH", ROUTE, {"read_only": 0}, None, "lets route web serve changes", id="route"),
    pytest.param(
        *("PATCH", ROUTE, {"read_only": 1.5}, None, "lets route web serve no changes for 1.5 s"),
        id="read-only",
    ),
    pytest.param(
        *("PATCH", f"{ROUTE}/split", GATED, None),
        "splits route web stable 1, canary 2, back if errors>1% within 60 s",
        id="split",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "upstream", "wish"), AUDITS)
async def test_an_audit_event_says_what_was_asked_for(
    client: AdminClient,
    instance: FakeInstance,
    method: str,
    path: str,
    body: object,
    upstream: str,
    wish: str,
) -> None:
    assert (await client.request(method, path, json=body)).ok
    assert instance.audits[0][1:] == (upstream, "127.0.0.1", f"127.0.0.1 {wish}: done")


async def test_a_refused_change_is_audited_with_the_reason(
    client: AdminClient, instance: FakeInstance
) -> None:
    instance.refusal = "app1:8000 comes from the settings"
    assert (await client.delete(UPSTREAM)).status == 409
    assert instance.audits[0][3].endswith(": refused: app1:8000 comes from the settings")


@pytest.mark.parametrize(
    ("path", "body"),
    [(UPSTREAM, {"weight": 0}), (f"{UPSTREAM}x", WEIGHT), ("/api/routes/x", {"read_only": 1})],
    ids=["wrong", "unknown upstream", "unknown route"],
)
async def test_what_cannot_be_understood_is_not_audited(
    client: AdminClient, instance: FakeInstance, path: str, body: object
) -> None:
    assert (await client.patch(path, json=body)).status in (400, 404)
    assert instance.audits == []


NAMES = [
    pytest.param("  alice  ", "alice", id="spaces"),
    pytest.param("m\u00fcller", "m\u00fcller", id="not ASCII"),
    pytest.param("a\x1b[31mb", "a?[31mb", id="control character"),
    pytest.param("a\u202eb", "a?b", id="direction"),
    pytest.param("a\udcffb", "a?b", id="not UTF-8"),
    pytest.param("x" * 100, "x" * (LONGEST_NAME - 3) + "...", id="long"),
]


@pytest.mark.parametrize(("name", "shown"), NAMES)
def test_a_name_is_one_short_line(name: str, shown: str) -> None:
    assert readable(name.strip(), LONGEST_NAME) == shown


@pytest.mark.parametrize(("path", "said"), WHOLE)
async def test_changes_of_the_whole_instance_are_conditional_and_audited(
    client: AdminClient, instance: FakeInstance, path: str, said: str
) -> None:
    assert (await client.post(path, json={}, headers={"If-Match": '"6"'})).status == 412
    response = await client.post(path, json={}, headers={"If-Match": '"7"'})
    assert (response.status, "ETag" in response.headers) == (200, True)
    assert [text for *_, text in instance.audits][1:] == [f"127.0.0.1 {said}"]
    assert len(instance.reloads) == (path == "/api/reload")


async def test_a_look_at_what_a_reload_would_do_is_no_change(
    client: AdminClient, instance: FakeInstance
) -> None:
    assert (await client.post("/api/reload", json={"dry_run": True})).status == 200
    assert instance.audits == []
