"""`/api/events`: all events, those after a revision, and waiting for the next."""

import asyncio

import pytest

from balancer.telemetry.events import Event
from tests.admin.harness import AdminClient, FakeInstance

PATIENCE = 20.0


def event(revision: int) -> Event:
    return Event(revision, 784111777.5, "ejected", "default", "app1:8000", "active_check", "app1 is ejected.")


async def revisions(client: AdminClient, query: str) -> list[int]:
    body = await (await client.get(f"/api/events{query}")).json()
    return [each["revision"] for each in body["events"]]


async def test_events_are_shown_with_time_kind_and_cause(client: AdminClient, instance: FakeInstance) -> None:
    instance.events.append(event(7))
    assert await (await client.get("/api/events")).json() == {
        "started": "1994-11-06T08:49:37.000Z",
        "last": 7,
        "events": [
            {
                "revision": 7,
                "time": "1994-11-06T08:49:37.500Z",
                "kind": "ejected",
                "pool": "default",
                "upstream": "app1:8000",
                "cause": "active_check",
                "text": "app1 is ejected.",
                "by": None,
            }
        ],
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [2, 3, 5]),
        ("?after=0", [2, 3, 5]),
        ("?after=2", [3, 5]),
        ("?after=5", []),
        ("?wait=60", [2, 3, 5]),
        ("?after=4&wait=0.5", [5]),
        pytest.param("?after=6&wait=60", [], id="ahead of the log: of another instance, answered at once"),
    ],
)
async def test_events_after_a_revision(
    client: AdminClient, instance: FakeInstance, query: str, expected: list[int]
) -> None:
    for revision in (2, 3, 5):
        instance.events.append(event(revision))
    async with asyncio.timeout(PATIENCE):
        assert await revisions(client, query) == expected


async def test_a_request_waits_for_the_next_event(client: AdminClient, instance: FakeInstance) -> None:
    async with asyncio.timeout(PATIENCE):
        waiting = asyncio.create_task(revisions(client, "?after=0&wait=60"))
        assert await revisions(client, "") == []
        instance.events.append(event(1))
        assert await waiting == [1]


async def test_a_request_waits_no_longer_than_asked(client: AdminClient) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await revisions(client, "?wait=0.01") == []


async def test_shutdown_ends_the_waiting(client: AdminClient, instance: FakeInstance) -> None:
    async with asyncio.timeout(PATIENCE):
        waiting = asyncio.create_task(revisions(client, "?wait=60"))
        await revisions(client, "")
        assert client.app is not None
        await client.app.shutdown()
        assert await waiting == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?after=-1", "after='-1' is not a whole number of 0 or more; write after=42"),
        ("?after=1.5", "after='1.5' is not a whole number of 0 or more; write after=42"),
        ("?after=", "after='' is not a whole number of 0 or more; write after=42"),
        (f"?after={'9' * 5000}", None),
        ("?wait=61", "wait='61' is not a number of seconds from 0 to 60"),
        ("?wait=-1", "wait='-1' is not a number of seconds from 0 to 60"),
        ("?wait=nan", "wait='nan' is not a number of seconds from 0 to 60"),
        ("?wait=soon", "wait='soon' is not a number of seconds from 0 to 60"),
        ("?since=4", "unknown parameter 'since'; this path takes after and wait"),
        ("?after=1&after=2", "parameter after is given twice"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
async def test_invalid_parameters_are_400_with_an_explanation(
    client: AdminClient, query: str, error: str | None
) -> None:
    response = await client.get(f"/api/events{query}")
    assert response.status == 400
    body = await response.json()
    assert body == {"error": error} if error is not None else body["error"]
