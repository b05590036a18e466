"""Fields of proxies about the client, parsed strictly and from the right: RFC 7239 and X-Forwarded-*
lists."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.http.forwarded import (
    Hop,
    address_in,
    hops_in,
    host_in,
    members,
    node_for,
    node_of,
    render_hop,
    scheme_in,
)

NOTHING = Hop(b"", b"", b"", b"")


def hop(node: bytes = b"", scheme: bytes = b"", host: bytes = b"", rest: bytes = b"") -> Hop:
    return Hop(node, scheme, host, rest)


FORWARDED: dict[str, tuple[bytes, list[Hop]]] = {
    "empty": (b"", []),
    "empty elements (RFC 9110 section 5.6.1.2)": (b", ,for=1.2.3.4,,", [hop(b"1.2.3.4")]),
    "IPv4": (b"for=192.0.2.43", [hop(b"192.0.2.43")]),
    "IPv4 with a port": (b'for="192.0.2.43:47011"', [hop(b"192.0.2.43:47011")]),
    "IPv6": (b'for="[2001:db8:cafe::17]"', [hop(b"[2001:db8:cafe::17]")]),
    "IPv6 with a port": (b'For="[2001:db8:cafe::17]:4711"', [hop(b"[2001:db8:cafe::17]:4711")]),
    "unknown": (b"for=unknown", [hop(b"unknown")]),
    "unknown in capitals": (b"for=Unknown", [hop(b"Unknown")]),
    "obfuscated": (b"for=_gazonk", [hop(b"_gazonk")]),
    "obfuscated with an obfuscated port": (b'for="_gazonk:_p"', [hop(b"_gazonk:_p")]),
    "quoted needlessly": (b'for="192.0.2.43"', [hop(b"192.0.2.43")]),
    "quoted pair": (b'for="192\\.0.2.43"', [hop(b"192.0.2.43")]),
    "all parameters": (
        b"for=192.0.2.60;proto=http;by=203.0.113.43;host=a.example",
        [hop(b"192.0.2.60", b"http", b"a.example", b";by=203.0.113.43")],
    ),
    "any case, any order": (
        b'HOST="a.example:80";Proto=HTTPS;fOr=_a',
        [hop(b"_a", b"https", b"a.example:80")],
    ),
    "empty pairs": (b";for=_a;;proto=http;", [hop(b"_a", b"http")]),
    "blanks around semicolons": (b"for=_a ; proto=http\t;by=_b", [hop(b"_a", b"http", b"", b";by=_b")]),
    "several": (b'for=_a, for="_b" ,\tfor=_c', [hop(b"_a"), hop(b"_b"), hop(b"_c")]),
    "a comma, a semicolon and a quote in quotes": (
        b'ext="a, for=_x;\\"";for=_a,for=_b',
        [hop(b"_a", b"", b"", b';ext="a, for=_x;\\""'), hop(b"_b")],
    ),
    "a backslash at the end of quotes": (
        b'for=_a;x="\\\\",for=_b', [hop(b"_a", rest=b';x="\\\\"'), hop(b"_b")],
    ),
    "blanks around the equals sign": (b"for = _a", [NOTHING]),
    "no value": (b"for", [NOTHING]),
    "an empty value": (b"for=", [NOTHING]),
    "an empty quoted value": (b'for=""', [NOTHING]),
    "twice in one element": (b"for=_a;for=_b", [NOTHING]),
    "a port without quotes": (b"for=192.0.2.43:80", [NOTHING]),
    "IPv6 without quotes": (b"for=[::1]", [NOTHING]),
    "IPv6 without brackets": (b'for="2001:db8::1"', [hop()]),
    "IPv4 in brackets": (b'for="[192.0.2.43]"', [hop()]),
    "no address": (b"for=192.0.2.999", [hop()]),
    "a name": (b"for=client.example", [hop()]),
    "a port that is none": (b'for="192.0.2.43:123456"', [hop()]),
    "no scheme": (b'proto="ht tp";for=_a', [hop(b"_a")]),
    "no host": (b'host="a, b";for=_a', [hop(b"_a")]),
    "garbage before": (b"???, for=_a", [NOTHING, hop(b"_a")]),
    "garbage after": (b"for=_a, ???", [hop(b"_a"), NOTHING]),
    "an open quote before": (b'for="_x, for=_a', [NOTHING, hop(b"_a")]),
    "an open quote before quotes": (
        b'for="_x, for="_a";host="b:1"', [NOTHING, hop(b"_a", b"", b"b:1")],
    ),
    "an open quote with a backslash before quotes": (
        b'for=_x\\", for="_a"', [NOTHING, hop(b"_a")],
    ),
    "an open quote in the last one": (b'for=_b, for="_a', [NOTHING]),
    "a quote that nothing opens": (b'for=_b, for=_a"', [NOTHING]),
    "control bytes in quotes": (b'x="\x01";for=_a', [NOTHING]),
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARDED)
def test_forwarded_is_parsed_by_rfc_7239(case: str) -> None:
    value, hops = FORWARDED[case]
    assert hops_in(value) == hops


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        (b"https", b"https"),
        (b"HTTPS", b"https"),
        (b"http, https", b"https"),
        (b"https,http ,, ", b"http"),
        (b"wss", b"wss"),
        (b"", b""),
        (b",", b""),
        (b"1http", b""),
        (b"https://a", b""),
        (b"https, \xff", b""),
    ],
)
def test_the_last_scheme_of_a_list_counts(value: bytes, scheme: bytes) -> None:
    assert scheme_in(value) == scheme


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"shop.example", b"shop.example"),
        (b"evil.example, shop.example:8443", b"shop.example:8443"),
        (b"[2001:db8::1]:80,", b"[2001:db8::1]:80"),
        (b"under_score", b"under_score"),
        (b"", b""),
        (b"a/b", b""),
        (b"user@a", b""),
        (b'a"b', b""),
        (b"a;b", b""),
    ],
)
def test_the_last_host_of_a_list_counts(value: bytes, host: bytes) -> None:
    assert host_in(value) == host


def test_empty_members_are_ignored() -> None:
    assert members(b" a,, b\t, ,c") == [b"a", b"b", b"c"]
    assert members(b" , ") == []


def unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).map(unmapped))
names = st.from_regex(rb"[a-z_]([a-z0-9_.-]{0,8}[a-z0-9])?", fullmatch=True)
hosts = st.builds(lambda name, port: name + port, names, st.sampled_from([b"", b":80", b":65535"]))
schemes = st.sampled_from([b"", b"http", b"https", b"wss"])
nodes = st.one_of(
    addresses.map(lambda one: node_of(str(one))),
    st.sampled_from([b"unknown", b"_hidden", b"1.2.3.4:80", b"[::1]:4711", b"_a:_b"]),
)
quoted = st.lists(st.sampled_from([b"a", b",", b";", b"=", b" ", b'\\"', b"\\\\", b"\xff"])).map(b"".join)
rests = st.one_of(st.just(b""), quoted.map(lambda text: b';x="%b"' % text))
rendered_hops = st.builds(Hop, nodes, schemes, st.one_of(st.just(b""), hosts), rests)


@given(st.lists(rendered_hops, max_size=6), st.sampled_from([b", ", b",", b" ,,\t"]))
def test_forwarded_round_trips(hops: list[Hop], comma: bytes) -> None:
    assert hops_in(comma.join([render_hop(*one) for one in hops])) == hops


@given(st.text('",;=\\ af_or', max_size=30).map(str.encode), st.lists(rendered_hops, min_size=1, max_size=4))
def test_a_clients_forged_start_hides_no_entries_of_proxies(start: bytes, added: list[Hop]) -> None:
    value = b", ".join([start, *(render_hop(*one) for one in added)])
    assert hops_in(value)[-len(added) :] == added


@given(st.lists(addresses, min_size=1, max_size=6))
def test_x_forwarded_for_and_forwarded_round_trip(chain: list[object]) -> None:
    texts = [str(one) for one in chain]
    forwarded = b", ".join([render_hop(node_for(one.encode(), one), b"", b"") for one in texts])
    assert [str(address_in(one.node)) for one in hops_in(forwarded)] == texts


@given(st.binary(max_size=60))
def test_any_value_is_read_without_error(value: bytes) -> None:
    for one in hops_in(value):
        assert b"," not in one.node + one.scheme + one.host
    assert scheme_in(value) == scheme_in(value).strip()
    assert b"," not in host_in(value)


@pytest.mark.parametrize(
    "value",
    [
        b'"' * 60_000,
        b'\\"' * 30_000,
        b"\\" * 60_000 + b'"',
        b'a="b"' * 12_000,
        b"," * 60_000,
        b'",' * 30_000,
        b";" * 60_000,
        b'for="' + b"\\a" * 30_000,
        b"for=_" + b"a" * 60_000 + b"!",
        b'for="[' + b":" * 60_000 + b']"',
        b"a" * 60_000,
        b" " * 60_000,
    ],
    ids=[
        "quotes", "escaped quotes", "backslashes", "quoted strings", "commas", "quotes and commas",
        "semicolons", "open quoted pairs", "a long name", "a long address", "a long token", "blanks",
    ],
)  # fmt: skip
def test_parsing_is_linear_in_the_length(value: bytes) -> None:
    """A quadratic parser would take minutes for these."""
    for _ in range(3):
        hops_in(value)
        hops_in(value + b", for=_a")
        scheme_in(value)
        host_in(value)
        members(value)
