"""Apps that speak TLS, and what a balancer needs to know of them."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from threading import Thread
from typing import Any

import trustme

from balancer.connections.own_certificate import load_own_certificate
from balancer.spec.tls import CertificateSpec, UpstreamTlsSpec
from tests.fakes.certificates import Made, authority

NAME = "app.test"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@cache
def app_context(*names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """Of an app with a certificate for these names, NAME if there are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    dates: dict[str, Any] = {}
    if not_after is not None:
        dates = {"not_after": not_after, "not_before": datetime(2010, 1, 1, tzinfo=UTC)}
    authority().issue_cert(*names or (NAME,), key_type=trustme.KeyType.ECDSA, **dates).configure_cert(context)
    return context


def context_of(made: Made) -> ssl.SSLContext:
    """Of an app with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_own_certificate(context, made.pem, made.key)
    return context


@cache
def app_that_asks(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Of an app that serves only clients with a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert(NAME, key_type=trustme.KeyType.ECDSA).configure_cert(context)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


@contextmanager
def app_that_alerts(context: ssl.SSLContext) -> Iterator[int]:
    """The port of an app that answers one request for each connection, by OpenSSL's own sockets: those of
    event loops send no alert when a handshake fails."""

    def serve() -> None:
        while True:
            try:
                sock = listening.accept()[0]
            except OSError:  # the test is over
                return
            with sock, suppress(OSError), context.wrap_socket(sock, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def upstream_tls(**changes: Any) -> UpstreamTlsSpec:
    """Trusts the authority."""
    values: dict[str, Any] = {"verify": True, "ca": authority().cert_pem.bytes(), **changes}
    return UpstreamTlsSpec(**values)


@cache
def own_certificate(name: str = "balancer@example") -> CertificateSpec:
    """What a balancer shows to apps that ask."""
    made = authority().issue_cert(name)
    return CertificateSpec(
        label=name,
        names=(name,),
        chain=made.cert_chain_pems[0].bytes(),
        key=made.private_key_pem.bytes(),
        not_after=4e9,
    )
