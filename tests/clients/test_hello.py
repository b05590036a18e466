"""What a ClientHello asks for, in whatever bytes a client may send."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.clients.hello import Hello, read_hello
from tests.fakes.client_hello import TLS_1_2, TLS_1_3, client_hello

ACME = "acme-tls/1"
LABELS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
PROTOCOLS = st.lists(st.text("abc/1.", min_size=1, max_size=255), max_size=20)


def hello(name: str = "shop.example", *protocols: str, padding: int = 0) -> bytes:
    return client_hello(TLS_1_3, (0x1301,), name, protocols=protocols, padding=padding)


def real(name: str | None, *protocols: str) -> bytes:
    """What Python's ssl sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(hello(), Hello("shop.example", ()), id="no protocol"),
        pytest.param(hello("Shop.Example", ACME), Hello("shop.example", (ACME.encode(),)), id="one"),
        pytest.param(hello("a", "h2", "http/1.1"), Hello("a", (b"h2", b"http/1.1")), id="two"),
        pytest.param(hello("a", ACME) + b"more", Hello("a", (ACME.encode(),)), id="more behind it"),
        pytest.param(client_hello(TLS_1_2, (0xC02F,), "a"), Hello("a", ()), id="TLS 1.2"),
        pytest.param(real("shop.example", ACME), Hello("shop.example", (ACME.encode(),)), id="OpenSSL"),
        pytest.param(real(None), Hello("", ()), id="OpenSSL, without a name"),
        pytest.param(hello("a", ACME, padding=16_000), Hello("a", (ACME.encode(),)), id="16 KiB"),
        pytest.param(hello("m\u00fcnchen.example", ACME), None, id="a name that is not ASCII"),
        pytest.param(hello("a", ACME)[:-1], None, id="not whole"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", None, id="another message"),
    ],
)
def test_a_hello_is_read(data: bytes, found: Hello | None) -> None:
    assert read_hello(data) == found


def test_a_hello_in_two_records_is_not_read() -> None:
    """Then it is an ordinary client: authorities send theirs in one."""
    data = hello("a", ACME)
    body = data[5:]
    halves = (body[:100], body[100:])
    assert read_hello(b"".join(data[:3] + len(half).to_bytes(2, "big") + half for half in halves)) is None


@pytest.mark.parametrize("kind", [0, 16], ids=["name", "protocols"])
def test_an_extension_that_is_there_twice_is_refused(kind: int) -> None:
    data = hello("a", ACME)
    at = data.index(b"\x00\x0a\x00\x06")  # another extension gets its number
    assert read_hello(data[:at] + kind.to_bytes(2, "big") + data[at + 2 :]) is None


@given(name=NAMES, protocols=PROTOCOLS)
def test_what_is_offered_is_read(name: str, protocols: list[str]) -> None:
    expected = Hello(name, tuple(one.encode() for one in protocols))
    assert read_hello(hello(name, *protocols)) == expected


@given(data=st.binary(max_size=300))
def test_no_bytes_are_too_much(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01\x00\xff\x01"):
        assert read_hello(start + data) is None or data


@given(name=NAMES, cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_damaged_hellos_are_read_or_refused(name: str, cut: int, at: int, byte: int) -> None:
    whole = hello(name, ACME)
    assert read_hello(whole[: min(cut, len(whole) - 1)]) is None
    at %= len(whole)
    found = read_hello(whole[:at] + bytes([byte]) + whole[at + 1 :])
    assert found is None or isinstance(found.name, str)
