"""The corpus of request targets: which route each takes, and what is forwarded."""

from random import Random

import pytest

from balancer.spec.worker import RewriteSpec
from tests.corpus.targets import PREFIXES, REFUSED, STRIPPED, TARGETS, Target
from tests.fakes.specs import route_spec
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK

HOST = "shop.example"
MORE = dict.fromkeys(PREFIXES, 1)
ROUTES = [
    route_spec(
        name,
        match={"path_prefixes": (prefix.decode(),)},
        rewrite=RewriteSpec(prefixes=(prefix.decode(),)) if name == STRIPPED else None,
    )
    for name, prefix in PREFIXES.items()
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text[:60])
def test_each_target_takes_its_route_in_its_normal_form(make_harness: MakeHarness, target: Target) -> None:
    harness = make_harness(1, more=MORE, routes=ROUTES)
    request = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target.sent_to(HOST), HOST.encode())
    if target.route == REFUSED:
        assert harness.ask(request).take().startswith(b"HTTP/1.1 400 ")
        assert harness.dialled == []
        return
    client = harness.client()
    for _ in range(3):  # parsed, remembered, remembered as a whole
        harness.ask(request, client)
        start = harness.upstream.take().partition(b"\r\n")[0]
        assert start == b"GET %b HTTP/1.1" % target.forwarded_for(HOST)
        harness.answer()
        assert client.take() == OK
    assert {record["route"] for record in harness.records.records} == {target.route}


@pytest.mark.parametrize("seed", range(3))
def test_on_one_connection_no_target_is_taken_for_the_one_before(
    make_harness: MakeHarness, seed: int
) -> None:
    harness = make_harness(1, more=MORE, routes=ROUTES)
    targets = [target for target in TARGETS if target.route != REFUSED] * 2
    Random(seed).shuffle(targets)
    client = harness.client()
    for target in targets:
        client.receive(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target.sent_to(HOST), HOST.encode()))
        harness.settle()
        (upstream,) = [one for one in harness.loop.transports if len(one.written) > one.taken]
        assert upstream.take().startswith(b"GET %b HTTP/1.1\r\n" % target.forwarded_for(HOST))
        upstream.receive(OK)
        harness.settle()
        assert client.take() == OK
        assert harness.records.records[-1]["route"] == target.route


@pytest.mark.parametrize("target", ["*", f"http://{HOST}"])
def test_options_of_the_whole_server_are_of_the_route_for_all_paths(
    make_harness: MakeHarness, target: str
) -> None:
    harness = make_harness(1, more=MORE, routes=ROUTES)
    harness.ask(f"OPTIONS {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert harness.upstream.take().startswith(b"OPTIONS * HTTP/1.1\r\n")
    harness.answer()
    assert harness.logged()["route"] == "web"
