"""Conditions and keys go only by header fields that the proxy keeps of a request."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND, ForwardedSettings
from balancer.config.readable import about_field
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.named_values import header_of
from balancer.http.request_head import parse_request_head
from balancer.http.wire import render_request

FORWARDED = ForwardedSettings(drop=("X-Acme-*", "X_Plain"), keep=("X-Forwarded-Prefix", "X-Host"))
TABLE = FieldTable(REQUEST_KINDS, FORWARDED.told, FORWARDED.kept)
ASKED = "asked"
# Their values are not taken from anybody as they are, or have a syntax of their own.
_OTHER_VALUES = {
    *("host", "content-length", "transfer-encoding", "expect", "upgrade", "x-request-id", "via", "forwarded"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"),
}
NAMES = [
    *(name.decode() for name in REQUEST_KINDS if name.decode() not in _OTHER_VALUES),
    *(name.replace("*", "Some") for name in (*ONLY_PROXIES_MAY_SEND, *FORWARDED.drop)),
    *("X-Forwarded-Prefix", "X-User", "Accept", "Trailer", "Cookie"),
]


@st.composite
def spelled(draw: st.DrawFn) -> str:
    """A name, or one that resembles it."""
    name = draw(st.sampled_from(NAMES))
    sign = draw(st.sampled_from(["-", "_", ".", ""]))
    return "".join(sign if each in "-_" and sign and draw(st.booleans()) else each for each in name)


@given(spelled(), st.booleans())
@example("script-name", True)
def test_what_is_refused_is_what_the_proxy_does_not_keep(name: str, trusts_any: bool) -> None:
    peer = Forwarding(["192.0.2.0/24"] if trusts_any else []).peer("192.0.2.1")
    raw = f"GET / HTTP/1.1\r\nHost: a\r\n{name}: {ASKED}\r\n\r\n".encode()
    head = parse_request_head(raw, 8192, 100, None, TABLE)
    found = header_of(head, peer, name.encode())
    render_request(head, peer, b"1", b"a")
    assert header_of(head, peer, name.encode()) == found  # a repeated head is rendered
    is_kept = about_field(name) is None and FORWARDED.about(name, trusts_any) is None
    assert (found == ASKED.encode()) is is_kept


@pytest.mark.parametrize("name", ["Connection", "TE", "Via", "Keep-Alive", "proxy", "x_request_id"])
def test_each_of_them_has_a_reason(name: str) -> None:
    assert about_field(name) is not None
