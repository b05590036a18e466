"""Hints for operators about a check that did not pass."""

import errno
import os
from typing import Any

import pytest

from balancer.connections.tls_faults import TlsFault
from balancer.health.faults import not_connected
from balancer.health.hints import Asked, hint
from balancer.health.judging import judge
from balancer.health.result import Reply, Result
from balancer.spec.part import replaced
from tests.health.harness import SETTINGS

NAME = "10.0.0.7:8000"  # as of a dns:// upstream
LOGIN = ("Authorization", "Basic eDp5")
HOST = ("host", "shop.example")
PATH = "set BALANCER_HEALTH_CHECK__PATH to a path that answers"
HEADERS = "BALANCER_HEALTH_CHECK__HEADERS"
STARTING = "is the app still starting? If not,"
UNKNOWN = f"the app may not know the Host that the check sends, {NAME};"
SET = f'set {HEADERS}={{"Host": "app.example"}}'
ADD = f'add "Host": "app.example" to {HEADERS}'
NO_LOGIN = f"the check sends no credentials; set {HEADERS}, or BALANCER_HEALTH_CHECK__PATH to an open path"
NOT_READY = "503 on /: the app reports that it is not ready;"

# Changed settings, status, whether the upstream has passed a check before, the hint.
STATUSES: dict[str, tuple[dict[str, Any], int, bool, str]] = {
    "not found, never passed": (
        {}, 404, False,
        f"404 on /: {STARTING} {PATH} 200-399, or, if the app expects another Host than {NAME}, {SET}",
    ),
    "not found with credentials": (
        {"headers": (LOGIN,)}, 404, False,
        f"404 on /: {STARTING} {PATH} 200-399, or, if the app expects another Host than {NAME}, {ADD}",
    ),
    "not found by a Host of the settings": (
        {"headers": (HOST,)}, 404, False, f"404 on /: {STARTING} {PATH} 200-399",
    ),
    "not found, though it has passed": (
        {}, 404, True,
        f"404 on /: it passed before; find out what has changed in the app, or {PATH} 200-399",
    ),
    "the path and the statuses are the settings'": (
        {"path": "/up?token=s3cret", "expect": ((200, 200), (204, 299))}, 410, True,
        f"410 on /up: it passed before; find out what has changed in the app, or {PATH} 200,204-299",
    ),
    "a Host that the app refuses": ({}, 400, False, f"400 on /: {UNKNOWN} {SET}"),
    "a Host that no virtual host has": ({}, 421, False, f"421 on /: {UNKNOWN} {SET}"),
    "a configured Host and credentials": ({"headers": (LOGIN,)}, 421, False, f"421 on /: {UNKNOWN} {ADD}"),
    "a Host of the settings that the app refuses": (
        {"headers": (LOGIN, HOST)}, 400, False,
        f"400 on /: the app may not know the Host in {HEADERS}, shop.example; correct it",
    ),
    "no credentials": ({}, 401, False, f"401 on /: {NO_LOGIN}"),
    "forbidden": ({}, 403, False, f"403 on /: {NO_LOGIN}; or {UNKNOWN} {SET}"),
    "wrong credentials": (
        {"headers": (LOGIN,)}, 401, False, f"401 on /: the app does not accept the credentials in {HEADERS}",
    ),
    "a redirect": (
        {"expect": ((200, 299),)}, 302, False,
        "302 on /: redirects are not followed; set BALANCER_HEALTH_CHECK__PATH to a path that answers "
        "200-299 itself",
    ),
    "not ready, never passed": ({}, 503, False, f"{NOT_READY} is it still starting? If not, look at its log"),
    "not ready any more": ({}, 503, True, f"{NOT_READY} look at its log"),
    "any other error": ({}, 500, False, "500 on /: the app fails on this path; look at its log"),
    "another status": (
        {}, 418, False,
        ("418 on /: only 200-399 passes; set BALANCER_HEALTH_CHECK__EXPECT if this status means "
        "healthy, or another BALANCER_HEALTH_CHECK__PATH"),
    ),
    "a success status that is not expected": (
        {"expect": ((204, 204),)}, 200, False,
        ("200 on /: only 204 passes; set BALANCER_HEALTH_CHECK__EXPECT if this status means "
        "healthy, or another BALANCER_HEALTH_CHECK__PATH"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STATUSES)
def test_a_status_has_its_remedy(case: str) -> None:
    changes, status, has_passed, text = STATUSES[case]
    settings = replaced(SETTINGS, **changes)
    reply = judge(settings, status, b"")
    assert reply.result is Result.STATUS
    assert hint(reply, Asked(settings, NAME, has_passed)) == text


REFUSED = {
    (0, False): "start the app, or correct the address in BALANCER_UPSTREAMS; an app in a container must "
    "listen on 0.0.0.0, not on 127.0.0.1",
    (9000, False): "correct BALANCER_HEALTH_CHECK__PORT, or start the server that should listen there",
    (0, True): "the app has stopped or is restarting; look at its log",
    (9000, True): "the app has stopped or is restarting; look at its log",
}


@pytest.mark.parametrize(("port", "has_passed"), REFUSED)
def test_an_upstream_that_has_passed_before_has_the_right_address(port: int, has_passed: bool) -> None:
    asked = Asked(replaced(SETTINGS, port=port), NAME, has_passed)
    assert hint(Reply(Result.REFUSED, 0, "refused"), asked) == f"refused: {REFUSED[port, has_passed]}"


SOCKET = "unix:/run/app.sock"
BY_ERROR = {
    errno.ENOENT: "is the app running",
    errno.EACCES: "give the balancer's user write access",
    errno.EAGAIN: "the app's backlog is full",
    errno.ECONNREFUSED: "the app that made the socket is gone",
    errno.ENOTDIR: "it must be a socket on which the app listens",
}


@pytest.mark.parametrize("number", BY_ERROR, ids=errno.errorcode.get)
def test_each_error_of_a_unix_socket_has_its_own_remedy_only(number: int) -> None:
    reply = not_connected(
        OSError(number, os.strerror(number)), SOCKET, by_tls=False
    )  # of the subclass for this number
    sentence = hint(reply, Asked(SETTINGS, SOCKET, False))
    assert [text for text in BY_ERROR.values() if text in sentence] == [BY_ERROR[number]]
    assert sentence.startswith(reply.detail)


@pytest.mark.parametrize("result", [one for one in Result if one not in (Result.PASSED, Result.STATUS)])
@pytest.mark.parametrize("has_passed", [False, True])
def test_every_other_result_has_a_remedy(result: Result, has_passed: bool) -> None:
    sentence = hint(Reply(result, 0, "what happened"), Asked(SETTINGS, NAME, has_passed))
    assert sentence.startswith("what happened: ")
    assert len(sentence) > len("what happened: ") + 20


def test_a_passed_check_needs_no_hint() -> None:
    assert hint(judge(SETTINGS, 204, b""), Asked(SETTINGS, NAME, False)) == ""


# Changed settings, status, body, result.
JUDGED: dict[str, tuple[dict[str, Any], int, bytes, Result]] = {
    "expected": ({}, 399, b"", Result.PASSED),
    "below": ({}, 199, b"", Result.STATUS),
    "above": ({}, 400, b"", Result.STATUS),
    "body found": ({"body": "grün"}, 200, "alles grün.".encode(), Result.PASSED),
    "body lacks it": ({"body": "grün"}, 200, b"red", Result.BODY),
    "the status is judged first": ({"body": "grün"}, 500, b"red", Result.STATUS),
    "the drain status needs nothing else": ({"body": "grün", "drain_status": 503}, 503, b"", Result.PASSED),
    "no drain status": ({"expect": ()}, 0, b"", Result.STATUS),
}


@pytest.mark.parametrize("case", JUDGED)
def test_a_response_is_judged(case: str) -> None:
    changes, status, body, result = JUDGED[case]
    settings = replaced(SETTINGS, **changes)
    assert judge(settings, status, body).result is result


TLS = "BALANCER_UPSTREAM_TLS"
BY_FAULT = {
    TlsFault.UNKNOWN_ISSUER: f"name the file of the authority that issued it in {TLS}__CA;",
    TlsFault.OTHER_NAME: f"set {TLS}__SERVER_NAME to a name that it has, or let one be issued for app.test",
    TlsFault.OUT_OF_DATE: "renew it, and let the app read it; if it is valid, correct the clock here",
    TlsFault.OTHER_CERTIFICATE: "let another one be issued for the app",
    TlsFault.NOT_TLS: f"write {NAME} in BALANCER_UPSTREAMS, or the port of its TLS",
    TlsFault.WANTS_CERTIFICATE: f"set {TLS}__CERTIFICATE and {TLS}__KEY to a certificate that the app",
    TlsFault.ALERT: "or not know the name that it is asked for, app.test; look at its log",
    TlsFault.CLOSED: "look at the app's log; it may not speak TLS on this port",
    TlsFault.OTHER: "look at the app's log",
}


@pytest.mark.parametrize("fault", TlsFault)
def test_each_fault_of_tls_has_its_remedy(fault: TlsFault) -> None:
    said = hint(Reply(Result.TLS, 0, "detail", fault), Asked(SETTINGS, NAME, False, "app.test"))
    assert said.startswith("detail: ")
    assert BY_FAULT[fault] in said


def test_a_plain_check_of_a_tls_port_hints_at_https() -> None:
    said = hint(Reply(Result.CLOSED, 0, "closed"), Asked(SETTINGS, NAME, False))
    assert f"or speak TLS: then write https://{NAME} in BALANCER_UPSTREAMS" in said
