"""The messages of the control channel: each survives the wire, and none is forgotten by its union."""

from typing import Any, get_args

import pytest

from balancer.messages import (
    Access,
    Adopt,
    CameBack,
    Challenges,
    Doubt,
    Drain,
    Drained,
    Eject,
    Elsewhere,
    Explained,
    Failures,
    Fatal,
    FromSupervisor,
    FromWorker,
    Heartbeat,
    LogLine,
    Message,
    Others,
    PoolUpdate,
    ReadOnly,
    Ready,
    Recovered,
    Release,
    Released,
    Retire,
    RoutesUpdate,
    SplitUpdate,
    TlsUpdate,
    Traces,
    UpstreamTlsUpdate,
    Verdict,
    Watch,
    from_supervisor,
    from_workers,
    wire_form,
)
from balancer.spec.part import DecodeError, ShapeError, encode
from balancer.spec.tls import CertificateSpec, ChallengeSpec, TlsSpec, UpstreamTlsSpec
from balancer.upstreams.traffic_history import SkipReason, Symptom
from tests.fakes.explained import explanation
from tests.fakes.messages import failure_record, start_message, upstream_message
from tests.fakes.traces import traced_request

ABOUT: dict[str, Any] = {"pool": "default", "id": "app1:8000", "row": 4, "host": "10.0.0.1"}
SEEN: dict[str, Any] = {"symptom": Symptom.FAILURES, "count": 3, "on_probation": False}
MEMBER = upstream_message(
    1,
    causes=["outlier", "active_check"],
    admin_state="draining",
    first_check="required",
    other_hosts=["10.0.0.9"],
)
CERTIFICATE = CertificateSpec(
    label="/run/site.pem", names=("shop.example",), chain=b"chain", key=b"\0key", not_after=784111777.5
)
TLS = TlsSpec(
    name="0.0.0.0:8443", min_version="1.2", certificates=(CERTIFICATE,), client_ca=b"ca", client_required=True
)
CHALLENGES = (
    ChallengeSpec(domain="shop.example", token="t0ken", answer="t0ken.thumbprint"),
    ChallengeSpec(domain="help.example", chain=b"chain", key=b"\0key"),
)
UPSTREAM_TLS = UpstreamTlsSpec(verify=True, ca=b"ca", server_name="app.example", certificate=CERTIFICATE)
ROUTES = start_message().spec.routes
DOWN: list[FromSupervisor] = [
    start_message(2, sticky={"secret": "grün"}, outlier={"enabled": True}),
    PoolUpdate(name="default", revision=3, starting=True, members=(MEMBER,)),
    SplitUpdate(route="web", revision=4, weights={"stable": 90, "canary": 10}),
    RoutesUpdate(routes=ROUTES, rows=((3,),), read_only=(ReadOnly(route="web", until_ns=7),)),
    Others(pages=(1, 2)),
    ReadOnly(route="web", until_ns=7),
    Watch(until_ns=7, path="/api", client="192.0.2.0/24"),
    TlsUpdate(revision=5, tls=TLS),
    UpstreamTlsUpdate(revision=6, pool="default", tls=UPSTREAM_TLS),
    Challenges(pending=CHALLENGES),
    Verdict(pool="default", row=4, until=7),
    Adopt(slot=1),
    Release(slot=1),
    Drain(),
    Retire(within=3600.0, ends=(1,)),
]
UP: list[FromWorker] = [
    Ready(),
    Heartbeat(),
    Drained(),
    Fatal(error="no policy of that name"),
    LogLine(level="info", message="a\nb"),
    LogLine(level="error", message="a bug", traceback="Traceback ...", once="a bug"),
    Access.of(['{"target":"/ä"}', '{"target":"/b"}']),
    Failures(records=(failure_record(1.5), failure_record(2.0, "/x?y"))),
    Explained(records=(explanation(),), left_out=2),
    Traces(records=(traced_request(), traced_request(attempts=())), dropped=3),
    Released(rows=(4, 5)),
    Eject(**ABOUT, **SEEN, skip_reason=None),
    Eject(**ABOUT, **SEEN, skip_reason=SkipReason.POOL_WIDE),
    Doubt(**ABOUT, **SEEN, skip_reason=None),
    Recovered(**ABOUT),
    CameBack(pool="default", upstream=None, text="it came back"),
    Elsewhere(row=4, host="10.0.0.1", other="10.0.0.2", why="refused"),
]


def _kind(message: Message) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", DOWN, ids=_kind)
def test_a_message_to_a_worker_survives_the_wire(message: FromSupervisor) -> None:
    assert from_supervisor().decode(wire_form(message)) == message
    with pytest.raises(ShapeError):
        from_workers().decode(wire_form(message))


@pytest.mark.parametrize("message", UP, ids=_kind)
def test_a_message_of_a_worker_survives_the_wire(message: FromWorker) -> None:
    assert from_workers().decode(wire_form(message)) == message
    with pytest.raises(DecodeError if isinstance(message, Access) else ShapeError):
        from_supervisor().decode(wire_form(message))


def test_every_message_is_in_its_union() -> None:
    assert {type(message) for message in DOWN} == set(get_args(FromSupervisor))
    assert {type(message) for message in UP} == set(get_args(FromWorker))


def test_a_line_omits_defaults() -> None:
    assert encode(LogLine(level="info", message="x")) == b'{"type":"log","level":"info","message":"x"}'


@pytest.mark.parametrize("lines", [["{}"], ['{"a":"\u00e9"}', "{}", '{"b":"\\u0000"}']], ids=len)
def test_access_log_lines_stay_as_they_are(lines: list[str]) -> None:
    message = Access.of(lines)
    assert b"\n" not in wire_form(message)
    assert (message.count, message.text().decode().splitlines()) == (len(lines), lines)
    assert message.text().endswith(b"}\n")
