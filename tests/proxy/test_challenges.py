"""What authorities look for over plain HTTP is answered here, before anything else."""

import pytest

from balancer.messages import ReadOnly
from balancer.proxy.challenges import ChallengeRouter
from balancer.spec.tls import ChallengeSpec
from balancer.spec.worker import AnswerSpec
from balancer.telemetry.columns import CODE_COLUMN, METHOD_COLUMN
from tests.fakes.specs import route_spec
from tests.fakes.tls_specs import tls_spec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, body_of, head_of, status_of

TOKEN, ANSWER = "t0ken-_x", "t0ken-_x.thumbprint"
PENDING = (
    ChallengeSpec(domain="shop.example", token=TOKEN, answer=ANSWER),
    ChallengeSpec(domain="help.example", token="other", answer="other.thumbprint"),
)
PLACE = "/.well-known/acme-challenge/"


def request(target: str = PLACE + TOKEN, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()


REDIRECT = AnswerSpec(status=301, location="https://$host$uri")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="a plain listener"),
        pytest.param({"tls": tls_spec(redirect=True)}, id="one that redirects"),
        pytest.param({"routes": [route_spec("r", "", answer=REDIRECT)]}, id="a route that redirects"),
        pytest.param(
            {
                "routes": [
                    route_spec("a", "default", match={"path_prefixes": ("/a",)}),
                    route_spec("b", "default"),
                ]
            },
            id="several routes",
        ),
    ],
)
def test_a_challenge_is_answered(make_harness: MakeHarness, changes: dict[str, object]) -> None:
    harness = make_harness(**changes)
    client = harness.client()
    harness.proxy.take_challenges(PENDING)
    for _ in range(3):  # the second time its head is known
        data = harness.ask(request(), client).take()
        assert status_of(data) == 200
        assert body_of(data) == ANSWER.encode()
        assert b"Content-Type: text/plain" in head_of(data)
    assert body_of(harness.ask(request(PLACE + "other"), client).take()) == b"other.thumbprint"
    assert not harness.loop.transports


def test_a_head_request_gets_the_head(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.proxy.take_challenges(PENDING)
    data = harness.ask(request(method="HEAD")).take()
    assert (status_of(data), body_of(data)) == (200, b"")


@pytest.mark.parametrize(
    ("target", "method"),
    [
        pytest.param(PLACE + "unknown", "GET", id="another token"),
        pytest.param(PLACE, "GET", id="no token"),
        pytest.param(PLACE + TOKEN + "x", "GET", id="a longer token"),
        pytest.param(PLACE + TOKEN + "?a=b", "GET", id="a query"),
        pytest.param("/", "GET", id="another path"),
        pytest.param(PLACE + TOKEN, "OPTIONS", id="another method"),
    ],
)
def test_all_else_goes_on_to_the_app(make_harness: MakeHarness, target: str, method: str) -> None:
    harness = make_harness()
    harness.proxy.take_challenges(PENDING)
    client = harness.ask(request(target, method))
    harness.answer()
    assert status_of(client.take()) == 200
    assert harness.upstream.take().startswith(f"{method} {target} ".encode())


def test_it_counts_for_the_route_that_it_would_have_taken(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.proxy.take_challenges(PENDING)
    harness.ask(request()).take()
    assert harness.page.row(3)[METHOD_COLUMN[b"GET"] + CODE_COLUMN[200]] == 1
    record = harness.logged()
    assert (record["status"], record["route"], record["upstream"]) == (200, "default", None)


def test_no_limit_keeps_an_authority_from_it(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.proxy.take_read_only(ReadOnly(route="default", until_ns=1 << 62))
    harness.limit(1)
    harness.hold(1)
    harness.ask(GET)  # it has the only slot
    harness.proxy.take_challenges(PENDING)
    assert status_of(harness.ask(request()).take()) == 200


def test_the_router_is_the_same_as_before_when_the_authority_has_looked(make_harness: MakeHarness) -> None:
    harness = make_harness()
    client = harness.client()
    before = harness.proxy.entrance.router
    harness.proxy.take_challenges(PENDING)
    assert isinstance(harness.proxy.entrance.router, ChallengeRouter)
    assert status_of(harness.ask(request(), client).take()) == 200
    harness.proxy.take_challenges(())
    assert harness.proxy.entrance.router is before
    harness.ask(request(), client)
    harness.answer()
    assert harness.upstream.take().startswith(b"GET /.well-known/")


def test_it_is_answered_over_tls_too_as_authorities_follow_redirects(make_harness: MakeHarness) -> None:
    harness = make_harness(tls=tls_spec())
    assert harness.proxy.handshakes is not None
    entrance = harness.proxy.handshakes.entrance
    before = entrance.router
    harness.proxy.take_challenges(PENDING)
    assert isinstance(entrance.router, ChallengeRouter)
    harness.proxy.take_challenges(())
    assert entrance.router is before


def test_a_worker_that_starts_later_answers_too(make_harness: MakeHarness) -> None:
    harness = make_harness(challenges=PENDING)
    assert status_of(harness.ask(request()).take()) == 200
