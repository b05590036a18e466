"""Why an upstream is in its state, what to do, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest

from balancer.admin.view import CheckView, UpstreamView
from balancer.health.result import Result
from balancer.runtime import reasons
from balancer.telemetry.events import Event
from balancer.upstreams.state import Cause
from tests.fakes.overviews import TIME

SERVES = UpstreamView(
    id="app1:8000",
    address="10.0.0.1:8000",
    source="",
    admin_state="active",
    announced=False,
    causes=[],
    outlier=None,
    on_probation=False,
    unchecked=False,
    eligible=True,
    weight=1,
    effective_weight=1.0,
    backup=False,
    max_inflight=0,
    last_check=None,
)
OUTLIER = Event(
    7, 1.0, "ejected", "default", "app1:8000", "outlier", "app1:8000 ejected for 10 s: 5 consecutive 5xx"
)


def check(result: Result, text: str = "404 on /", hint: str = "404 on /: set another path") -> CheckView:
    return CheckView(TIME, result is Result.PASSED, result, None, 0.002, text, hint)


def ejected(result: Result, **words: str) -> dict[str, Any]:
    return {"causes": [Cause.ACTIVE_CHECK], "last_check": check(result, **words)}


@pytest.mark.parametrize(
    ("state", "changed", "event", "why", "todo", "whose"),
    [
        pytest.param("active", {}, None, "", "", "", id="it serves"),
        pytest.param("active", {"weight": 0}, None, "its weight is 0", "", "", id="weight 0"),
        pytest.param(
            "ejected", ejected(Result.STATUS), None, "404 on /", "Set another path.", "app", id="status"
        ),
        pytest.param(
            "ejected",
            ejected(Result.REFUSED, text="connection refused", hint="see whether it runs"),
            OUTLIER,
            "connection refused",
            "See whether it runs.",
            "upstream",
            id="refused, and an outlier before",
        ),
        pytest.param(
            "ejected", ejected(Result.UNREACHABLE), None, "404 on /", "Set another path.", "network",
            id="unreachable",
        ),
        pytest.param(
            "ejected", ejected(Result.LOOP), None, "404 on /", "Set another path.", "balancer", id="loop"
        ),
        pytest.param(
            "ejected",
            {"causes": [Cause.OUTLIER], "last_check": check(Result.PASSED)},
            OUTLIER,
            "5 consecutive 5xx",
            "It fails requests that the others serve: look at its log, and restart it if need be.",
            "upstream",
            id="outlier",
        ),
        pytest.param(
            "ejected",
            {"causes": [Cause.STUCK]},
            None,
            "",
            "It has stopped answering: see what it waits for, or restart it.",
            "upstream",
            id="stuck",
        ),
        pytest.param(
            "maintenance",
            {},
            None,
            "",
            "Activate it when it may serve again: balancer activate app1:8000.",
            "operator",
            id="maintenance",
        ),
        pytest.param(
            "draining",
            {"announced": True},
            None,
            "",
            "Its app has announced that it shuts down. If it does not come back, look at its log.",
            "app",
            id="its app shuts down",
        ),
        pytest.param(
            "unresolved",
            {"address": ""},
            None,
            "its name has no address",
            "See that the name server, or the source of members, has it.",
            "network",
            id="no address",
        ),
    ],
)  # fmt: skip
def test_reasons(
    state: str, changed: dict[str, Any], event: Event | None, why: str, todo: str, whose: str
) -> None:
    one = replace(SERVES, **changed)
    assert reasons.why(one, state, event) == why
    assert reasons.todo(one, state) == todo
    assert reasons.whose(one, state) == whose
