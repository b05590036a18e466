"""Methods: any token is forwarded, and nothing is kept of invented ones."""

import sys
from collections.abc import Sized

import pytest

from balancer.errors import METHOD_NOT_SUPPORTED, ProtocolError
from balancer.http.request_head import parse_request_head
from balancer.http.syntax import METHOD_LIMIT, refuse_early
from tests.fakes.attributes import attributes_of

ROOM = "balancer.http."
ANY_TOKEN = [
    b"GET", b"LIST", b"VERSION-CONTROL", b"RPC_IN_DATA", b"BAN", b"get", b"X", b"!#$%&'*+-.^_`|~0",
    b"SOURCE", b"SETUP", b"DESCRIBE", b"FLUSH", b"UPDATEREDIRECTREF", b"A" * METHOD_LIMIT,
]  # fmt: skip
NOT_SERVED = [b"CONNECT", b"connect", b"Connect", b"PRI", b"pri", b"A" * (METHOD_LIMIT + 1), b"A" * 5000]


def head_of(method: bytes) -> bytes:
    return method + b" /x HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("method", ANY_TOKEN)
def test_any_token_is_a_method(method: bytes) -> None:
    head = parse_request_head(head_of(method), 8192, 100)
    assert (head.method, head.target) == (method, b"/x")
    for size in range(len(head_of(method))):
        refuse_early(head_of(method)[:size], 8192, 0)


@pytest.mark.parametrize("method", NOT_SERVED)
def test_an_unsupported_method_is_501_as_soon_as_it_is_known(method: bytes) -> None:
    with pytest.raises(ProtocolError) as whole:
        parse_request_head(head_of(method), 8192, 100)
    with pytest.raises(ProtocolError) as early:
        refuse_early(method + b" /x HTTP/1.1\r\n", 8192, 0)
    assert whole.value.failure is early.value.failure is METHOD_NOT_SUPPORTED


def test_memory_does_not_grow_with_invented_methods() -> None:
    before = sizes()
    for number in range(5000):
        parse_request_head(head_of(b"M%d" % number), 8192, 100)
    grown = {name for name, size in sizes().items() if size > before.get(name, 0) + 1}
    assert grown == set()
    assert "balancer.http.request_head.REQUEST_FIELDS.seen" in before  # it looks deep enough


def sizes() -> dict[str, int]:
    """The size of every container that lives as long as the modules of this room."""
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith(ROOM):
            continue
        for key, value in vars(module).items():
            if isinstance(value, Sized):
                found[f"{name}.{key}"] = len(value)
            for slot in attributes_of(type(value)):
                inner = getattr(value, slot, None)
                if isinstance(inner, Sized):
                    found[f"{name}.{key}.{slot}"] = len(inner)
    return found
