"""Pairs and authorities from files, or from the text of settings (L0)."""

from balancer.certificates.pair import Pair, authorities, checked
from balancer.certificates.pem import Pem, read
from balancer.certificates.problem import CertificateError

CERTIFICATE, KEY = "TLS__CERTIFICATE", "TLS__KEY"  # settings with PEM text


def pair_from_files(certificate: str, key: str, password_file: str, now: float) -> Pair:
    """The pair in these files; `key` is "" if the certificate's file has both, `password_file` if there is
    none; `now` is in seconds since the epoch. Raises CertificateError."""
    return checked(read(certificate), read(key) if key else None, _password(password_file), now)


def pair_for_upstreams(certificate: str, key: str, now: float) -> Pair:
    """As `pair_from_files`, for a certificate that the balancer shows to upstreams."""
    return checked(
        read(certificate),
        read(key) if key else None,
        None,
        now,
        for_clients=False,
        no_key="name the file with the key in UPSTREAM_TLS__KEY",
    )


def pair_from_text(certificate: str, key: str, password_file: str, now: float) -> Pair:
    """As `pair_from_files`, of PEM text. `\\n` may stand for the ends of lines, as files of variables have
    it."""
    key_pem = Pem(KEY, _lines(key)) if key else None
    pem = Pem(CERTIFICATE, _lines(certificate))
    return checked(pem, key_pem, _password(password_file), now, no_key=f"write it into {KEY}")


def authorities_from(file: str, now: float) -> tuple[bytes, tuple[str, ...]]:
    """The authorities in a file as PEM, and sentences about them. Raises CertificateError."""
    return authorities(read(file), now)


def _lines(text: str) -> bytes:
    return text.replace("\\n", "\n").encode()


def _password(file: str) -> bytes | None:
    """The first line of the file."""
    if not file:
        return None
    lines = read(file).data.splitlines()
    if not lines or not lines[0]:
        raise CertificateError(file, "holds no password; write it into its first line")
    return lines[0]
