"""What an app is told about the client, and which peers are trusted."""

from collections.abc import Sequence

import pytest

from balancer.http.fields import REQUEST_KINDS, Field, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead, parse_request_head
from balancer.http.request_ids import RequestIds

TRUSTED = ["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"]
ONLY_TRUSTED = FieldTable(REQUEST_KINDS, ["x-forwarded-*", "x-scheme", "front-end-https", "script_name"])
CLIENT, PROXY = "203.0.113.5", "10.0.0.1"


def head(*lines: bytes, version: bytes = b"1.1") -> RequestHead:
    return parse_request_head(
        b"\r\n".join([b"GET / HTTP/" + version, b"Host: a", *lines, b"", b""]), 8192, 100, None, ONLY_TRUSTED
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
def test_which_peers_are_trusted(address: str, trusted: bool) -> None:
    assert Forwarding(TRUSTED).peer(address).trusted is trusted
    assert Forwarding([]).peer(address).trusted is False


@pytest.mark.parametrize(
    ("network", "address", "trusted"),
    [
        pytest.param("::ffff:10.0.0.0/104", "10.1.2.3", True, id="mapped network, IPv4 peer"),
        pytest.param("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", True, id="mapped network, mapped peer"),
        pytest.param("::ffff:10.0.0.0/104", "11.1.2.3", False, id="mapped network, another peer"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", True, id="mapped address"),
        pytest.param("::ffff:0.0.0.0/96", "203.0.113.5", True, id="all of IPv4"),
        pytest.param("::ffff:0.0.0.0/96", "2001:db8::1", False, id="all of IPv4, IPv6 peer"),
        pytest.param("fe80::/10", "fe80::1%eth0", True, id="zone of a peer"),
        pytest.param("2001:db8::/96", "2001:db8::1", True, id="no mapped network"),
    ],
)
def test_ipv4_mapped_networks_are_those_of_ipv4(network: str, address: str, trusted: bool) -> None:
    assert Forwarding([network]).peer(address).trusted is trusted


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
def test_the_peers_address_is_normalised(address: str, plain: str) -> None:
    assert Forwarding([]).peer(address).address == plain
    assert told(address)[b"X-Forwarded-For"] == plain.encode()
    assert told(address)[b"X-Real-IP"] == plain.encode()


@pytest.mark.parametrize("address", [CLIENT, PROXY], ids=["untrusted", "trusted"])
def test_fields_that_are_always_sent(address: str) -> None:
    assert told(address) == {
        b"X-Forwarded-For": address.encode(),
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"a",
        b"X-Real-IP": address.encode(),
        b"Via": b"1.1 balancer",
    }


SPOOF = [
    b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2", b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop", b"Forwarded: for=3.3.3.3;proto=ftp;host=other", b"X-Real-IP: 4.4.4.4",
    b"X-Forwarded-Port: 443", b"X-Scheme: https",
]  # fmt: skip


def test_an_untrusted_peer_is_not_believed() -> None:
    assert told(CLIENT, *SPOOF) == {
        b"X-Forwarded-For": b"203.0.113.5",
        b"X-Forwarded-Proto": b"http",
        b"X-Forwarded-Host": b"a",
        b"X-Real-IP": b"203.0.113.5",
        b"Forwarded": b"for=203.0.113.5;proto=http;host=a",
        b"Via": b"1.1 balancer",
    }


def test_a_trusted_peer_is_believed_and_appended() -> None:
    assert told(PROXY, *SPOOF) == {
        b"X-Forwarded-For": b"1.1.1.1, 2.2.2.2, 10.0.0.1",
        b"X-Forwarded-Proto": b"https",
        b"X-Forwarded-Host": b"shop",
        b"X-Real-IP": b"2.2.2.2",
        b"Forwarded": b"for=1.1.1.1, for=2.2.2.2;proto=https;host=shop, for=10.0.0.1;proto=https;host=shop",
        b"X-Forwarded-Port": b"443",
        b"X-Scheme": b"https",
        b"Via": b"1.1 balancer",
    }


@pytest.mark.parametrize(
    "line",
    [b"X_Forwarded_For: 1.1.1.1", b"X-Forwarded_For: 1.1.1.1", b"x_forwarded-for: 1.1.1.1",
     b"X-Forwarded-For:", b"X_FORWARDED_PROTO: https", b"X_Forwarded_Host: shop", b"X_Real_IP: 1.1.1.1",
     b"X-Real_IP: 1.1.1.1", b"X-Real-IP:", b"X_Forwarded_Port: 443", b"X-Forwarded_Ssl: on",
     b"X_Scheme: https", b"Front_End-Https: on", b"Script-Name: /a", b"Proxy: x", b"Client-Cert: x",
     b"Client_Cert: x", b"CLIENT-CERT-CHAIN: x", b"Forwarded: ,", b"X.Forwarded.For: 1.1.1.1",
     b"X~Real~IP: 1.1.1.1", b"Front.End.Https: on", b"X-Forwarded.Port: 443"],
)  # fmt: skip
@pytest.mark.parametrize("address", [CLIENT, PROXY], ids=["untrusted", "trusted"])
def test_look_alikes_empty_fields_and_forbidden_fields_are_ignored(address: str, line: bytes) -> None:
    said = told(address, line)
    said.pop(b"Forwarded", None)  # present if the client sends one, whatever its value
    assert said == told(address)
    assert line not in head(line).lines


@pytest.mark.parametrize(
    ("told_names", "kept_names", "line", "passed"),
    [
        pytest.param(["x-acme-user"], [], b"X-ACME-User: 1", False, id="a name"),
        pytest.param(["x-acme-user"], [], b"X_Acme_User: 1", False, id="its look-alike"),
        pytest.param(["x-acme-user"], [], b"X.Acme+User: 1", False, id="its look-alike to CGI"),
        pytest.param(["x-acme-user"], [], b"X-Acme-Users: 1", True, id="a longer name"),
        pytest.param(["x-acme-*"], [], b"x-acme-anything: 1", False, id="a pattern"),
        pytest.param(["x-acme-*"], [], b"x_acme-anything: 1", False, id="its look-alike"),
        pytest.param(["x-acme-*"], [], b"X-Acme: 1", True, id="not of the pattern"),
        pytest.param(["x-acme-*"], ["x-acme-id"], b"X-Acme-Id: 1", True, id="kept out of a pattern"),
        pytest.param(["x-acme-*"], ["x-acme-id"], b"X_Acme_Id: 1", True, id="and its look-alike"),
        pytest.param(["x-acme-*"], ["x-acme-id"], b"X-Acme-Id2: 1", False, id="but no other"),
        pytest.param(["x-acme-id"], ["x-acme-id"], b"X-Acme-Id: 1", True, id="kept by name"),
        pytest.param(["script_name"], [], b"SCRIPT_NAME: 1", False, id="really with an underscore"),
    ],
)
def test_fields_forwarded_from_an_untrusted_peer(
    told_names: list[str], kept_names: list[str], line: bytes, passed: bool
) -> None:
    table = FieldTable(REQUEST_KINDS, told_names, kept_names)
    raw = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", line, b"", b""])
    for _ in range(2):  # also if it has been seen before
        parsed = parse_request_head(raw, 8192, 100, None, table)
        assert (line in parsed.lines) is passed
        assert line not in Forwarding([]).peer(CLIENT).lines(parsed)


def test_a_name_with_underscores_is_forwarded_from_a_trusted_peer() -> None:
    assert told(PROXY, b"SCRIPT_NAME: /shop")[b"SCRIPT_NAME"] == b"/shop"


@pytest.mark.parametrize(
    ("address", "chain", "client"),
    [
        pytest.param(CLIENT, b"1.1.1.1", CLIENT, id="untrusted"),
        pytest.param(PROXY, b"1.1.1.1", "1.1.1.1", id="one"),
        pytest.param(PROXY, b"6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1", id="nearest-untrusted"),
        pytest.param(PROXY, b"10.0.0.3,10.0.0.2", "10.0.0.3", id="all-trusted"),
        pytest.param(PROXY, b"1.1.1.1, unknown", PROXY, id="no-address"),
        pytest.param(PROXY, b"1.1.1.1, unknown, 10.0.0.2", "10.0.0.2", id="no-address-behind-trusted"),
        pytest.param(PROXY, b"1.1.1.1:4711", "1.1.1.1", id="with-port"),
        pytest.param(PROXY, b"[2001:db8::9]:4711", "2001:db8::9", id="ipv6-with-port"),
        pytest.param(PROXY, b"2001:DB8::9", "2001:db8::9", id="ipv6"),
        pytest.param(PROXY, b"fe80::9%eth0", "fe80::9", id="zone"),
        pytest.param(PROXY, b"::ffff:1.1.1.1", "1.1.1.1", id="mapped"),
        pytest.param(PROXY, b"6.6.6.6, 1.1.1.1,, 10.0.0.2 ,", "1.1.1.1", id="empty-members"),
        pytest.param(PROXY, b",, ,", PROXY, id="empty-members-only"),
        pytest.param(PROXY, b"\xff\xfe", PROXY, id="obs-text"),
    ],
)
def test_the_clients_address_is_found_in_the_chain(address: str, chain: bytes, client: str) -> None:
    peer = Forwarding(TRUSTED).peer(address)
    sent = head(b"X-Forwarded-For: " + chain)
    assert peer.client_address(sent) == client
    assert b"X-Real-IP: %b\r\n" % client.encode() in peer.lines(sent)


def test_the_clients_address_without_a_chain() -> None:
    assert Forwarding(TRUSTED).peer(PROXY).client_address(head()) == PROXY


def test_several_chain_lines_are_joined() -> None:
    peer = Forwarding(TRUSTED).peer(PROXY)
    several = head(b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-For: 1.1.1.1", b"X-Forwarded-For: 10.0.0.2")
    assert peer.client_address(several) == "1.1.1.1"


# What a trusted proxy sends -> client, scheme and host, in every field about them.
FACTS: dict[str, tuple[list[bytes], tuple[str, bytes, bytes]]] = {
    "Forwarded alone": (
        [b"Forwarded: for=203.0.113.9;proto=https;host=shop.example"],
        ("203.0.113.9", b"https", b"shop.example"),
    ),
    "both: X-Forwarded-* decides, also on what it omits": (
        [b"Forwarded: for=1.1.1.1;proto=https;host=shop", b"X-Forwarded-For: 2.2.2.2"],
        ("2.2.2.2", b"http", b"a"),
    ),
    "both, and X-Forwarded-Proto alone": (
        [b"Forwarded: for=1.1.1.1;host=shop", b"X-Forwarded-Proto: https"],
        (PROXY, b"https", b"a"),
    ),
    "both, but X-Forwarded-For empty": (
        [b"Forwarded: for=1.1.1.1;proto=https", b"X-Forwarded-For:"],
        ("1.1.1.1", b"https", b"a"),
    ),
    "Forwarded beside other fields of the family": (
        [b"Forwarded: for=1.1.1.1;proto=https", b"X-Forwarded-Prefix: /x"],
        ("1.1.1.1", b"https", b"a"),
    ),
    "neither": ([b"X-Forwarded-Prefix: /x"], (PROXY, b"http", b"a")),
    "the last of a list counts": (
        [b"X-Forwarded-Proto: http, https", b"X-Forwarded-Host: evil, shop.example:8443"],
        (PROXY, b"https", b"shop.example:8443"),
    ),
    "the last of several lines counts": (
        [b"X-Forwarded-Proto: http", b"X-Forwarded-Host: evil", b"X-Forwarded-Host: shop",
         b"X-Forwarded-Proto: https,"],
        (PROXY, b"https", b"shop"),
    ),
    "capitals": ([b"X-Forwarded-Proto: HTTPS"], (PROXY, b"https", b"a")),
    "no scheme": ([b"X-Forwarded-Proto: ht tp"], (PROXY, b"http", b"a")),
    "no host": ([b"X-Forwarded-Host: a/b"], (PROXY, b"http", b"a")),
    "IPv6 host": ([b"X-Forwarded-Host: [::1]:80"], (PROXY, b"http", b"[::1]:80")),
    "https by X-Forwarded-Ssl": ([b"X-Forwarded-Ssl: on"], (PROXY, b"https", b"a")),
    "https by X-Scheme": ([b"X-Scheme: HTTPS"], (PROXY, b"https", b"a")),
    "https by Front-End-Https": ([b"Front-End-Https: on"], (PROXY, b"https", b"a")),
    "http by X-Forwarded-Ssl": ([b"X-Forwarded-Ssl: off"], (PROXY, b"http", b"a")),
    "X-Forwarded-Proto before X-Forwarded-Ssl": (
        [b"X-Forwarded-Ssl: on", b"X-Forwarded-Proto: http"], (PROXY, b"http", b"a"),
    ),
    "Forwarded before X-Forwarded-Ssl": (
        [b"X-Forwarded-Ssl: on", b"Forwarded: proto=http"], (PROXY, b"http", b"a"),
    ),
    "X-Real-IP without a chain": ([b"X-Real-IP: 1.1.1.1"], ("1.1.1.1", b"http", b"a")),
    "X-Real-IP beside a chain": (
        [b"X-Real-IP: 6.6.6.6", b"X-Forwarded-For: 1.1.1.1"], ("1.1.1.1", b"http", b"a"),
    ),
    "X-Real-IP beside Forwarded": (
        [b"X-Real-IP: 6.6.6.6", b"Forwarded: for=1.1.1.1"], ("1.1.1.1", b"http", b"a"),
    ),
    "several hops": (
        [b"Forwarded: for=6.6.6.6;proto=ftp;host=evil, for=1.1.1.1;proto=https;host=shop, for=10.0.0.2"],
        ("1.1.1.1", b"https", b"shop"),
    ),
    "scheme and host as sent by the client itself": (
        [b"Forwarded: for=6.6.6.6;proto=https;host=evil, for=1.1.1.1"], ("1.1.1.1", b"http", b"a"),
    ),
    "the nearest proxy that says it": (
        [b"Forwarded: for=1.1.1.1;proto=https;host=shop, for=10.0.0.2;proto=http"],
        ("1.1.1.1", b"http", b"shop"),
    ),
    "a hop that hides": ([b"Forwarded: for=6.6.6.6, for=_hidden;proto=https"], (PROXY, b"https", b"a")),
    "a hop that says no address": (
        [b"Forwarded: for=1.1.1.1, proto=https;host=shop"], (PROXY, b"https", b"shop"),
    ),
    "malformed": ([b"Forwarded: for=1.1.1.1;proto"], (PROXY, b"http", b"a")),
    "an open quote of the client's": (
        [b'Forwarded: for="1.1, for=1.1.1.1;proto=https'], ("1.1.1.1", b"https", b"a"),
    ),
    "an open quote of the client's in a line of its own": (
        [b'Forwarded: for="', b'Forwarded: for=1.1.1.1;host="shop:80"'], ("1.1.1.1", b"http", b"shop:80"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FACTS)
def test_client_scheme_and_host_come_from_one_notation_and_both_agree(case: str) -> None:
    lines, (client, scheme, host) = FACTS[case]
    peer = Forwarding(TRUSTED).peer(PROXY)
    sent = head(*lines)
    assert peer.client_address(sent) == client
    said = told(PROXY, *lines)
    assert said[b"X-Forwarded-Proto"] == scheme
    assert said[b"X-Forwarded-Host"] == host
    assert said[b"X-Real-IP"] == client.encode()
    again = Forwarding(TRUSTED).peer(PROXY)
    assert again.client_address(head(b"X-Forwarded-For: " + said[b"X-Forwarded-For"])) == client
    assert (b"Forwarded" in said) is any(line.startswith(b"Forwarded") for line in lines)
    if b"Forwarded" in said:
        by_forwarded = told(PROXY, b"Forwarded: " + said[b"Forwarded"])
        for name in (b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Real-IP"):
            assert by_forwarded[name] == said[name]
        # For apps that take the first of each, and for apps that take the last.
        values = {
            name: {
                pair.removeprefix(name + b"=").strip(b'"')
                for element in said[b"Forwarded"].split(b", ")
                for pair in element.split(b";")
                if pair.startswith(name)
            }
            for name in (b"proto", b"host")
        }
        assert values == {b"proto": {scheme}, b"host": {host}}


@pytest.mark.parametrize(
    ("lines", "forwarded"),
    [
        pytest.param(
            [b'Forwarded: for="[2001:db8:1::9]:4711";by=10.0.0.2;secret="a;b, c"'],
            b'for="[2001:db8:1::9]:4711";proto=http;host=a;by=10.0.0.2;secret="a;b, c", '
            b"for=10.0.0.1;proto=http;host=a",
            id="port, IPv6, and other parameters stay",
        ),
        pytest.param(
            [b"Forwarded: for=6.6.6.6;by=_secret;proto=https, for=1.1.1.1;by=10.0.0.1"],
            b"for=6.6.6.6, for=1.1.1.1;proto=http;host=a;by=10.0.0.1, for=10.0.0.1;proto=http;host=a",
            id="but not those of the client",
        ),
        pytest.param(
            [b"Forwarded: for=x", b"X-Forwarded-For: 1.1.1.1:80, ?, unknown, _a, 2001:db8:1::9"],
            b'for=1.1.1.1, for=unknown, for=unknown, for=_a;proto=http;host=a, for="[2001:db8:1::9]", '
            b"for=10.0.0.1;proto=http;host=a",
            id="from X-Forwarded-For",
        ),
        pytest.param(
            [b"Forwarded: proto=https, for=1.1.1.1, by=_a"],
            b"for=1.1.1.1, for=unknown;proto=http;host=a;by=_a, for=10.0.0.1;proto=http;host=a",
            id="a hop without its predecessor",
        ),
        pytest.param(
            [b"Forwarded: for=x", b"X-Forwarded-Host: shop:80"],
            b'for=10.0.0.1;proto=http;host="shop:80"',
            id="no chain",
        ),
    ],
)
def test_forwarded_is_rewritten(lines: list[bytes], forwarded: bytes) -> None:
    assert told(PROXY, *lines)[b"Forwarded"] == forwarded


def test_unknown_peers_and_ipv6_in_forwarded() -> None:
    assert told("2001:db8::5", b"Forwarded: x")[b"Forwarded"] == b'for="[2001:db8::5]";proto=http;host=a'
    assert told("", b"Forwarded: x")[b"Forwarded"] == b"for=unknown;proto=http;host=a"


def test_a_repeated_head_is_not_parsed_again() -> None:
    raw = b"GET /%b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"
    peer = Forwarding(TRUSTED).peer(PROXY)
    first = parse_request_head(raw % b"1", 8192, 100)
    assert peer.client_address(first) == "1.1.1.1"
    facts = first.facts
    second = parse_request_head(raw % b"2", 8192, 100, first)
    assert (second.facts, second.target) == (facts, b"/2")
    other = parse_request_head(raw.replace(b"1.1.1.1", b"2.2.2.2") % b"3", 8192, 100, second)
    assert peer.client_address(other) == "2.2.2.2"


def test_remembered_nodes_are_bounded() -> None:
    forwarding = Forwarding(TRUSTED)
    for number in range(10_000):
        forwarding.known(b"%d" % number)
        forwarding.known(b"x" * 1000)
    assert len(forwarding._known) <= 4096
    assert max(map(len, forwarding._known)) <= 64


@pytest.mark.parametrize(
    ("address", "lines", "seen"),
    [
        pytest.param(CLIENT, [b"X-Forwarded-Proto: https"], True, id="untrusted"),
        pytest.param(CLIENT, [b"X-Forwarded-Port: 1"], True, id="of the family"),
        pytest.param(CLIENT, [], False, id="nothing"),
        pytest.param(CLIENT, [b"X-Request-ID: 1"], False, id="an id"),
        pytest.param(CLIENT, [b"X-Forwarded-For:"], False, id="empty"),
        pytest.param(CLIENT, [b"X_Forwarded_For: 1"], False, id="a look-alike"),
        pytest.param(PROXY, [b"X-Forwarded-Proto: https"], False, id="trusted"),
    ],
)
def test_an_untrusted_connection_is_reported_once(address: str, lines: list[bytes], seen: bool) -> None:
    heard: list[tuple[str, list[bytes]]] = []

    def hear(address: str, sent: Sequence[Field]) -> None:
        heard.append((address, [field.line for field in sent]))

    forwarding = Forwarding(TRUSTED, untrusted=hear)
    peer = forwarding.peer(address)
    for _ in range(3):
        peer.lines(head(*lines))
    assert heard == ([(address, lines)] if seen else [])
    forwarding.peer(address).lines(head(*lines))
    assert len(heard) == 2 * seen


def test_via_has_the_clients_protocol_version() -> None:
    for lines in ([], [b"X-Forwarded-Port: 1"]):
        for address in (CLIENT, PROXY):
            rendered = Forwarding(TRUSTED).peer(address).lines(head(*lines, version=b"1.0"))
            assert b"\r\nVia: 1.0 balancer\r\n" in rendered


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
def test_request_ids_of_the_client_are_kept_if_valid(sent: bytes, kept: bool) -> None:
    made = RequestIds(0xABC).of(head(b"X-Request-ID: " + sent))
    assert made == (sent if kept else b"0000000000000abc000000000001")


def test_request_ids_are_unique_and_look_alikes_do_not_count() -> None:
    ids = RequestIds(2**64 - 1)
    made = [ids.of(head(b"X_Request_ID: spoof")) for _ in range(3)]
    assert made == [b"f" * 16 + b"%012x" % number for number in (1, 2, 3)]
