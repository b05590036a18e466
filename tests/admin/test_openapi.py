"""The OpenAPI document: made from the same table as the routes, and in agreement with docs/admin.md."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from balancer.admin.openapi import document
from balancer.admin.operations import OPERATIONS
from balancer.admin.replies import AttemptView, EventView, FailureView
from balancer.messages import AttemptRecord, FailureRecord
from balancer.telemetry.events import Event
from tests.admin.harness import AdminClient

DOCS = (Path(__file__).parents[2] / "docs/admin.md").read_text(encoding="utf-8")
DOCUMENT = document(OPERATIONS)
_EXAMPLES = {"only": "route:web"}  # of parameters without a closed list of values
WORDS = {"POOL": "{pool}", "ID": "{id}", "ROUTE": "{route}"}


async def test_it_is_served(client: AdminClient) -> None:
    response = await client.get("/api/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    shown = await response.json()
    assert shown == DOCUMENT
    assert shown["openapi"] == "3.1.0"


def described() -> set[tuple[str, str]]:
    """The operations that docs/admin.md names, as in `GET` and `PATCH /api/x`."""
    found = set()
    for methods, path in re.findall(r"((?:`[A-Z]+` and )*`[A-Z]+) (/[^\s`?]*)`", DOCS):
        path = "/".join(WORDS.get(word, word) for word in path.split("/"))
        found |= {(method, path) for method in re.findall("[A-Z]+", methods)}
    return found


def test_docs_describe_exactly_these_operations() -> None:
    shown = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described() - {("GET", "/")} == shown - {("GET", "/")}


async def test_the_application_serves_exactly_these_paths(client: AdminClient) -> None:
    listed = (await (await client.get("/nothing")).json())["paths"]
    assert sorted(DOCUMENT["paths"]) == listed


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_reference_has_its_schema() -> None:
    names = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert references(DOCUMENT) <= names
    assert references(DOCUMENT) >= {f"#/components/schemas/{name}" for name in ("LiveChange", "SplitChange")}


def test_answers_require_all_of_their_fields() -> None:
    upstream = DOCUMENT["components"]["schemas"]["UpstreamView"]
    assert upstream["required"] == list(upstream["properties"])
    assert "default" not in upstream["properties"]["codes"]


def test_bodies_may_have_known_fields_only() -> None:
    patch = DOCUMENT["components"]["schemas"]["UpstreamPatch"]
    assert (patch["required"], patch["additionalProperties"]) == ([], False)
    assert patch["properties"]["weight"] == {"type": "integer", "minimum": 1, "maximum": 1000}


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [one.handler.__name__ for one in OPERATIONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "path", [one.path for one in OPERATIONS if one.query and one.method == "GET"], ids=lambda path: path
)
async def test_documented_parameters_are_known_and_no_others(client: AdminClient, path: str) -> None:
    (operation,) = [one for one in OPERATIONS if (one.method, one.path) == ("GET", path)]
    given = {one.name: one.schema.get("enum", [_EXAMPLES.get(one.name, "0")])[0] for one in operation.query}
    assert (await client.get(path, params=given)).status == 200
    assert (await client.get(path, params={**given, "other": "1"})).status == 400


@pytest.mark.parametrize(
    ("view", "record"),
    [(FailureView, FailureRecord), (AttemptView, AttemptRecord)],
    ids=["failures", "attempts"],
)
def test_failures_are_shown_with_all_of_their_fields(view: Any, record: type[msgspec.Struct]) -> None:
    assert [one.name for one in fields(view)] == [one.name for one in msgspec.structs.fields(record)]


def test_events_are_shown_with_all_of_their_fields() -> None:
    assert [one.name for one in fields(EventView)] == [one.name for one in fields(Event)]


@pytest.mark.parametrize(("body", "least"), [("UpstreamPatch", 1), ("ReloadOrder", None), ("NoOrder", None)])
def test_bodies_that_ask_for_something_are_not_empty(body: str, least: int | None) -> None:
    assert DOCUMENT["components"]["schemas"][body].get("minProperties") == least
