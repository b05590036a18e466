"""The certificates that the settings name (L1), read and checked as they are at the start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balancer.certificates.problem import CertificateError
from balancer.config.acme_paths import certificate_file
from balancer.config.file_stamps import Stamp, stamps
from balancer.config.tls import TlsSettings

if TYPE_CHECKING:
    from balancer.certificates.pair import Pair

INLINE = "TLS__CERTIFICATE"  # what a certificate from the settings is called in metrics, logs and events


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What was read. `certificates` are labels, such as the file, with the pairs; the first is the default.
    The last of them are those of `domains`, whose labels these are: automatic ones, self-signed for those
    that are `awaited`. `client_ca` is PEM, b"" for none. `problems` are (setting, file or "", end of the
    sentence); `warnings` are sentences; `stamps` are those of the files, from before they were read."""

    certificates: tuple[tuple[str, "Pair"], ...] = ()
    client_ca: bytes = b""
    problems: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    stamps: tuple[tuple[str, Stamp], ...] = ()
    domains: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()


NO_TLS = TlsFiles()


def read_files(settings: TlsSettings, now: float, hosts: Sequence[str] = ()) -> TlsFiles:
    """Read all; `now` is in seconds since the epoch, `hosts` are those of the routes. Nothing is read if TLS
    is off."""
    if not settings.is_on:
        return NO_TLS
    # Here: cryptography takes 40 ms and 10 MB, only where there is TLS.
    from balancer.certificates.reading import authorities_from, pair_from_files, pair_from_text
    from balancer.config.acme_files import automatic, never_signed
    from balancer.config.acme_files import problems as about_acme

    acme = settings.acme
    domains = acme.named(hosts)
    kept = {domain: certificate_file(acme.folder, domain) for domain in domains}
    before = stamps([*settings.files, *kept.values()])
    found: list[tuple[str, Pair]] = []
    problems: list[tuple[str, str, str]] = []
    client_ca = b""
    about_authorities: tuple[str, ...] = ()
    password = settings.password_file
    try:
        if certificate := settings.certificate.get_secret_value():
            key = settings.key.get_secret_value()
            found.append((INLINE, pair_from_text(certificate, key, password, now)))
    except CertificateError as error:
        problems.append(_place(settings, error, "certificate"))
    for files in settings.certificates:
        try:
            found.append((files.certificate, pair_from_files(files.certificate, files.key, password, now)))
        except CertificateError as error:
            problems.append(_place(settings, error, "certificates"))
    try:
        if settings.client_ca:
            client_ca, about_authorities = authorities_from(settings.client_ca, now)
    except CertificateError as error:
        problems.append(_place(settings, error, "client_ca"))
    if acme.is_on:
        problems += about_acme(acme, domains)
    ordered = automatic(kept, now)
    found += ordered.certificates
    warnings = [*ordered.warnings, *(text for _, pair in found for text in pair.warnings)]
    if password and found and not any(pair.was_encrypted for _, pair in found):
        warnings.append("TLS__PASSWORD_FILE has no effect: no key is encrypted; remove it")
    warnings += [*about_authorities, *_about_names(found, domains), *never_signed(acme, domains)]
    return TlsFiles(
        tuple(found),
        client_ca,
        tuple(dict.fromkeys(problems)),
        tuple(warnings),
        tuple(before.items()),
        domains,
        ordered.awaited,
    )


def _place(settings: TlsSettings, error: CertificateError, setting: str) -> tuple[str, str, str]:
    """Which setting a problem is in: in the file with the password, for example."""
    if error.where == settings.password_file:
        return "password_file", error.where, error.text
    if error.where.startswith("TLS__"):
        return error.where.removeprefix("TLS__").lower(), "", error.text
    return setting, error.where, error.text


def _about_names(found: list[tuple[str, "Pair"]], domains: Sequence[str]) -> Iterator[str]:
    """Names that an earlier certificate has too; `domains` are the labels of automatic ones."""
    seen: dict[str, str] = {}
    for label, pair in found:
        for name in pair.names:
            if name in seen and name == label and label in domains:
                yield (
                    f"the automatic certificate for {name} is ordered for nothing: {seen[name]} comes first "
                    "and has that name too; remove one of them"
                )
            elif name in seen and seen[name] != label:
                yield f"{label} is not used for {name}: {seen[name]} comes first and has that name too"
            seen.setdefault(name, label)
