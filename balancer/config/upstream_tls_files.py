"""The files that the settings of TLS to upstreams name (L1), read and checked as they are at the start."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from balancer.certificates.problem import CertificateError
from balancer.config.file_stamps import Stamp, stamps
from balancer.config.upstream_tls import UpstreamTlsSettings

if TYPE_CHECKING:
    from balancer.certificates.pair import Pair


@dataclass(frozen=True, slots=True)
class UpstreamTlsFiles:
    """What was read for one pool: the authorities as PEM, b"" for none, and the certificate with its key.
    `problems` are (setting, file, end of the sentence); `warnings` are sentences; `stamps` are those of the
    files, from before they were read."""

    ca: bytes = b""
    pair: "Pair | None" = None
    problems: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    stamps: tuple[tuple[str, Stamp], ...] = ()


NO_FILES = UpstreamTlsFiles()


def read_upstream_tls(settings: UpstreamTlsSettings, now: float) -> UpstreamTlsFiles:
    """Read all; `now` is in seconds since the epoch."""
    if not settings.files:
        return NO_FILES
    from balancer.certificates.reading import authorities_from, pair_for_upstreams  # as in `tls_files`

    before = stamps(settings.files)
    ca, pair = b"", None
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
            warnings += pair.warnings
    except CertificateError as error:
        setting = "key" if error.where == settings.key else "certificate"
        problems.append((setting, error.where, error.text))
    return UpstreamTlsFiles(ca, pair, tuple(problems), warnings, tuple(before.items()))
