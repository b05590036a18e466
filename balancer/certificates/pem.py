"""PEM text (L0): its blocks (RFC 7468), and the mistakes that people make with files that should hold it."""

import os
import re
import stat
from dataclasses import dataclass

from balancer.certificates.problem import CertificateError

MOST_BYTES = 1 << 20  # of a file; the largest bundles of authorities have a quarter of that
_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----")
_DER = b"\x30"  # a sequence, which certificates, keys and PKCS#12 files are
# What its first element is: a sequence in a certificate; else a number, the version of the format.
_KINDS_OF_DER = {
    b"\x30": ("a certificate", "openssl x509 -inform der -in {file} -out {file}.pem"),
    b"\x02\x01\x03": ("a PKCS#12 file", "openssl pkcs12 -in {file} -nodes -out {file}.pem"),
    b"\x02\x01\x00": ("a key", "openssl pkey -inform der -in {file} -out {file}.pem"),
    b"\x02\x01\x01": ("a key", "openssl pkey -inform der -in {file} -out {file}.pem"),
}


@dataclass(frozen=True, slots=True)
class Pem:
    """PEM text and where it was read: the path of a file, or the name of a setting."""

    where: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `kind` as in `-----BEGIN kind-----`, and its text from BEGIN to END, with a newline."""

    kind: str
    text: bytes

    @property
    def is_certificate(self) -> bool:
        """Whether it is a certificate; the second name is that of old programs."""
        return self.kind in ("CERTIFICATE", "X509 CERTIFICATE")

    @property
    def is_key(self) -> bool:
        """Whether it is a private key."""
        return self.kind.endswith("PRIVATE KEY")


def read(path: str) -> Pem:
    """The content of a regular file. Raises CertificateError."""
    try:
        # Not blocking: opening a FIFO would wait for someone who writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CertificateError(path, f"cannot be read ({reason}); {_remedy(error)}") from None
    except ValueError:
        raise CertificateError(path, "is not a path: it has a NUL in it; correct it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CertificateError(path, "is not a file; correct the path")
    with open(descriptor, "rb") as file:
        try:
            data = file.read(MOST_BYTES + 1)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CertificateError(path, f"cannot be read ({reason}); replace the file") from None
    if len(data) > MOST_BYTES:
        raise CertificateError(
            path, "is larger than 1 MiB; write only the certificate with its chain into it"
        )
    return Pem(path, data)


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"let the user with the id {os.geteuid()}, as whom the balancer runs, read it"
    return "correct the path or mount the file"


def blocks(pem: Pem) -> list[Block]:
    """The blocks, in their order; text around them is ignored. Raises CertificateError if there is none, or
    one breaks off."""
    found: list[Block] = []
    begin: re.Match[bytes] | None = None
    for mark in _MARK.finditer(pem.data):
        if mark[1] == b"BEGIN":
            if begin is not None:
                raise CertificateError(pem.where, _breaks_off(begin))
            begin = mark
        elif begin is None or begin[2] != mark[2]:
            kind = mark[2].decode()
            raise CertificateError(pem.where, f"has the end of a {kind} without its beginning; copy it again")
        else:
            text = pem.data[begin.start() : mark.end()]
            found.append(Block(mark[2].decode(), text.replace(b"\r\n", b"\n") + b"\n"))
            begin = None
    if begin is not None:
        raise CertificateError(pem.where, _breaks_off(begin))
    if not found:
        raise CertificateError(pem.where, _why_none(pem))
    return found


def _breaks_off(begin: re.Match[bytes]) -> str:
    kind = begin[2].decode()
    return f"breaks off: a block of {kind} has no end; write it completely, to -----END {kind}-----"


def _why_none(pem: Pem) -> str:
    data = pem.data
    if not data.strip():
        return "is empty; write PEM into it: -----BEGIN CERTIFICATE----- and so on"
    if data.startswith(_DER):
        inner = data[_header_length(data) :]
        for first, (what, command) in _KINDS_OF_DER.items():
            if inner.startswith(first):
                kind = "" if "12" in what else " in DER"
                return f"holds {what}{kind}, not PEM; convert it: {command.format(file=pem.where)}"
    if pem.where == "TLS__CERTIFICATE":
        return "is not PEM text; for the path of a file use TLS__CERTIFICATES"
    return "is not PEM; it must have lines such as -----BEGIN CERTIFICATE-----"


def _header_length(data: bytes) -> int:
    """The length of the tag and the length field at the start of DER (X.690 section 8.1.3)."""
    return 2 + (data[1] & 0x7F if len(data) > 1 and data[1] & 0x80 else 0)
