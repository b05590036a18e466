"""Which way requests took, and why: what explanations say, and which requests have one."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.messages import Watch
from balancer.proxy.explaining import PER_SECOND
from balancer.spec.explained import Explanation
from balancer.spec.worker import AnswerSpec
from tests.fakes.specs import route_spec
from tests.fakes.wire import CLIENT_ADDRESS, upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, status_of
from tests.proxy.sticky_session import OWN, Session, tokens

ASKED = b"GET /x?token=secret HTTP/1.1\r\nHost: a\r\nX-Request-ID: r1\r\nX-Balancer-Explain: 1\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"


def explained(harness: Harness) -> list[Explanation]:
    """Those made since the last call."""
    return [record for message in harness.proxy.take_explanations() for record in message.records]


def only(harness: Harness) -> Explanation:
    (record,) = explained(harness)
    return record


def left_out(harness: Harness) -> int:
    return sum(message.left_out for message in harness.proxy.take_explanations())


def watch(harness: Harness, **wish: str) -> None:
    """For a minute."""
    until = harness.clock.monotonic_ns() + 60_000_000_000
    harness.proxy.context.explaining.watch(Watch(until_ns=until, **wish))


def story(record: Explanation) -> list[str]:
    return [step.text for step in record.story]


# --- which requests


def test_a_request_that_goes_well_has_none(harness: Harness) -> None:
    harness.warm()
    harness.warm(ASKED)
    assert explained(harness) == []


def test_a_trusted_proxy_may_ask_for_one(make_harness: MakeHarness) -> None:
    harness = make_harness(2, trusted_proxies=[CLIENT_ADDRESS])
    client, _ = harness.warm(ASKED)
    record = only(harness)
    assert (record.request_id, record.why, record.status) == ("r1", "header", 200)
    assert record.target == "/x?token=***"
    assert record.notes == ()
    harness.ask(GET, client)
    harness.answer()
    assert explained(harness) == []


@pytest.mark.parametrize("trusted", [[], [CLIENT_ADDRESS]], ids=["untrusted", "trusted"])
def test_the_app_never_sees_who_asked(make_harness: MakeHarness, trusted: list[str]) -> None:
    harness = make_harness(1, trusted_proxies=trusted)
    _, upstream = harness.client(), harness.ask(ASKED) and harness.upstream
    assert b"explain" not in upstream.take().lower()
    harness.answer()


@pytest.mark.parametrize(
    ("request_", "is_meant"),
    [
        (b"GET /api/x HTTP/1.1\r\nHost: shop.example\r\n\r\n", True),
        (b"GET /apix HTTP/1.1\r\nHost: shop.example\r\n\r\n", False),
        (b"GET /api HTTP/1.1\r\nHost: other.example\r\n\r\n", False),
        (b"PUT /api HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n", False),
    ],
    ids=["meant", "another path", "another host", "another method"],
)
def test_a_filter_names_all_that_must_be_so(harness: Harness, request_: bytes, is_meant: bool) -> None:
    watch(harness, path="/api", host="shop.example", method="GET", client="198.51.100.0/24", route="default")
    harness.warm(request_)
    assert [record.why for record in explained(harness)] == ["watch"] * is_meant


@pytest.mark.parametrize(
    "wish", [{"client": "192.0.2.1"}, {"route": "other"}], ids=["another client", "another route"]
)
def test_a_filter_is_about_no_other_requests(harness: Harness, wish: dict[str, str]) -> None:
    watch(harness, **wish)
    harness.warm()
    assert explained(harness) == []


def test_a_filter_ends_by_itself(harness: Harness) -> None:
    watch(harness)
    assert harness.proxy.context.explaining.on
    harness.advance(61)
    harness.warm()
    assert explained(harness) == []
    assert not harness.proxy.context.explaining.on


def test_a_filter_is_ended_by_another_one_in_the_past(harness: Harness) -> None:
    watch(harness)
    harness.proxy.context.explaining.watch(Watch(until_ns=0))
    assert not harness.proxy.context.explaining.on


def test_a_sample_is_of_all_requests(make_harness: MakeHarness) -> None:
    harness = make_harness(1, explain_sample=1.0)
    harness.warm()
    assert only(harness).why == "sample"


def test_so_many_in_a_second_and_no_more(make_harness: MakeHarness) -> None:
    harness = make_harness(1, explain_sample=1.0)
    client, _ = harness.warm()
    for _ in range(PER_SECOND + 4):
        harness.ask(GET, client)
        harness.answer()
    messages = harness.proxy.take_explanations()
    assert len([record for message in messages for record in message.records]) == PER_SECOND
    assert sum(message.left_out for message in messages) == 5
    harness.advance(1)
    harness.ask(GET, client)
    harness.answer()
    assert only(harness).why == "sample"


# --- what they say


def test_the_choice_has_the_loads_before_it(make_harness: MakeHarness) -> None:
    harness = make_harness(
        [upstream_message(1), upstream_message(2, weight=3), upstream_message(3, admin_state="draining")],
        explain_sample=1.0,
    )
    harness.ask()
    harness.ask()
    harness.answer()
    record = only(harness)
    (choice,) = record.choices
    loads = {one.upstream: (one.effective_weight, one.inflight) for one in choice.candidates}
    assert loads == {"app1:8000": (1.0, 0), "app2:8000": (3.0, 1)}
    assert [(one.upstream, one.why) for one in choice.passed_over] == [("app3:8000", "draining")]
    assert (choice.by, choice.policy) == ("policy", "round_robin")
    assert choice.upstream == record.upstream


def test_a_request_that_is_sent_again_has_its_attempts(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    client = harness.ask(GET)
    harness.advance(0.5)
    harness.answer(BUSY)
    harness.advance(0.25)
    harness.answer()
    assert status_of(client.take()) == 200
    record = only(harness)
    assert (record.why, record.status, record.cut) == ("retry", 200, None)
    assert [(one.upstream, one.result) for one in record.attempts] == [
        ("app1:8000", "503"),
        ("app2:8000", "200"),
    ]
    first, second = record.attempts
    assert (first.sent, first.first_byte, first.ended) == (0.0, 500.0, 500.0)
    assert (second.sent, second.first_byte) == (500.0, 750.0)
    (unseen, seen) = record.choices
    assert (unseen.upstream, unseen.note) == ("app1:8000", "the loads were not looked at")
    assert (seen.at, seen.upstream, seen.by) == (500.0, "app2:8000", "policy")
    assert {one.upstream: one.state for one in seen.candidates} == {"app1:8000": "tried", "app2:8000": "free"}
    assert len(record.notes) == 1


def test_an_error_of_ours_says_what_cut_it(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.refuse(1)
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: r9\r\n\r\n")
    assert status_of(client.take()) == 502
    record = only(harness)
    assert (record.request_id, record.why) == ("r9", "failure")
    assert record.cut is not None
    assert (record.cut.reason, record.cut.source, record.cut.phase) == (
        "connect_refused",
        "upstream",
        "dialling",
    )
    assert [one.result for one in record.attempts] == ["connect_refused"]
    assert story(record)[-1].startswith("the balancer answered 502 itself: connect_refused")


def test_a_timeout_names_its_phase_and_its_setting(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    client = harness.ask()
    harness.advance(31)
    assert status_of(client.take()) == 504
    record = only(harness)
    assert record.cut is not None
    assert (record.cut.phase, record.cut.limit) == ("awaiting", "TIMEOUTS__FIRST_BYTE")


def test_a_refused_request_shows_who_is_full(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 1, "timeout": 1.0})
    harness.limit(1)
    harness.ask()
    harness.ask(client=harness.client("198.51.100.8"))
    refused = harness.ask(client=harness.client("198.51.100.9"))
    assert status_of(refused.take()) == 503
    record = only(harness)
    assert record.cut is not None
    assert (record.cut.reason, record.cut.phase, record.cut.limit) == (
        "queue_full",
        "queued",
        "LIMITS__QUEUE_SIZE",
    )
    (choice,) = record.choices
    assert (choice.upstream, choice.waiting) == (None, 1)
    assert [(one.state, one.inflight, one.limit) for one in choice.candidates] == [("full", 1, 1)]


def test_a_wait_in_the_queue_is_shown(make_harness: MakeHarness) -> None:
    harness = make_harness(1, queue={"size": 5, "timeout": 5.0}, explain_sample=1.0)
    harness.limit(1)
    harness.ask()
    harness.ask()
    harness.advance(0.5)
    harness.answer()
    harness.answer()
    _, waited = explained(harness)
    queued = [one for one in waited.waits if one.what == "queue"]
    assert [(one.at, one.duration, one.result) for one in queued] == [(0.0, 500.0, "a slot became free")]
    assert [one.upstream for one in waited.choices] == [None, "app1:8000"]


def test_a_pin_that_cannot_be_kept_says_why(make_harness: MakeHarness) -> None:
    harness = make_harness(2, sticky=OWN, explain_sample=1.0)
    first, second = tokens(harness, 2)
    explained(harness)
    harness.advance(1)
    session = Session(harness)
    for token in (first, b"nonsense"):
        session.send(b"pin=" + token)
        session.serving.receive(OK)
    harness.tell(upstream_message(1), upstream_message(2, causes=["active_check"]))
    session.send(b"pin=" + second)
    session.serving.receive(OK)
    pins = [one.pin for one in explained(harness)]
    assert [pin and pin.result for pin in pins] == ["hit", "invalid", "repinned"]
    assert pins[2] is not None
    assert pins[2].text == (
        "the client is pinned to app2:8000, which could not take it: ejected: active_check"
    )


def test_a_route_says_why_those_before_it_did_not_match(make_harness: MakeHarness) -> None:
    routes = [
        route_spec("beta", "default", match={"cookies": (("beta", "s3cret"),), "path_prefixes": ("/",)}),
        route_spec("api", "default", match={"hosts": ("*.shop.example",), "path_prefixes": ("/api",)}),
        route_spec("web", "default"),
    ]
    harness = make_harness(1, routes=routes, explain_sample=1.0)
    harness.warm(b"GET /x HTTP/1.1\r\nHost: a.shop.example\r\nCookie: beta=other\r\n\r\n")
    route = only(harness).route
    assert (route.name, route.number, route.conditions) == ("web", 3, ("every request",))
    assert [(one.name, one.unmet) for one in route.earlier] == [
        ("beta", ("cookie beta = ***",)),
        ("api", ("path below /api",)),
    ]


def test_a_request_that_no_pool_serves_is_explained(make_harness: MakeHarness) -> None:
    answer = AnswerSpec(status=301, location="https://shop.example$uri")
    routes = [route_spec("old", "", match={"path_prefixes": ("/old",)}, answer=answer), route_spec("", "")]
    harness = make_harness(1, routes=routes)
    watch(harness)
    client = harness.ask(b"GET /old HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(client.take()) == 301
    record = only(harness)
    assert (record.route.note, record.choices) == ("it answers by itself: no pool serves it", ())
    client = harness.ask(b"GET /new HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status_of(client.take()) == 404
    record = only(harness)
    assert record.cut is not None
    assert (record.cut.reason, record.cut.phase) == ("no_route", "routing")
    assert [one.unmet for one in record.route.earlier] == [("path below /old",)]


def test_a_client_that_leaves_is_the_end(make_harness: MakeHarness) -> None:
    harness = make_harness(1, explain_sample=1.0)
    client = harness.ask()
    client.lose()
    harness.settle()
    record = only(harness)
    assert (record.status, story(record)[-1]) == (499, "the client left")


def test_errors_that_are_not_explained_are_counted(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.refuse(1)
    for _ in range(PER_SECOND + 3):
        harness.ask()
    messages = harness.proxy.take_explanations()
    assert len([record for message in messages for record in message.records]) == PER_SECOND
    assert sum(message.left_out for message in messages) == 3


@pytest.mark.plain
@pytest.mark.parametrize("is_asked_for", [True, False], ids=["asked for", "in trouble"])
def test_a_bug_in_it_costs_no_request(make_harness: MakeHarness, is_asked_for: bool) -> None:
    harness = make_harness(2, explain_sample=1.0 if is_asked_for else 0.0)
    harness.expects_bug = True
    harness.proxy.context.explaining.router = None  # type: ignore[assignment]  # the bug
    harness.refuse(1)
    client = harness.ask(GET)
    harness.answer()
    assert client.take() == OK
    assert explained(harness) == []
    assert "AttributeError" in str(harness.logs)


@pytest.mark.plain
def test_a_bug_in_the_story_costs_no_request(make_harness: MakeHarness) -> None:
    harness = make_harness(1, explain_sample=1.0)
    harness.expects_bug = True
    client = harness.ask(GET)
    account = harness.proxy._clients.copy().pop().exchange.account
    assert account is not None
    account.route = None  # type: ignore[assignment]  # the bug
    harness.answer()
    assert client.take() == OK
    assert explained(harness) == []
    harness.ask(GET, client)
    harness.answer()
    assert len(explained(harness)) == 1


def test_why_it_is_not_sent_again(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"max_attempts": 2})
    harness.ask(GET)
    harness.upstream.receive_eof()
    harness.settle()
    harness.upstream.receive_eof()
    harness.settle()
    assert only(harness).not_again == "it had all its attempts (RETRY__MAX_ATTEMPTS is 2)"
    harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    harness.upstream.receive_eof()
    harness.settle()
    record = only(harness)
    assert (
        record.not_again == "an app may have read it, and its method may not be sent twice (RETRY__METHODS)"
    )
    assert story(record)[-2] == f"not sent again: {record.not_again}"


def test_nothing_is_left_of_it_for_the_next_request(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    client = harness.ask(GET)
    harness.answer(BUSY)
    harness.answer()
    assert len(explained(harness)) == 1
    harness.ask(GET, client)
    harness.answer()
    assert explained(harness) == []
