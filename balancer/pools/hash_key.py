"""The hash key of a request, for policies that send equal keys to the same upstream."""

from abc import ABC, abstractmethod
from hashlib import blake2b
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.http.forwarding import Peer
from balancer.http.named_values import VALUES, ValueOf
from balancer.http.request_head import RequestHead
from balancer.policies.base import NO_KEY

# The keys of this many values of at most so many bytes are remembered: hashing takes as long as a pick.
_KNOWN_VALUES: Final = 4096
_KNOWN_BYTES: Final = 64


@mypyc_attr(allow_interpreted_subclasses=True)
class HashKey(ABC):
    """Computes the hash keys of requests from one source."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    @abstractmethod
    def of(self, head: RequestHead, peer: Peer) -> int:
        """The key of a request as an unsigned 64-bit number, or NO_KEY if the request lacks the value."""

    def _number(self, value: bytes) -> int:
        known = self._known.get(value)
        if known is None:
            known = int.from_bytes(blake2b(value, digest_size=8).digest())
            if len(value) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_VALUES:
                    self._known.clear()
                self._known[value] = known
        return known


class _ByClient(HashKey):
    """By the client's address, seen through trusted proxies."""

    __slots__ = ()

    def of(self, head: RequestHead, peer: Peer) -> int:
        return self._number(peer.client_address(head).encode())


class _ByPath(HashKey):
    __slots__ = ()

    def of(self, head: RequestHead, peer: Peer) -> int:
        return self._number(head.target.partition(b"?")[0])


class _ByName(HashKey):
    """By a header field, cookie or query parameter."""

    __slots__ = ("_name", "_value_of")

    def __init__(self, name: bytes, value_of: ValueOf) -> None:
        super().__init__()
        self._name = name
        self._value_of = value_of

    def of(self, head: RequestHead, peer: Peer) -> int:
        value = self._value_of(head, peer, self._name)
        return self._number(value) if value else NO_KEY


def hash_key(source: str) -> HashKey:
    """The keys for `source`: `client_ip`, `path`, `header:NAME`, `cookie:NAME` or `query:NAME`.

    Raises ValueError for anything else.
    """
    kind, _, name = source.partition(":")
    if source == "client_ip":
        return _ByClient()
    if source == "path":
        return _ByPath()
    if name and kind in VALUES:
        return _ByName(name.encode(), VALUES[kind])
    raise ValueError(f"{source} is no source of a hash key")
