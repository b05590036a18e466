"""The corpus of request targets: which route each takes, and what is forwarded."""

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
