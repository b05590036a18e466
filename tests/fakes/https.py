"""A balancer with a TLS listener, and certificates of an authority of the test's own."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.fakes.instance import Balancer, running


class Authority:
    """Issues certificates, and writes them into a directory. `file` has its own certificate."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._name = name
        self._authority = trustme.CA(organization_name=name)
        self.file = str(directory / f"{name}.pem")
        self._authority.cert_pem.write_to_path(self.file)

    def site(
        self, *names: str, key: trustme.KeyType = trustme.KeyType.ECDSA, minutes: float | None = None
    ) -> tuple[str, str]:
        """The files of a certificate for these names, and of its key; it lasts so many minutes, or years."""
        end = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
        issued = self._authority.issue_cert(*names, common_name=names[0], key_type=key, not_after=end)
        stem = self._directory / f"{self._name}-{names[0].replace('*', 'any')}-{key.name}"
        certificate, private = f"{stem}.pem", f"{stem}.key"
        Path(certificate).write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(private)
        return certificate, private

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Of a client that trusts it, and speaks only this version."""
        context = ssl.create_default_context(cafile=self.file)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context


@dataclass(frozen=True, slots=True)
class Https:
    """A balancer that is ready, the port of its TLS listener, and whom its clients must trust."""

    balancer: Balancer
    port: int
    authority: Authority


@asynccontextmanager
async def https(authority: Authority, *sites: tuple[str, str], **settings: str) -> AsyncIterator[Https]:
    """A balancer with the certificates of these sites."""
    pairs = ",".join(":".join(pair) for pair in sites)
    own = {"TLS__LISTEN": "127.0.0.1:0", "TLS__CERTIFICATES": pairs, "HEALTH_CHECK__ENABLED": "false"}
    async with running(**{**own, **settings}) as balancer:
        yield Https(balancer, balancer.tls_port, authority)
