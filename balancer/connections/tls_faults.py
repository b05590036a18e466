"""Why there is no TLS connection to an upstream (L3): OpenSSL's errors, in words for people."""

import re
import ssl
from enum import IntEnum
from typing import Final, NamedTuple

# X509_V_ERR_... of openssl/x509_vfy.h.
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUERS: Final = frozenset((2, 18, 19, 20, 21))
_OTHER_NAMES: Final = frozenset((62, 64))  # a name, and an IP address
# How OpenSSL calls what the peer has said: TLSV13_ALERT_CERTIFICATE_REQUIRED, TLSV1_UNRECOGNIZED_NAME.
_ALERT: Final = re.compile("(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(.+)")

_NOT_TLS: Final = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"))


class TlsFault(IntEnum):
    """What the operator can do something about. The first four are about the upstream's certificate."""

    UNKNOWN_ISSUER = 0
    OTHER_NAME = 1
    OUT_OF_DATE = 2
    OTHER_CERTIFICATE = 3  # refused for another reason
    NOT_TLS = 4  # it speaks something else on this port
    WANTS_CERTIFICATE = 5  # or another one than it was shown
    ALERT = 6  # it refuses for another reason
    CLOSED = 7  # it closed the connection in the handshake
    OTHER = 8

    @property
    def is_alert(self) -> bool:
        """Whether the upstream says that it refuses."""
        return self in (TlsFault.WANTS_CERTIFICATE, TlsFault.ALERT)

    @property
    def is_certificate(self) -> bool:
        """Whether we refuse the upstream's certificate."""
        return self <= TlsFault.OTHER_CERTIFICATE


class TlsTrouble(NamedTuple):
    """A fault, and the sentence's end about it, for people: "its certificate is refused: ..."."""

    fault: TlsFault
    text: str


def is_of_handshake(error: BaseException) -> bool:
    """Whether an error of a connect by TLS occurred after it had connected by TCP."""
    return isinstance(error, ssl.SSLError | ConnectionError) and not isinstance(error, ConnectionRefusedError)


def trouble_of(error: BaseException) -> TlsTrouble:
    """What an error of a TLS handshake, or an alert soon after it, means."""
    if isinstance(error, ConnectionAbortedError):  # after MOST_HANDSHAKE
        return TlsTrouble(TlsFault.OTHER, "the TLS handshake takes too long")
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _of_certificate(error.verify_code)
        # OpenSSL's text has the name, which is not for clients.
        why = "it is for another name" if fault is TlsFault.OTHER_NAME else _why(error)
        return TlsTrouble(fault, f"its certificate is refused: {why}")
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if (alert := _ALERT.fullmatch(reason)) is not None:
        return _of_alert(alert[1])
    if reason in _NOT_TLS:
        return TlsTrouble(TlsFault.NOT_TLS, "it does not speak TLS on this port")
    if reason and "EOF" not in reason:
        return TlsTrouble(TlsFault.OTHER, f"TLS failed ({_in_words(reason)})")
    return TlsTrouble(TlsFault.CLOSED, "it closed the connection in the TLS handshake")


def _of_certificate(code: int) -> TlsFault:
    if code in _UNKNOWN_ISSUERS:
        return TlsFault.UNKNOWN_ISSUER
    if code in _OTHER_NAMES:
        return TlsFault.OTHER_NAME
    return TlsFault.OUT_OF_DATE if code in (_NOT_YET, _EXPIRED) else TlsFault.OTHER_CERTIFICATE


def _why(error: ssl.SSLCertVerificationError) -> str:
    text: str = error.verify_message.rstrip(".")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _of_alert(name: str) -> TlsTrouble:
    """`name` as OpenSSL has it, such as CERTIFICATE_REQUIRED (RFC 8446 section 6.2)."""
    text = f"it refuses the connection (TLS alert: {_in_words(name)})"
    return TlsTrouble(fault_of_alert(text), text)


def fault_of_alert(text: str) -> TlsFault:
    """What an alert in such a text is about."""
    return TlsFault.WANTS_CERTIFICATE if "certificate" in text or "unknown ca)" in text else TlsFault.ALERT


def _in_words(name: str) -> str:
    return name.lower().replace("_", " ")
