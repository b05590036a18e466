"""The admin API of a running instance keeps to its own OpenAPI document, whatever is sent to it."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import get, running

pytestmark = pytest.mark.integration

EXAMPLES = 8  # of each operation, each mode, and of known and unknown names in paths
ROUTES = [{"name": "web", "split": {"stable": 90, "canary": 10}}]


async def test_every_answer_is_as_the_document_says() -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(name)) for name in ("old", "new")]
        settings = {
            "POOLS__STABLE__UPSTREAMS": apps[0].address,
            "POOLS__CANARY__UPSTREAMS": apps[1].address,
            "ROUTES": json.dumps(ROUTES),
        }
        balancer = await stack.enter_async_context(running(**settings))
        document = (await get(balancer.admin_port, "/api/openapi.json")).json()
        names = {"pool": "stable", "id": apps[0].address, "route": "web"}
        url = f"http://127.0.0.1:{balancer.admin_port}"
        seen = await asyncio.to_thread(ask_for_everything, document, url, names)
        assert {"GET", "POST", "PATCH", "DELETE"} == {method for method, _ in seen}
        assert {("PATCH", 200), ("PATCH", 400), ("PATCH", 404), ("PATCH", 412), ("POST", 409)} <= seen
        await balancer.becomes_ready()
        assert not [line for line in balancer.stderr if "Traceback" in line]


def ask_for_everything(document: Any, url: str, names: dict[str, str]) -> set[tuple[str, int]]:
    """Requests that fit the document and others, with the `names` that exist and with invented ones. Returns
    the methods with their statuses."""
    seen: set[tuple[str, int]] = set()
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        # The first would end the instance, the second does not end.
        if operation.path in ("/api/replace", "/api/stream"):
            continue
        known = {name: value for name, value in names.items() if f"{{{name}}}" in operation.path}
        for mode in GenerationMode:
            ask(operation, mode, None, url, seen)
            if known:
                ask(operation, mode, known, url, seen)
    return seen


def ask(
    operation: Any,
    mode: GenerationMode,
    known: dict[str, str] | None,
    url: str,
    seen: set[tuple[str, int]],
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=known))
    def check(case: Case[Any]) -> None:
        if "wait" in (case.query or {}) and mode is GenerationMode.POSITIVE:
            case.query["wait"] = 0  # else it would wait for the next event
        response = case.call(base_url=url, timeout=10)
        # The document knows neither the present revision nor the sides of a route, and to JSON Schema 3.0 is
        # a whole number.
        excused = response.status_code == 412 or re.search("unknown keys|not a whole number", response.text)
        case.validate_response(response, excluded_checks=[positive_data_acceptance] if excused else None)
        seen.add((operation.method.upper(), response.status_code))

    try:
        check()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "no request fits the document"
    except BaseException as error:
        error.add_note(f"{operation.label}, {mode}, {known}")
        raise
