"""What people are told about a check that did not pass."""

from dataclasses import replace

import pytest

from balancer.health.hints import hint
from balancer.health.judging import judge
from balancer.health.result import Reply, Result
from tests.health.scene import SETTINGS

WITH_LOGIN = (("Authorization", "Basic eDp5"),)

# Settings changed, status, a piece of the hint.
STATUSES = {
    "not found": ({}, 404, "404 on /: set BALANCER_HEALTH_CHECK__PATH to a path that answers 200-399"),
    "the path and the statuses are the settings'": (
        {"path": "/up", "expect": ((200, 200), (204, 299))},
        404,
        "404 on /up: set BALANCER_HEALTH_CHECK__PATH to a path that answers 200,204-299",
    ),
    "no credentials": (
        {},
        401,
        "401 on /: the check sends no credentials; set BALANCER_HEALTH_CHECK__HEADERS",
    ),
    "forbidden": ({}, 403, "the check sends no credentials"),
    "wrong credentials": ({"headers": WITH_LOGIN}, 401, "does not accept the credentials"),
    "a host the app does not know": ({}, 400, "the check's Host"),
    "a redirect": ({"expect": ((200, 299),)}, 302, "redirects are not followed"),
    "not ready": ({}, 503, "503 on /: the app says that it is not ready"),
    "any other error": ({}, 500, "500 on /: the app fails on this path; look at its log"),
    "another status": ({}, 418, "BALANCER_HEALTH_CHECK__EXPECT"),
    "a good one that is not expected": ({"expect": ((204, 204),)}, 200, "only 204 passes"),
}


@pytest.mark.parametrize("case", STATUSES)
def test_a_status_has_its_remedy(case: str) -> None:
    changes, status, piece = STATUSES[case]
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # the table's type is wide
    reply = judge(settings, status, b"")
    assert reply.result is Result.STATUS
    assert piece in hint(reply, settings)


@pytest.mark.parametrize("result", [one for one in Result if one not in (Result.PASSED, Result.STATUS)])
@pytest.mark.parametrize("port", [0, 9000])
def test_every_other_result_has_a_remedy(result: Result, port: int) -> None:
    sentence = hint(Reply(result, 0, "what happened"), replace(SETTINGS, port=port))
    assert sentence.startswith("what happened: ")
    assert len(sentence) > len("what happened: ") + 20


def test_a_passed_check_needs_no_hint() -> None:
    assert hint(judge(SETTINGS, 204, b""), SETTINGS) == ""


# Settings changed, status, body, result.
JUDGED = {
    "expected": ({}, 399, b"", Result.PASSED),
    "below": ({}, 199, b"", Result.STATUS),
    "above": ({}, 400, b"", Result.STATUS),
    "body found": ({"body": "grün"}, 200, "alles grün.".encode(), Result.PASSED),
    "body lacks it": ({"body": "grün"}, 200, b"red", Result.BODY),
    "the status comes first": ({"body": "grün"}, 500, b"red", Result.STATUS),
    "the drain status needs nothing else": ({"body": "grün", "drain_status": 503}, 503, b"", Result.PASSED),
    "no drain status": ({"expect": ()}, 0, b"", Result.STATUS),
}


@pytest.mark.parametrize("case", JUDGED)
def test_a_response_is_judged(case: str) -> None:
    changes, status, body, result = JUDGED[case]
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]  # the table's type is wide
    assert judge(settings, status, body).result is result
