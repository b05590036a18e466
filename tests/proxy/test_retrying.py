"""`next_step`: what follows from a failure or an answer, as a table."""

from dataclasses import replace

import pytest

from balancer.errors import (
    CONNECT_REFUSED,
    FAILURES,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    MALFORMED_RESPONSE,
    RESPONSE_TRUNCATED,
    TOTAL_TIMEOUT,
    UPSTREAM_CLOSED,
    UPSTREAM_UNRESPONSIVE,
    VARIANTS,
    Failure,
    RetrySafety,
)
from balancer.pools.pool import Room
from balancer.proxy.retrying import Sent, Step, next_step
from balancer.spec.worker import RetryRules
from balancer.telemetry.columns import RETRY_REASONS

RULES = RetryRules(
    max_attempts=3,
    statuses=frozenset({502, 503}),
    methods=frozenset({b"GET"}),
    replay_bytes=65536,
    budget_ratio=0.2,
    budget_floor=10.0,
)
GET = Sent(attempts_left=True, repeatable=True)  # an idempotent request, sent whole, unanswered
POST = replace(GET, repeatable=False)  # nor is it proven that nobody has read it


def step(cause: Failure | int, sent: Sent = GET, room: Room = Room.FREE, has_budget: bool = True) -> Step:
    return next_step(cause, sent, RULES, room, has_budget)


UNREAD = [failure for failure in (*FAILURES, *VARIANTS) if failure.retry is RetrySafety.UNREAD]
FINAL = [failure for failure in FAILURES if failure.retry is RetrySafety.NEVER]


def test_requests_that_go_again_are_counted_by_each_reason() -> None:
    again = {failure.reason for failure in FAILURES if failure.retry is RetrySafety.DEAD}
    assert again | {failure.reason for failure in UNREAD} <= set(RETRY_REASONS)


def test_the_failures_after_which_a_request_may_go_again() -> None:
    assert {failure.reason for failure in UNREAD} == {
        "upstream_closed",
        "malformed_response",
        "upstream_unresponsive",
        "upstream_tls",  # the upstream's alert came after the request was sent
    }
    assert {failure.reason for failure in FAILURES if failure.retry is RetrySafety.DEAD} == {
        "first_byte_timeout"
    }
    assert {failure.reason for failure in FAILURES if failure.retry is RetrySafety.UNSENT} == {
        "connect_refused",
        "connect_failed",
        "connect_timeout",
        "upstream_tls",
    }


@pytest.mark.parametrize("failure", UNREAD, ids=lambda failure: failure.reason)
def test_an_idempotent_request_goes_to_another_upstream(failure: Failure) -> None:
    assert step(failure) is Step.ANOTHER


@pytest.mark.parametrize("cause", [*UNREAD, FIRST_BYTE_TIMEOUT, 503], ids=str)
def test_a_request_that_may_have_been_read_does_not(cause: Failure | int) -> None:
    assert step(cause, replace(POST, dead=True)) is Step.GIVE_UP


@pytest.mark.parametrize("failure", FINAL, ids=lambda failure: failure.reason)
def test_nothing_follows_a_failure_that_is_not_the_upstreams_or_comes_too_late(failure: Failure) -> None:
    assert step(failure, replace(GET, dead=True, stale=False)) is Step.GIVE_UP
    assert {IDLE_TIMEOUT, RESPONSE_TRUNCATED, TOTAL_TIMEOUT} <= set(FINAL)


HARM = {
    "its body is not kept": {"kept": False},
    "the client has seen a part of a response": {"answered": True},
    "an upgrade was refused by closing": {"upgrade_refused": True},
    "no attempt is left": {"attempts_left": False},
}


@pytest.mark.parametrize("case", HARM)
@pytest.mark.parametrize("cause", [UPSTREAM_CLOSED, 503], ids=["failure", "answer"])
def test_a_request_does_not_go_again_where(cause: Failure | int, case: str) -> None:
    sent = replace(GET, **HARM[case])
    assert step(cause, sent) is Step.GIVE_UP
    assert step(cause, replace(sent, stale=True)) is Step.GIVE_UP


@pytest.mark.parametrize(
    ("status", "expected"),
    [(503, Step.ANOTHER), (502, Step.ANOTHER), (500, Step.GIVE_UP), (404, Step.GIVE_UP)],
)
def test_an_answer_is_retried_if_its_status_is_in_the_rules(status: int, expected: Step) -> None:
    assert step(status) is expected


@pytest.mark.parametrize("room", [Room.FULL, Room.NONE], ids=lambda room: room.name)
def test_an_answer_is_passed_on_rather_than_waited_over(room: Room) -> None:
    assert step(503, room=room) is Step.GIVE_UP


@pytest.mark.parametrize(
    ("room", "expected"), [(Room.FREE, Step.ANOTHER), (Room.FULL, Step.WAIT), (Room.NONE, Step.GIVE_UP)]
)
def test_a_failure_is_followed_by_what_the_pool_has(room: Room, expected: Step) -> None:
    assert step(MALFORMED_RESPONSE, room=room) is expected


@pytest.mark.parametrize("room", [Room.FREE, Room.FULL], ids=lambda room: room.name)
def test_without_budget_it_is_known_why_nothing_follows(room: Room) -> None:
    assert step(UPSTREAM_CLOSED, room=room, has_budget=False) is Step.OVER_BUDGET


def test_where_there_is_no_other_upstream_the_budget_is_not_to_blame() -> None:
    assert step(UPSTREAM_CLOSED, room=Room.NONE, has_budget=False) is Step.GIVE_UP


def test_a_stale_connection_is_replaced_whatever_the_pool_and_its_budget_have() -> None:
    sent = replace(GET, stale=True)
    assert step(UPSTREAM_CLOSED, sent, Room.NONE, has_budget=False) is Step.FRESH
    assert step(UPSTREAM_CLOSED, replace(sent, repeatable=False)) is Step.GIVE_UP


@pytest.mark.parametrize(
    ("dead", "in_vain", "expected"),
    [(True, False, Step.ANOTHER), (False, False, Step.GIVE_UP), (True, True, Step.GIVE_UP)],
    ids=["dead", "alive, so the page is slow", "sent on in vain before"],
)
def test_a_late_response_is_awaited_elsewhere_once_and_if_the_upstream_is_dead(
    dead: bool, in_vain: bool, expected: Step
) -> None:
    assert step(FIRST_BYTE_TIMEOUT, replace(GET, dead=dead, in_vain=in_vain)) is expected


def test_a_silent_upstream_needs_no_other_proof() -> None:
    assert step(UPSTREAM_UNRESPONSIVE) is Step.ANOTHER


def test_a_failed_dial_is_not_decided_here() -> None:
    assert step(CONNECT_REFUSED) is Step.GIVE_UP
