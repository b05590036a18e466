"""The files that the settings of TLS to upstreams name (L1), read and checked as they are at the start."""

from dataclasses import dataclass

from balancer.certificates.problem import CertificateError
from balancer.config.upstream_tls import UpstreamTlsSettings


@dataclass(frozen=True, slots=True)
class UpstreamTlsFiles:
    """What was read for one pool, as PEM: the authorities, and the certificate with its key. b"" for none.
    `problems` are (setting, file, end of the sentence); `warnings` are sentences."""

    ca: bytes = b""
    chain: bytes = b""
    key: bytes = b""
    problems: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()


NO_FILES = UpstreamTlsFiles()


def read_upstream_tls(settings: UpstreamTlsSettings, now: float) -> UpstreamTlsFiles:
    """Read all; `now` is in seconds since the epoch."""
    if not settings.files:
        return NO_FILES
    from balancer.certificates.reading import authorities_from, pair_for_upstreams  # as in `tls_files`

    ca = chain = key = b""
    problems: list[tuple[str, str, str]] = []
    warnings: tuple[str, ...] = ()
    try:
        if settings.ca:
            ca, warnings = authorities_from(settings.ca, now)
    except CertificateError as error:
        problems.append(("ca", error.where, error.text))
    try:
        if settings.certificate:
            pair = pair_for_upstreams(settings.certificate, settings.key, now)
            chain, key = pair.chain, pair.key
            warnings += pair.warnings
    except CertificateError as error:
        setting = "key" if error.where == settings.key else "certificate"
        problems.append((setting, error.where, error.text))
    return UpstreamTlsFiles(ca, chain, key, tuple(problems), warnings)
