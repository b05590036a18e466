"""What an app is told of the client, and who is believed."""

import pytest

from balancer.http.forwarding import Forwarding, RequestIds
from balancer.http.head import RequestHead, parse_request_head

TRUSTED = ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"]


def head(*lines: bytes, version: bytes = b"1.1") -> RequestHead:
    return parse_request_head(
        b"\r\n".join([b"GET / HTTP/" + version, b"Host: a", *lines, b"", b""]), 8192, 100
    )


def told(address: str, *lines: bytes, trusted: list[str] = TRUSTED) -> dict[bytes, bytes]:
    rendered = Forwarding(trusted).peer(address).lines(head(*lines))
    assert rendered.endswith(b"\r\n")
    pairs = [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in rendered[:-2].split(b"\r\n")]
    fields = dict(pairs)
    assert len(fields) == len(pairs)
    return fields


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("2001:db8:1::5", True),
        ("2001:db8:2::5", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    assert Forwarding(TRUSTED).peer(address).trusted is trusted
    assert Forwarding([]).peer(address).trusted is False


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
    ],
)
def test_the_peers_address_in_plain_form(address: str, plain: str) -> None:
    assert Forwarding([]).peer(address).address == plain
    assert told(address)[b"X-Forwarded-For"] == plain.encode()


def test_what_is_always_said() -> None:
    assert told("203.0.113.5") == {
        b"X-Forwarded-For": b"203.0.113.5",
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"a",
        b"Via": b"1.1 balancer",
    }


SPOOF = [
    b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2", b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop", b"Forwarded: for=1.1.1.1;proto=https",
]  # fmt: skip


def test_an_untrusted_peer_is_believed_nothing() -> None:
    assert told("203.0.113.5", *SPOOF) == {
        b"X-Forwarded-For": b"203.0.113.5",
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"a",
        b"Forwarded": b"for=203.0.113.5;proto=http",
        b"Via": b"1.1 balancer",
    }


def test_a_trusted_peer_is_added_to() -> None:
    assert told("10.0.0.1", *SPOOF) == {
        b"X-Forwarded-For": b"1.1.1.1, 2.2.2.2, 10.0.0.1",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"shop",
        b"Forwarded": b"for=1.1.1.1;proto=https, for=10.0.0.1;proto=http",
        b"Via": b"1.1 balancer",
    }


def test_ipv6_is_quoted_in_forwarded() -> None:
    said = told("2001:db8:1::5", b"Forwarded: for=x")
    assert said[b"Forwarded"] == b'for=x, for="[2001:db8:1::5]";proto=http'


@pytest.mark.parametrize(
    "line",
    [b"X_Forwarded_For: 1.1.1.1", b"X-Forwarded_For: 1.1.1.1", b"x_forwarded-for: 1.1.1.1",
     b"X-Forwarded-For:", b"X_FORWARDED_PROTO: https", b"X_Forwarded_Host: shop"],
)  # fmt: skip
@pytest.mark.parametrize("address", ["203.0.113.5", "10.0.0.1"], ids=["untrusted", "trusted"])
def test_look_alikes_and_empty_ones_say_nothing(address: str, line: bytes) -> None:
    assert told(address, line) == told(address)
    assert line not in head(line).lines


@pytest.mark.parametrize(
    ("address", "chain", "client"),
    [
        pytest.param("203.0.113.5", b"1.1.1.1", "203.0.113.5", id="untrusted"),
        pytest.param("10.0.0.1", b"1.1.1.1", "1.1.1.1", id="one"),
        pytest.param("10.0.0.1", b"6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1", id="nearest-untrusted"),
        pytest.param("10.0.0.1", b"10.0.0.3,10.0.0.2", "10.0.0.3", id="all-trusted"),
        pytest.param("10.0.0.1", b"1.1.1.1, unknown", "10.0.0.1", id="no-address"),
        pytest.param("10.0.0.1", b"1.1.1.1, unknown, 10.0.0.2", "10.0.0.2", id="no-address-behind-trusted"),
        pytest.param("10.0.0.1", b"1.1.1.1:4711", "1.1.1.1", id="with-port"),
        pytest.param("10.0.0.1", b"[2001:db8::9]:4711", "2001:db8::9", id="ipv6-with-port"),
        pytest.param("10.0.0.1", b"2001:DB8::9", "2001:db8::9", id="ipv6"),
        pytest.param("10.0.0.1", b"::ffff:1.1.1.1", "1.1.1.1", id="mapped"),
        pytest.param("10.0.0.1", b"1.1.1.1,", "10.0.0.1", id="empty-member"),
        pytest.param("10.0.0.1", b"\xff\xfe", "10.0.0.1", id="obs-text"),
    ],
)
def test_the_clients_address(address: str, chain: bytes, client: str) -> None:
    peer = Forwarding(TRUSTED).peer(address)
    assert peer.client_address(head(b"X-Forwarded-For: " + chain)) == client


def test_the_clients_address_without_a_chain() -> None:
    assert Forwarding(TRUSTED).peer("10.0.0.1").client_address(head()) == "10.0.0.1"


def test_several_chains_are_one() -> None:
    peer = Forwarding(TRUSTED).peer("10.0.0.1")
    several = head(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For: 10.0.0.2")
    assert peer.client_address(several) == "1.1.1.1"


def test_via_says_what_the_client_spoke() -> None:
    lines = Forwarding([]).peer("203.0.113.5").lines(head(version=b"1.0"))
    assert b"\r\nVia: 1.0 balancer\r\n" in lines


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-123", True),
        (b"A.b_c~d:e/f+g=h@i", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"a b", False),
        (b'a"b', False),
        (b"a\\b", False),
        (b"a,b", False),
        (b"\xff", False),
        (b"<x>", False),
    ],
)
def test_request_ids_of_the_client(sent: bytes, kept: bool) -> None:
    made = RequestIds(0xABC).of(head(b"X-Request-ID: " + sent))
    assert made == (sent if kept else b"0000000000000abc000000000001")


def test_request_ids_are_unique_and_look_alikes_do_not_count() -> None:
    ids = RequestIds(2**64 - 1)
    made = [ids.of(head(b"X_Request_ID: spoof")) for _ in range(3)]
    assert made == [b"f" * 16 + b"%012x" % number for number in (1, 2, 3)]
