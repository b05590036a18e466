"""Automatic certificates as they are at the start (L1): those that are kept, and what stands in for the
others."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import urlsplit

from balancer.certificates.pair import Pair
from balancer.certificates.problem import CertificateError
from balancer.certificates.reading import authorities_from, pair_from_files
from balancer.certificates.self_signed import self_signed
from balancer.config.acme import AcmeSettings
from balancer.config.acme_paths import CERTIFICATES, PENDING, STATE

_PUBLIC = ".letsencrypt.org"
# RFC 6761, 6762, 8375, and what ICANN has reserved for private use.
_OWNED_BY_NOBODY = (".localhost", ".local", ".home.arpa", ".internal", ".lan")


@dataclass(frozen=True, slots=True)
class Automatic:
    """`certificates` are by domain, self-signed for those that are `awaited`. `warnings` are sentences about
    files that cannot be used."""

    certificates: tuple[tuple[str, Pair], ...]
    awaited: tuple[str, ...]
    warnings: tuple[str, ...]


def automatic(kept: dict[str, str], now: float) -> Automatic:
    """`kept` has the file of each domain, which may not be there yet; `now` is in seconds since the epoch."""
    found: dict[str, Pair] = {}
    warnings: list[str] = []
    for domain, file in kept.items():
        if not os.path.lexists(file):
            continue
        try:
            pair = pair_from_files(file, "", "", now)
            if domain not in pair.names:
                raise CertificateError(file, f"is a certificate for other names than {domain}")
        except CertificateError as error:
            warnings.append(f"{error}. A new certificate for {domain} is going to be ordered")
        else:
            found[domain] = pair
    awaited = tuple(domain for domain in kept if domain not in found)
    found |= zip(awaited, self_signed(awaited, now), strict=True)
    return Automatic(tuple((domain, found[domain]) for domain in kept), awaited, tuple(warnings))


def never_signed(acme: AcmeSettings, domains: Sequence[str]) -> Iterator[str]:
    """Sentences about names that no public authority signs, as nobody owns them."""
    if urlsplit(acme.directory_url).netloc.endswith(_PUBLIC):
        for domain in domains:
            if "." not in domain or domain.endswith(_OWNED_BY_NOBODY):
                yield (
                    f"no certificate for {domain} can be issued: public authorities sign public names only; "
                    "set TLS__ACME__DIRECTORY_URL to an authority of your own, or remove the name"
                )


def problems(acme: AcmeSettings, domains: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Why no certificate could be ordered: as `TlsFiles.problems`."""
    if not domains:
        text = "routes names no host, as no route has one without a wildcard; add one, or name domains"
        yield "acme.domains", "", text
    if find_spec("acme") is None:
        yield "acme.domains", "", "needs the package acme; install it: pip install 'balancer[acme]'"
    if not os.path.isdir(acme.storage):
        text = "is not a directory; create it, or mount a volume there: what is lost must be ordered again"
        yield "acme.storage", acme.storage, text
    elif (closed := _closed(acme)) is not None:
        user = f"the user with the id {os.geteuid()}, as whom the balancer runs,"
        yield "acme.storage", closed, f"cannot be written to; let {user} write there"
    if acme.ca:
        try:
            authorities_from(acme.ca, 0.0)
        except CertificateError as error:
            yield "acme.ca", error.where, error.text


def _closed(acme: AcmeSettings) -> str | None:
    """A directory of the storage that cannot be written to: another user may have begun it, such as root."""
    folders = (os.path.join(acme.folder, name) for name in (CERTIFICATES, STATE, PENDING))
    for path in (acme.storage, acme.folder, *folders):
        if os.path.isdir(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return path
    return None
