"""What the TLS listener shows to authorities that look for proofs of control over domains (RFC 8737).

The authority asks for the protocol `acme-tls/1` only. The certificate is chosen before OpenSSL reads that, as
the callback for server names cannot see it.
"""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from balancer.clients.hello import read_hello
from balancer.connections.own_certificate import load_own_certificate
from balancer.spec.tls import ChallengeSpec

_PROTOCOL: Final = "acme-tls/1"
_ASKED_FOR: Final = (_PROTOCOL.encode(),)


class Proofs:
    """The contexts with these certificates. One that cannot be used is not shown: the authority says so, and
    clients are served."""

    __slots__ = ("_contexts",)

    def __init__(self, challenges: Sequence[ChallengeSpec]) -> None:
        self._contexts: dict[str, ssl.SSLContext] = {}
        for each in challenges:
            with suppress(ssl.SSLError):
                self._contexts[each.domain] = _context(each)

    def wanted_by(self, data: bytes) -> ssl.SSLContext | None:
        """The one for an authority that has begun with `data`; None for any other client, or domain."""
        hello = read_hello(data)
        if hello is None or hello.protocols != _ASKED_FOR:
            return None
        return self._contexts.get(hello.name)


def _context(challenge: ChallengeSpec) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([_PROTOCOL])
    load_own_certificate(context, challenge.chain, challenge.key)
    return context
